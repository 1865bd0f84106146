"""
Codes in a Pipeline: before t-SNE and before a classifier
=========================================================

An autoencoder is a transformer like :class:`~sklearn.decomposition.PCA` and can replace it in a
:class:`~sklearn.pipeline.Pipeline`. Here both reduce 64 pixels to a few numbers, for a t-SNE plot
and for a classifier.
"""

# %%
# Two Pipelines for t-SNE
# -----------------------
# Each digit is reduced to six numbers, and t-SNE maps these to two dimensions. No step uses the
# labels; they only colour the points.

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
n_drawn = 1000  # t-SNE is slow


def reducers(width):
    """Return two transformers with ``width`` output columns."""
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
# t-SNE plots show only which rows are neighbours. The accuracy of a linear classifier measures how
# much information about the digit the codes keep. The table shows the mean accuracy over three
# folds for codes of two widths. Cross-validation of the whole Pipeline fits scaler and autoencoder
# on the training folds only.

accuracies = {}
for width in (6, 10):
    for name, reducer in reducers(width).items():
        classifier = LogisticRegression(max_iter=2000)
        pipeline = Pipeline([("scale", MinMaxScaler()), (name, reducer), ("clf", classifier)])
        accuracies[width, name] = cross_val_score(pipeline, X, y, cv=3).mean()
table = pd.Series(accuracies, name="accuracy").unstack().rename_axis(index="width")
print(table.round(3).to_string())
