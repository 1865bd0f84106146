"""
Tutorial D: sparse, deep and linear autoencoders
================================================

A dense autoencoder in four forms: plain, with a sparse code, deep, and linear. The linear one finds
the subspace of PCA. With a code of two values, the encoder maps digits to the plane, and the
decoder maps points of the plane to digits.
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
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from aedetect import AutoencoderTransformer, datasets
from aedetect.plotting import LatentMapDisplay

X, y = datasets.load_digits()
image_shape = (1, 8, 8)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)

# %%
# Plain, sparse, deep
# -------------------
# ``l1_activity`` penalises every value of the code that is not zero. The sparse code is smaller
# than the plain one and has more zeros, and its reconstruction is worse. Depth does not help here,
# because the images are few and small.

shared = {"loss": "bce", "learning_rate": 3e-3, "max_epochs": 100, "random_state": 0}
relu = {"latent_activation": "relu", **shared}
models = {
    "plain": AutoencoderTransformer(32, hidden_layer_sizes=(), **relu),
    "sparse": AutoencoderTransformer(32, hidden_layer_sizes=(), l1_activity=0.05, **relu),
    "deep": AutoencoderTransformer(32, hidden_layer_sizes=(128, 64), **relu),
}
rows = {}
for name, model in models.items():
    codes = np.abs(model.fit(X_train).transform(X_test))
    rows[name] = {
        "mean absolute code": codes.mean(),
        "share near zero": (codes < 1e-3).mean(),
        "test cross-entropy": -model.score(X_test),
    }
print(pd.DataFrame(rows).T.round(3).to_string())

# %%
# Linear, and PCA
# ---------------
# Without activations and with squared errors, PCA gives the best possible reconstruction. The
# columns of the decoder's weight span nearly the subspace of the principal components, although the
# vectors differ. ``scaling="common"`` centres the pixels and keeps their proportions, as PCA does.

pca = PCA(8).fit(X_train)
linear = AutoencoderTransformer(
    8,
    hidden_layer_sizes=(),
    latent_activation="identity",
    scaling="common",
    schedule="cosine",
    learning_rate=1e-2,
    max_epochs=200,
    validation_fraction=0,
    random_state=0,
).fit(X_train)
weight = linear.network_.decoder[0].weight.detach().numpy()
angles = np.rad2deg(subspace_angles(pca.components_.T, weight))
print(f"Largest angle between the two subspaces: {angles.max():.2f} degrees")

# %%
# Codes of two values
# -------------------
# ``transform`` applies the encoder. The map of a deep encoder is nonlinear, that of PCA is linear.

plane = AutoencoderTransformer(2, hidden_layer_sizes=(128, 64), **shared).fit(X_train)
fig, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
for ax, mapper in zip(axes, (PCA(2).fit(X_train), plane), strict=True):
    LatentMapDisplay.from_estimator(mapper, X_test, y_test, ax=ax)
    ax.set_title(type(mapper).__name__)
axes[0].get_legend().remove()  # one legend for both plots
plt.show()

# %%
# ``inverse_transform`` applies the decoder. Here it decodes the mean code of each digit. Digits
# that overlap on the map also look alike here.

codes = plane.transform(X_train)
means = np.stack([codes[y_train == digit].mean(axis=0) for digit in range(10)])
fig, axes = plt.subplots(1, 10, figsize=(10, 1.5), layout="constrained")
for digit, (ax, row) in enumerate(zip(axes, plane.inverse_transform(means), strict=True)):
    ax.imshow(row.reshape(image_shape[1:]), cmap="gray_r", vmin=0, vmax=1)
    ax.set(title=str(digit), xticks=[], yticks=[])
plt.show()
