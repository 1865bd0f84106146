"""
Pictures of a detector, and a report for those who did not train it
===================================================================

The classes of :mod:`aedetect.plotting` work like scikit-learn's displays. :func:`aedetect.report`
puts the most useful ones on one page of HTML, with the most anomalous rows and their reasons.
"""

# %%
# A detector and two peers
# ------------------------

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest

from aedetect import AutoencoderTransformer, datasets, report
from aedetect.plotting import (
    DetectionCurveDisplay,
    LatentMapDisplay,
    ReconstructionDisplay,
    ScoreDistributionDisplay,
)

X_train, X_test, y_test = datasets.make_anomaly_split(
    *datasets.load_digits(), normal=[0, 1, 2, 3, 4], n_test_anomalies=60, random_state=0
)
detector = AutoencoderTransformer(image_shape=(1, 8, 8), random_state=0).fit(X_train)
forest = IsolationForest(random_state=0).fit(X_train)
pca = PCA(16).fit(X_train)
residuals = X_test - pca.inverse_transform(pca.transform(X_test))

# %%
# Where the threshold lies
# ------------------------
# What is right of the dashed line is flagged. Scores with a long tail get a logarithmic axis.

ScoreDistributionDisplay.from_estimator(detector, X_test, y_test)
plt.show()

# %%
# Who finds more
# --------------
# All displays take ``ax``. Anomalies are the positive class; scores go in as ``score_samples``
# returns them.

scores = {
    "autoencoder": detector.score_samples(X_test),
    "PCA, 16 components": -(residuals**2).sum(axis=1),
    "isolation forest": forest.score_samples(X_test),
}
fig, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
for ax, kind in zip(axes, ["roc", "precision_recall"], strict=True):
    DetectionCurveDisplay.from_predictions(scores, y_test, kind=kind, ax=ax)
plt.show()

# %%
# What the code keeps apart
# -------------------------
# Without labels, the rows are coloured by their score; the flagged ones are triangles.

LatentMapDisplay.from_estimator(detector, X_test, beside_pca=True)
plt.show()

# %%
# Where a row is odd
# ------------------
# The darker a pixel of the heat map, the more it adds to the score above its column.

worst = detector.score_samples(X_test).argsort()[:10]
ReconstructionDisplay.from_estimator(detector, X_test[worst], heat_map=True)
plt.show()

# %%
# All of it on one page
# ---------------------
# The page is one file without scripts, and it asks no address for anything, so it can be mailed.

path = report(detector, X_test, y_test, Path(mkdtemp()) / "report.html", X_train=X_train)
print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB")
