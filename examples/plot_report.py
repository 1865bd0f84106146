"""
Plots of a detector, and a report
=================================

The classes of :mod:`aedetect.plotting` work like scikit-learn's displays. :func:`aedetect.report`
puts the most useful ones on one HTML page, together with the most anomalous rows and their
explanations.
"""

# %%
# A detector, an isolation forest and PCA
# ---------------------------------------

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
# Scores and threshold
# --------------------
# Rows to the right of the dashed line are flagged. If the scores have a long tail, the axis is
# logarithmic.

ScoreDistributionDisplay.from_estimator(detector, X_test, y_test)
plt.show()

# %%
# Detection curves
# ----------------
# All displays of a single plot take ``ax``. Anomalies are the positive class. Pass scores as
# ``score_samples`` returns them.

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
# A map of the codes
# ------------------
# Without labels, points are coloured by score. Triangles are flagged rows.

LatentMapDisplay.from_estimator(detector, X_test, beside_pca=True)
plt.show()

# %%
# Heat maps
# ---------
# Darker pixels of a heat map contribute more to the anomaly. The number above each column is the
# score.

worst = detector.score_samples(X_test).argsort()[:10]
ReconstructionDisplay.from_estimator(detector, X_test[worst], heat_map=True)
plt.show()

# %%
# One HTML page
# -------------
# The page is one file without scripts. It loads nothing from the network, so it can be sent by
# mail.

path = report(detector, X_test, y_test, Path(mkdtemp()) / "report.html", X_train=X_train)
print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB")
