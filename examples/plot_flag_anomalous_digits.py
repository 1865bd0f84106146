"""
Flag anomalous digits
=====================

An autoencoder is trained on handwritten zeros to fours only. It restores these digits well and the
other five badly. So the distance between an image and its reconstruction separates normal digits
from anomalies, although no anomaly was used in training.
"""

# %%
# Normal rows for training
# ------------------------
# :func:`~aedetect.datasets.make_anomaly_split` turns a table with class labels into an anomaly
# problem. All training rows are normal; the test rows include anomalies. ``y_test`` is +1 for a
# normal row and -1 for an anomaly, as in scikit-learn's outlier detectors.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, roc_auc_score

from aedetect import AutoencoderTransformer, datasets
from aedetect.plotting import ReconstructionDisplay

X, y = datasets.load_digits()
X_train, X_test, y_test = datasets.make_anomaly_split(
    X, y, normal=[0, 1, 2, 3, 4], n_test_anomalies=60, random_state=0
)
print(f"{len(X_train)} rows to train on, {len(X_test)} to test on")

# %%
# Train and score
# ---------------
# ``score_samples`` is higher for more normal rows, so it can be passed to ``roc_auc_score`` without
# a change of sign. ``image_shape`` marks rows as images and selects the defaults for images.

detector = AutoencoderTransformer(image_shape=(1, 8, 8), random_state=0).fit(X_train)
scores = detector.score_samples(X_test)
print(f"AUROC {roc_auc_score(y_test, scores):.3f}")

# %%
# Decide
# ------
# ``predict`` compares the scores with ``offset_``, which ``fit`` derives from the training rows
# alone. The AUROC measures only the order of the scores; this table depends on the threshold too.

names = {-1: "anomaly", 1: "normal"}
confusion = confusion_matrix(y_test, detector.predict(X_test), labels=list(names))
rows = [f"true {name}" for name in names.values()]
columns = [f"predicted {name}" for name in names.values()]
print(pd.DataFrame(confusion, rows, columns).to_string())

# %%
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
bins = np.linspace(scores.min(), scores.max(), 50)
for label, color in {1: "tab:blue", -1: "tab:orange"}.items():
    ax.hist(scores[y_test == label], bins, density=True, alpha=0.6, color=color, label=names[label])
ax.axvline(detector.offset_, color="black", linestyle="--", label="offset_")
ax.set(xlabel="score_samples (higher is more normal)", ylabel="density of test rows")
ax.legend()
plt.show()

# %%
# The lowest scores
# -----------------
# The ten test rows with the lowest scores, each above its reconstruction. The reconstruction of an
# anomalous digit resembles the digits in the training set.

worst = np.argsort(scores)[:10]
print("Truth:", *(names[label] for label in y_test[worst]))
display = ReconstructionDisplay.from_estimator(detector, X_test[worst])
display.figure_.suptitle("The ten lowest scores, lowest first")
plt.show()
