"""
Tutorial C: a denoiser with batch normalisation
===============================================

This is a deeper convolutional denoiser, whose short code lies between zero and one. Batch
normalisation adds values to the network that are not trained, and ``summary`` counts them
separately. New noise is drawn for every batch.
"""

# %%
# The digits
# ----------
# For MNIST, change two lines: ``X, y = datasets.load_mnist("train")`` and
# ``image_shape = (1, 28, 28)``. The images are read from the folder in the environment variable
# ``AEDETECT_DATA``, or downloaded if it is not set. Training takes far longer.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from aedetect import DenoisingAutoencoder, datasets
from aedetect.plotting import LearningCurveDisplay, ReconstructionDisplay

X, y = datasets.load_digits()
image_shape = (1, 8, 8)
X_train, X_test = train_test_split(X, test_size=0.2, random_state=0)

# %%
# The network
# -----------
# The image is halved between the convolutions, and a dense layer computes the code. The decoder
# repeats pixels before each convolution, which avoids checkerboard artefacts.

denoiser = DenoisingAutoencoder(
    32,
    network="conv",
    image_shape=image_shape,
    hidden_layer_sizes=(16, 32, 32),
    batch_norm=True,
    latent_activation="sigmoid",
    upsample="nearest",
    loss="bce",
    noise="gaussian",
    noise_level=0.5,
    max_epochs=40,
    random_state=0,
).fit(X_train)
codes = denoiser.transform(X_test)
print(f"Codes of {codes.shape[1]} values from {codes.min():.3f} to {codes.max():.3f}")

# %%
# Trained and untrained values
# ----------------------------
# The running means and variances of batch normalisation are part of the network. They are measured
# on the batches and not trained by gradients.

summary = denoiser.summary()
print(summary.to_string(index=False))
totals = summary[["parameters", "trained"]].sum()
print(f"{totals['parameters']} values in all: {totals['trained']} are trained", end=", ")
print(f"{totals['parameters'] - totals['trained']} are not")

# %%
# New noise for every batch
# -------------------------
# Each digit gets different noise in every epoch. Two calls of ``corrupt`` show this: two copies of
# one row differ. A network could memorise a fixed set of noisy images, but not noise that changes.

one, two = (denoiser.corrupt(X_test[:1], random_state=seed) for seed in (0, 1))
print(f"Largest difference between two noisy copies of one row: {np.abs(one - two).max():.2f}")

# %%
# The training loss is computed during the epoch, with the statistics of each batch. The held-out
# loss is computed at the end of the epoch, with the running statistics and with fixed noise.
# ``fit`` keeps the weights of the epoch with the lowest held-out loss. The table shows the first
# epoch, this epoch and the last.

display = LearningCurveDisplay.from_estimator(denoiser)
display.ax_.set_title("Batch-normalised denoiser")
plt.show()
losses = pd.DataFrame(denoiser.history_, index=range(1, denoiser.n_iter_ + 1))
rows = losses.iloc[[0, losses["val_loss"].argmin(), -1]]
print(rows[["loss", "val_loss"]].rename_axis("epoch").round(2).to_string())

# %%
# Restored digits
# ---------------
# Test rows, their noisy copies and the reconstructions. The number above each digit is the score of
# the clean row.

ReconstructionDisplay.from_estimator(denoiser, X_test[:10], noisy=True)
plt.show()
