"""
Tutorial B: one autoencoder a digit, and new digits
===================================================

An autoencoder that has seen a single digit restores that digit well and others badly. Ten of them
name the digit of an unseen image, though none was trained to tell digits apart. A variational
autoencoder then draws digits that nobody wrote.
"""

# %%
# The digits
# ----------
# For MNIST, change two lines: ``X, y = datasets.load_mnist("train")`` and
# ``image_shape = (1, 28, 28)``. The images are read from the folder that the environment variable
# ``AEDETECT_DATA`` names, or downloaded if there is none;
# training then takes far longer.

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
# One network a digit
# -------------------
# Scores are compared between networks, so all ten must measure the error in one unit:
# ``scaling=None`` leaves the pixels as they are for each of them, and the plain reconstruction
# error knows no other unit.

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
# A row belongs to the network that restores it best. The table shows which digits are taken for
# which.

predicted = scores.argmax(axis=1)
print(f"Accuracy on the test rows: {accuracy_score(y_test, predicted):.3f}")
fig, ax = plt.subplots(figsize=(5, 5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(y_test, predicted, ax=ax, cmap="Blues", colorbar=False)
ax.set_title("Ten autoencoders as a classifier")
plt.show()

# %%
# The worst reconstructions
# -------------------------
# The test rows that the network of the threes restores worst, the lowest score first. Each number
# is the score. Several digits come out looking like threes.

worst = scores[:, 3].argsort()[:10]
print("Truth:", *y_test[worst])
display = ReconstructionDisplay.from_estimator(detectors[3], X_test[worst], image_shape=image_shape)
display.figure_.suptitle("Seen by a network that knows threes alone")
plt.show()

# %%
# New digits
# ----------
# :class:`~aedetect.VAEDetector` keeps its codes close to a standard normal distribution. Codes
# drawn from it can therefore be decoded. With ``loss="bce"`` each pixel is a probability. A few
# drawings look like no digit: the prior reaches codes that no training row has.

vae = VAEDetector(
    8, hidden_layer_sizes=(256, 128), loss="bce", learning_rate=2e-3, max_epochs=60, random_state=0
).fit(X_train)
display = SamplesDisplay.from_estimator(vae, 40, image_shape=image_shape)
display.figure_.suptitle("Drawn from the prior")
plt.show()
