"""
Codes in a Pipeline: before t-SNE and before a classifier
=========================================================

An autoencoder is a transformer like :class:`~sklearn.decomposition.PCA` and takes its place in a
:class:`~sklearn.pipeline.Pipeline`. Here both squeeze 64 pixels into a few numbers, once for a
picture and once for a classifier.
"""

# %%
# The same Pipeline twice
# -----------------------
# Each digit becomes six numbers, which t-SNE lays out in the plane. No step sees the labels; they
# only colour the points.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from aedetect import AutoencoderTransformer, datasets

X, y = datasets.load_digits()
n_drawn = 1000  # t-SNE takes its time


def reducers(width):
    """Return two transformers that give ``width`` numbers a row."""
    return {
        "pca": PCA(width, random_state=0),
        "ae": AutoencoderTransformer(width, max_epochs=40, random_state=0),
    }


fig, axes = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
for ax, (name, reducer) in zip(axes, reducers(6).items(), strict=True):
    steps = [("scale", MinMaxScaler()), (name, reducer), ("tsne", TSNE(random_state=0))]
    plane = Pipeline(steps).fit_transform(X[:n_drawn])
    points = ax.scatter(*plane.T, c=y[:n_drawn], cmap="tab10", vmin=-0.5, vmax=9.5, s=6)
    ax.set(title=f"scale, {name}, tsne", xlabel="t-SNE 1", ylabel="t-SNE 2", xticks=[], yticks=[])
fig.colorbar(points, ax=axes, ticks=range(10), label="digit")
plt.show()

# %%
# Codes for a classifier
# ----------------------
# The picture shows neighbours only. How much of the digit the codes keep, a linear classifier
# tells: its mean accuracy over three folds, for codes of two widths. Cross-validating the whole
# Pipeline trains scaler and autoencoder on the training folds alone.

accuracies = {}
for width in (6, 10):
    for name, reducer in reducers(width).items():
        classifier = LogisticRegression(max_iter=2000)
        pipeline = Pipeline([("scale", MinMaxScaler()), (name, reducer), ("clf", classifier)])
        accuracies[width, name] = cross_val_score(pipeline, X, y, cv=3).mean()
table = pd.Series(accuracies, name="accuracy").unstack().rename_axis(index="width")
print(table.round(3).to_string())
