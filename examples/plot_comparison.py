"""
Seven detectors on toy data
===========================

The autoencoders are drawn beside four detectors of scikit-learn on tables of two columns, where one
can see what each of them calls normal. Results in two columns say little about tables of twenty:
the benchmarks compare the detectors there.
"""

# %%
# Four tables
# -----------
# One row in ten is an anomaly, drawn evenly over the square. The detectors are told so by
# ``contamination`` or ``nu``, and train on all rows, without labels. Other rows, drawn in equal
# ways, test them.

from time import process_time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector

N_NORMAL, N_ODD, SHARE = 270, 30, 0.1


def blob(seed):
    return make_blobs(N_NORMAL, centers=[[0, 0]], cluster_std=1, random_state=seed)[0]


def two_densities(seed):
    centers, deviations = [[-2, -2], [2, 2]], [0.3, 1.1]
    return make_blobs(N_NORMAL, centers=centers, cluster_std=deviations, random_state=seed)[0]


def moons(seed):
    return 3.5 * (make_moons(N_NORMAL, noise=0.05, random_state=seed)[0] - [0.5, 0.25])


def ring(seed):
    circles, inner = make_circles(2 * N_NORMAL, noise=0.04, random_state=seed)
    return 4 * circles[inner == 0]


def draw(normal, seed):
    """Return rows and their labels, +1 for normal ones and -1 for anomalies."""
    odd = np.random.RandomState(seed).uniform(-6, 6, size=(N_ODD, 2))
    return np.r_[normal(seed), odd], np.repeat([1, -1], [N_NORMAL, N_ODD])


# %%
# Seven detectors
# ---------------
# PCA has no threshold of its own. This one flags as many training rows as the others.


class PCAReconstruction(OutlierMixin, BaseEstimator):
    """Distance to the line that PCA finds."""

    def fit(self, X, y=None):
        """Find the line, and the threshold."""
        self.pca_ = PCA(1).fit(X)
        self.offset_ = np.quantile(self.score_samples(X), SHARE)
        return self

    def score_samples(self, X):
        """Return minus the squared distance."""
        return -np.square(X - self.pca_.inverse_transform(self.pca_.transform(X))).sum(axis=1)

    def decision_function(self, X):
        """Return the score less the threshold; negative is an anomaly."""
        return self.score_samples(X) - self.offset_


detectors = {
    "PCA \nreconstruction": PCAReconstruction(),
    "Isolation\nForest": IsolationForest(contamination=SHARE, random_state=0),
    "LocalOutlier\nFactor": LocalOutlierFactor(novelty=True, contamination=SHARE),
    "OneClass\nSVM": OneClassSVM(nu=SHARE),
    "Autoencoder\nTransformer": AutoencoderTransformer(contamination=SHARE, random_state=0),
    "Denoising\nAutoencoder": DenoisingAutoencoder(contamination=SHARE, random_state=0),
    "VAE\nDetector": VAEDetector(contamination=SHARE, random_state=0),
}

# %%
# What they call normal
# ---------------------
# The darker the background, the odder a row there. The red line is the threshold: inside, rows are
# normal. The number is the AUROC on the test rows, which are drawn: anomalies as crosses.

tables = {"blob": blob, "two densities": two_densities, "moons": moons, "ring": ring}
side = np.linspace(-6, 6, 60)
grid = np.stack(np.meshgrid(side, side), axis=-1)
seconds, areas = dict.fromkeys(detectors, 0.0), {}

figure, panels = plt.subplots(
    len(tables), len(detectors), figsize=(11, 6.9), sharex=True, sharey=True, layout="constrained"
)
for row, (table, normal) in zip(panels, tables.items(), strict=True):
    X_train, _ = draw(normal, seed=0)
    X_test, y_test = draw(normal, seed=1)
    row[0].set_ylabel(table)
    for ax, (name, detector) in zip(row, detectors.items(), strict=True):
        started = process_time()
        detector.fit(X_train)
        seconds[name] += process_time() - started
        margin = detector.decision_function(grid.reshape(-1, 2)).reshape(grid.shape[:2])
        levels = np.unique(np.quantile(margin, np.linspace(0, 1, 9)))
        ax.contourf(side, side, margin, levels=levels, cmap="Blues_r")
        ax.contour(side, side, margin, levels=[0], colors="C3", linewidths=1.5)
        ax.scatter(*X_test[y_test == 1].T, s=3, color="black")
        ax.scatter(*X_test[y_test == -1].T, s=12, color="C1", marker="x", linewidths=1)
        areas[table, name] = roc_auc_score(y_test, detector.decision_function(X_test))
        ax.text(5.6, -5.6, f"{areas[table, name]:.2f}", ha="right", backgroundcolor="#fffc")
        ax.set(xticks=[], yticks=[], xlim=(-6, 6), ylim=(-6, 6))
for ax, name in zip(panels[0], detectors, strict=True):
    ax.set_title(name, fontsize="medium")
plt.show()

# %%
# The numbers
# -----------
# With 30 anomalies, differences of 0.02 are chance. On these tables a local outlier factor finds
# nearly as much as the autoencoders do, and costs hardly anything: the last column has the seconds
# of four fits. PCA draws a band around its line.
#
# The three autoencoders draw similar lines, since they share the default score of unchecked tables:
# the sum of a distance to training rows and of a Mahalanobis distance of the network's activations.
# The former looks at a tenth of the training rows, so that clumps of anomalies stay odd. That is
# why the middle of the ring, which is close to many rows, may be taken for normal. If all training
# rows are normal, ``contamination=0`` selects a score that follows them closely.

results = pd.Series(areas).unstack().loc[list(tables), list(detectors)]
results.loc["CPU s"] = seconds
results.columns = [name.replace("\n", "") for name in results]
print(results.T.round(2).to_string())
