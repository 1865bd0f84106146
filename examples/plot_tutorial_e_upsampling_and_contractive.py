"""
Tutorial E: upsampling, and a contractive code
==============================================

A convolutional decoder can double its image in three ways, which the parameter ``upsample``
selects. The second part shows a contractive autoencoder. Its penalty on the derivative of the code
makes codes change less when the row changes.
"""

# %%
# The digits
# ----------
# For MNIST, change two lines: ``X, y = datasets.load_mnist("train")`` and
# ``image_shape = (1, 28, 28)``. The images are read from the folder in the environment variable
# ``AEDETECT_DATA``, or downloaded if it is not set. Training takes far longer.

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
# Downsampling and upsampling
# ---------------------------
# Strided convolutions or max-pooling halve the image. Transposed convolutions or repeated pixels
# double it. After max-pooling, ``unpool`` can also put each value at the position of the maximum.

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
# ``unpool`` has the lowest error, but not because of a better code: the positions of the maxima are
# passed from the encoder to the decoder beside the code. The last column decodes from the code
# alone, without these positions.

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
# Test rows and their reconstructions by two of the networks. Each number is a score.

fig = plt.figure(figsize=(9, 5.4), layout="constrained")
for part, name in zip(fig.subfigures(2), ("stride, transpose", "maxpool, unpool"), strict=True):
    ReconstructionDisplay.from_estimator(models[name], X_test[:8], figure=part)
    part.suptitle(name)
plt.show()

# %%
# Checkerboards
# -------------
# In a transposed convolution of stride 2, some pixels depend on more weights than others. Unpooling
# leaves gaps. Both produce checkerboard artefacts. Nearest-neighbour upsampling followed by a
# convolution avoids them (Odena et al., "Deconvolution and checkerboard artifacts", Distill 2016).
# Smooth images contain almost no checkerboard, so the artefacts can be measured on them: as the
# share of the variance that alternates from pixel to pixel in both directions.

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
fig.suptitle("Checkerboard component of the first restored image")
plt.show()

# %%
# A contractive code
# ------------------
# ``contractive`` is the weight of the squared derivatives of the code with respect to the pixels.
# For one sigmoid layer they are computed exactly. Both networks encode clean test rows and copies
# with a little noise. With the penalty, codes move less, even relative to their spread, and the
# reconstruction is worse.

noise = np.random.default_rng(0).normal(scale=0.05, size=X_test.shape)
X_noisy = np.clip(X_test + noise, 0, 1)  # loss="bce" needs values in [0, 1]
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
