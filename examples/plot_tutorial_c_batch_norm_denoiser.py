"""
Tutorial C: a denoiser with batch normalisation
===============================================

A deeper convolutional denoiser with a short code between zero and one. Batch normalisation adds
values to the network that are counted but not trained, and ``summary`` tells the two apart. The
noise is drawn anew for every batch.
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
# The image is halved between the convolutions, and a dense layer makes the code. The decoder
# repeats pixels before each convolution, which leaves no checkerboards.

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
# What is trained and what is not
# -------------------------------
# The running means and variances of batch normalisation are part of the network. They are measured
# on the batches, and no gradient reaches them.

summary = denoiser.summary()
print(summary.to_string(index=False))
totals = summary[["parameters", "trained"]].sum()
print(f"{totals['parameters']} values in all: {totals['trained']} are trained", end=", ")
print(f"{totals['parameters'] - totals['trained']} are not")

# %%
# Fresh noise
# -----------
# The same digit comes with other noise each time. ``corrupt`` shows it: two copies of one row
# differ. A network could learn a fixed set of noisy images by heart, but not noise that it meets
# once.

one, two = (denoiser.corrupt(X_test[:1], random_state=seed) for seed in (0, 1))
print(f"Largest difference between two noisy copies of one row: {np.abs(one - two).max():.2f}")

# %%
# The training loss is taken during the epoch, with the statistics of each batch; the held-out loss
# at its end, with the running ones, and with the same noise every time. The weights of the epoch
# with the lowest held-out loss are kept. The table shows the first epoch, that one and the last.

display = LearningCurveDisplay.from_estimator(denoiser)
display.ax_.set_title("Batch-normalised denoiser")
plt.show()
losses = pd.DataFrame(denoiser.history_, index=range(1, denoiser.n_iter_ + 1))
rows = losses.iloc[[0, losses["val_loss"].argmin(), -1]]
print(rows[["loss", "val_loss"]].rename_axis("epoch").round(2).to_string())

# %%
# Restored digits
# ---------------
# Test rows, their noisy copies and what becomes of those. The number above each is the score of
# the clean row.

ReconstructionDisplay.from_estimator(denoiser, X_test[:10], noisy=True)
plt.show()
