"""
A custom network and a custom callback
======================================

If none of the built-in networks fits, pass two PyTorch modules. Training, scaling, threshold and
scores work as before. You need no training loop.
"""

# %%
# Two modules
# -----------
# The encoder maps a batch of rows to a batch of codes, and the decoder maps codes to rows. Both
# work on flat rows, so a convolutional network unflattens its input and flattens its output.

import matplotlib.pyplot as plt
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from aedetect import AutoencoderTransformer, datasets
from aedetect.networks import Autoencoder

# Training starts from the weights of the custom network: seed them for reproducible results.
torch.manual_seed(0)
encoder = nn.Sequential(
    nn.Unflatten(1, (1, 8, 8)),
    nn.Conv2d(1, 16, kernel_size=3, stride=2, padding=1),  # (16, 4, 4)
    nn.GELU(),
    nn.Flatten(),
    nn.Linear(16 * 4 * 4, 12),
)
decoder = nn.Sequential(
    nn.Linear(12, 16 * 4 * 4),
    nn.GELU(),
    nn.Unflatten(1, (16, 4, 4)),
    nn.ConvTranspose2d(16, 1, kernel_size=4, stride=2, padding=1),  # (1, 8, 8)
    nn.Flatten(),
)
network = Autoencoder(encoder, decoder)

# %%
# Train it
# --------
# ``fit`` trains a copy, so ``network`` can be used again. ``summary`` lists the layers.

X_train, X_test, y_test = datasets.make_anomaly_split(
    *datasets.load_digits(), normal=[0, 1, 2, 3, 4], n_test_anomalies=60, random_state=0
)
detector = AutoencoderTransformer(network=network, random_state=0).fit(X_train)
print(detector.summary().to_string(index=False))
print(f"AUROC {roc_auc_score(y_test, detector.score_samples(X_test)):.3f}")

# %%
# Learning curve
# --------------
# ``history_`` has one entry per epoch. ``fit`` keeps the weights of the epoch with the lowest
# held-out loss.

history = detector.history_
best = history["val_loss"].argmin()
fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(history["loss"], label="training rows")
ax.plot(history["val_loss"], label="held-out rows")
ax.plot(best, history["val_loss"][best], "ko", label="weights kept")
ax.set(xlabel="epoch", ylabel="loss, mean over rows")
ax.legend()
plt.show()

# %%
# Stop training with a callback
# -----------------------------
# Callbacks follow scikit-learn's own protocol. Each epoch is a task of the fit, and a callback that
# returns True at its end stops the training. A hook that names the argument ``fitted_estimator``
# gets a copy of the estimator as if training had ended at this epoch.


class StopAtLoss:
    """Stop once the held-out loss falls below a target."""

    def __init__(self, target):
        self.target = target

    def setup(self, estimator, context):
        """Do nothing before the fit."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing before an epoch."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        """Return whether the target is reached."""
        return fitted_estimator.history_["val_loss"][-1] < self.target

    def teardown(self, estimator, context):
        """Do nothing after the fit."""


target = 2 * history["val_loss"].min()
stopped = AutoencoderTransformer(network=network, random_state=0)
stopped.set_callbacks(StopAtLoss(target)).fit(X_train)
print(f"target {target:.2f}, reached {stopped.history_['val_loss'][-1]:.2f}")
print(f"{stopped.n_iter_} epochs instead of {detector.n_iter_}")
