"""
Plots of a detector, and a report
=================================

The classes of :mod:`aedetect.plotting` follow the conventions of scikit-learn's displays.
:func:`aedetect.report` puts plots on one HTML page, with the most anomalous rows and their
explanations.
"""

# %%
# A detector, PCA and an isolation forest
# ---------------------------------------

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

from aedetect import AutoencoderTransformer, datasets, report
from aedetect.plotting import LatentMapDisplay, ReconstructionDisplay, ScoreDistributionDisplay

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
# Rows to the right of the dashed line are flagged. Scores with a long tail get a logarithmic axis.

ScoreDistributionDisplay.from_estimator(detector, X_test, y_test)
plt.show()

# %%
# ROC and precision-recall curves
# -------------------------------
# Scikit-learn draws these curves. Anomalies are the positive class, so the scores change sign.

scores = {
    "autoencoder": detector.score_samples(X_test),
    "PCA, 16 components": -(residuals**2).sum(axis=1),
    "isolation forest": forest.score_samples(X_test),
}
fig, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
for ax, display in zip(axes, [RocCurveDisplay, PrecisionRecallDisplay], strict=True):
    for name, values in scores.items():
        display.from_predictions(y_test, -values, pos_label=-1, name=name, ax=ax)
plt.show()

# %%
# The codes in the plane
# ----------------------
# Without labels, rows are coloured by score. Flagged rows are triangles.

LatentMapDisplay.from_estimator(detector, X_test, beside_pca=True)
plt.show()

# %%
# Heat maps
# ---------
# The darker a pixel of the heat map, the more it adds to the anomaly of its column.

worst = detector.score_samples(X_test).argsort()[:10]
ReconstructionDisplay.from_estimator(detector, X_test[worst], heat_map=True)
plt.show()

# %%
# The report
# ----------
# The page is one file without scripts that loads nothing from the network, so it can be mailed.

path = report(detector, X_test, y_test, Path(mkdtemp()) / "report.html", X_train=X_train)
print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB")
