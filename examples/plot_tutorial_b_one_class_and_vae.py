"""
Tutorial B: one autoencoder per digit, and new digits
=====================================================

An autoencoder that is trained on one digit restores that digit well and the others badly. Ten of
them form a classifier of digits, although none was trained to classify. A variational autoencoder
then draws new digits.
"""

# %%
# The digits
# ----------
# For MNIST, change two lines: ``X, y = datasets.load_mnist("train")`` and
# ``image_shape = (1, 28, 28)``. The images are read from the folder in the environment variable
# ``AEDETECT_DATA``, or downloaded if it is not set. Training takes far longer.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

from aedetect import AutoencoderTransformer, VAEDetector, datasets
from aedetect.plotting import ReconstructionDisplay, SamplesDisplay

X, y = datasets.load_digits()
image_shape = (1, 8, 8)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)

# %%
# One network per digit
# ---------------------
# Scores are compared between networks, so all ten must use one unit. ``scaling=None`` leaves the
# pixels unscaled, and ``anomaly_score="reconstruction"`` is the error in units of the pixels.

settings = {"scaling": None, "anomaly_score": "reconstruction", "random_state": 0}
detectors = [
    AutoencoderTransformer(**settings).fit(X_train[y_train == digit]) for digit in range(10)
]
scores = np.column_stack([detector.score_samples(X_test) for detector in detectors])
aurocs = [roc_auc_score(y_test == digit, scores[:, digit]) for digit in range(10)]
for digit, auroc in enumerate(aurocs):
    print(f"{digit} against all other digits: AUROC {auroc:.3f}")

# %%
# The highest score names the digit
# ---------------------------------
# A row is assigned to the network that restores it best. The confusion matrix shows the errors.

predicted = scores.argmax(axis=1)
print(f"Accuracy on the test rows: {accuracy_score(y_test, predicted):.3f}")
fig, ax = plt.subplots(figsize=(5, 5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(y_test, predicted, ax=ax, cmap="Blues", colorbar=False)
ax.set_title("Ten autoencoders as a classifier")
plt.show()

# %%
# The worst reconstructions
# -------------------------
# The test rows that the network of the threes restores worst, lowest score first. Each number is a
# score. Several reconstructions look like threes.

worst = scores[:, 3].argsort()[:10]
print("Truth:", *y_test[worst])
display = ReconstructionDisplay.from_estimator(detectors[3], X_test[worst], image_shape=image_shape)
display.figure_.suptitle("Reconstructed by a network that was trained on threes only")
plt.show()

# %%
# New digits
# ----------
# :class:`~aedetect.VAEDetector` keeps its codes close to a standard normal distribution, so codes
# drawn from that distribution can be decoded. With ``loss="bce"`` each pixel is a probability. A
# few samples do not look like digits, because the prior includes codes far from those of all
# training rows.

vae = VAEDetector(
    8, hidden_layer_sizes=(256, 128), loss="bce", learning_rate=2e-3, max_epochs=60, random_state=0
).fit(X_train)
display = SamplesDisplay.from_estimator(vae, 40, image_shape=image_shape)
display.figure_.suptitle("Drawn from the prior")
plt.show()
