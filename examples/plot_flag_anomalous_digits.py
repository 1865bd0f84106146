"""
Flag anomalous digits
=====================

An autoencoder sees handwritten zeros to fours alone. It learns to restore such digits, and
restores the other five badly. How far an image and its reconstruction are apart therefore tells the
two apart, although no anomaly took part in training.
"""

# %%
# One class of rows to learn from
# -------------------------------
# :func:`~aedetect.datasets.make_anomaly_split` turns a table with class labels into an anomaly
# problem. All training rows are normal; the test rows hold anomalies too. ``y_test`` is +1 for a
# normal row and -1 for an anomaly, as scikit-learn's outlier detectors have it.

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
# ``score_samples`` is higher for rows that are more normal, so it goes into ``roc_auc_score`` as
# it is. ``image_shape`` says that rows are images, for which other defaults are better.

detector = AutoencoderTransformer(image_shape=(1, 8, 8), random_state=0).fit(X_train)
scores = detector.score_samples(X_test)
print(f"AUROC {roc_auc_score(y_test, scores):.3f}")

# %%
# Decide
# ------
# ``predict`` compares the scores with ``offset_``, which ``fit`` derived from the training rows
# alone. The AUROC judges the order of the scores; this table judges that threshold as well.

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
# Look at the worst
# -----------------
# The ten test rows with the lowest scores, above what the network makes of them. In place of a
# digit that it has never seen it draws something like those that it knows.

worst = np.argsort(scores)[:10]
print("Truth:", *(names[label] for label in y_test[worst]))
display = ReconstructionDisplay.from_estimator(detector, X_test[worst])
display.figure_.suptitle("The ten lowest scores, lowest first")
plt.show()
