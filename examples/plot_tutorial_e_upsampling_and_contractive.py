"""
Tutorial E: ways to enlarge an image, and a contractive code
============================================================

A convolutional decoder can double its image in three ways, and one parameter chooses. A contractive
autoencoder then shows what a penalty on the code's derivative does: its codes move less when the
row does.
"""

# %%
# The digits
# ----------
# For MNIST, change two lines: ``X, y = datasets.load_mnist("train")`` and
# ``image_shape = (1, 28, 28)``. The images are read from the folder that the environment variable
# ``AEDETECT_DATA`` names, or downloaded if there is none;
# training then takes far longer.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from aedetect import AutoencoderTransformer, datasets
from aedetect.plotting import ReconstructionDisplay

X, y = datasets.load_digits()
image_shape = (1, 8, 8)
X_train, X_test = train_test_split(X, test_size=0.2, random_state=0)

# %%
# Down and up
# -----------
# Strided convolutions or max-pooling halve the image. Transposed convolutions or repeated pixels
# double it. After max-pooling, ``unpool`` can also put each value back where the maximum was.

pairs = [
    ("stride", "transpose"),
    ("stride", "nearest"),
    ("maxpool", "nearest"),
    ("maxpool", "unpool"),
]
models = {
    f"{down}, {up}": AutoencoderTransformer(
        16,
        network="conv",
        image_shape=image_shape,
        hidden_layer_sizes=(16, 32),
        downsample=down,
        upsample=up,
        loss="bce",
        learning_rate=3e-3,
        max_epochs=25,
        random_state=0,
    ).fit(X_train)
    for down, up in pairs
}

# %%
# Error on the test rows
# ----------------------
# ``unpool`` wins, but not by its code: the places of the maxima go past the code from the encoder
# to the decoder. The last column decodes from the code alone, where these places are missing.

table = {}
for name, model in models.items():
    from_code = model.inverse_transform(model.transform(X_test))
    table[name] = {
        "cross-entropy": -model.score(X_test),
        "squared error": np.square(model.reconstruct(X_test) - X_test).mean(),
        "from the code alone": np.square(from_code - X_test).mean(),
    }
print(pd.DataFrame(table).T.round(4).to_string())

# %%
# Test rows through two of the networks. Every number is a score.

fig = plt.figure(figsize=(9, 5.4), layout="constrained")
for part, name in zip(fig.subfigures(2), ("stride, transpose", "maxpool, unpool"), strict=True):
    ReconstructionDisplay.from_estimator(models[name], X_test[:8], figure=part)
    part.suptitle(name)
plt.show()

# %%
# Checkerboards
# -------------
# A transposed convolution of stride 2 reaches some pixels through more of its weights than others,
# and unpooling leaves gaps; both print a checkerboard that nearest-neighbour upsampling followed by
# a convolution avoids (Odena et al., "Deconvolution and checkerboard artifacts", Distill 2016).
# Smooth images have next to none of their own, so here it can be measured: as the share of the
# variance that alternates from pixel to pixel, in both directions.

rng = np.random.default_rng(0)
centre = rng.uniform(0, 16, size=(400, 2, 3, 1, 1))
width = rng.uniform(2.5, 4.5, size=(400, 3, 1, 1))
squares = (np.mgrid[:16, :16][None, :, None] - centre) ** 2  # (images, 2 axes, 3 blobs, 16, 16)
blobs = np.exp(-squares.sum(axis=1) / (2 * width**2)).sum(axis=1).reshape(400, -1)


def checkerboard(rows):
    """Return the share of the variance in [[+, -], [-, +]] patterns of 2x2 pixels."""
    images = rows.reshape(-1, 16, 16)
    rises = np.diff(np.diff(images, axis=1), axis=2)
    return np.square(rises).mean() / 4 / images.var()


shares = {"the images themselves": checkerboard(blobs[300:])}
restored = {}
for down, up in pairs:
    model = AutoencoderTransformer(
        16,
        network="conv",
        image_shape=(1, 16, 16),
        hidden_layer_sizes=(16, 32),
        downsample=down,
        upsample=up,
        learning_rate=3e-3,
        max_epochs=25,
        random_state=0,
    ).fit(blobs[:300])
    restored[f"{down}, {up}"] = model.reconstruct(blobs[300:])
    shares[f"{down}, {up}"] = checkerboard(restored[f"{down}, {up}"])
shares = pd.Series(shares, name="checkerboard, % of the variance")
print((100 * shares).round(3).to_string())

fig, axes = plt.subplots(1, len(pairs), figsize=(9, 2.8), layout="constrained")
for ax, (name, rows) in zip(axes, restored.items(), strict=True):
    rises = np.diff(np.diff(rows[0].reshape(16, 16), axis=0), axis=1)
    ax.imshow(rises, cmap="gray", vmin=-0.15, vmax=0.15)
    ax.set(title=name, xticks=[], yticks=[])
fig.suptitle("What alternates from pixel to pixel in the first restored image")
plt.show()

# %%
# A contractive code
# ------------------
# ``contractive`` weighs the squared derivatives of the code by the pixels. For one sigmoid layer
# they are computed exactly. Both networks get the same rows, once clean and once with a little
# noise. The contractive codes move less, even against their own spread, and they restore the rows
# less well.

noise = np.random.default_rng(0).normal(scale=0.05, size=X_test.shape)
X_noisy = np.clip(X_test + noise, 0, 1)  # loss="bce" takes values in [0, 1] alone
moves = {}
for contractive in (0.0, 1.0):
    model = AutoencoderTransformer(
        32,
        hidden_layer_sizes=(),
        latent_activation="sigmoid",
        contractive=contractive,
        loss="bce",
        learning_rate=3e-3,
        max_epochs=60,
        random_state=0,
    ).fit(X_train)
    codes = model.transform(X_test)
    moved = np.linalg.norm(model.transform(X_noisy) - codes, axis=1).mean()
    spread = np.linalg.norm(codes - codes.mean(axis=0), axis=1).mean()
    moves[f"contractive={contractive:g}"] = {
        "movement": moved,
        "spread of the codes": spread,
        "movement / spread": moved / spread,
        "test cross-entropy": -model.score(X_test),
    }
print(pd.DataFrame(moves).T.round(4).to_string())
