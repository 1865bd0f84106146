"""Losses and penalties of a row. Each sums over features and returns ``(batch,)``."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return ``(x_hat - x) ** 2`` for every feature, shape ``(batch, n_features)``."""
    return (x_hat - x).square()


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """Return the cross-entropy of ``x`` in [0, 1] and its logits, ``(batch, n_features)``, nats."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none")


def huber_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return Huber's error with its bend at 1, shape ``(batch, n_features)``.

    Twice the usual form (Huber 1964), so that it equals the squared error inside the bend.
    """
    return 2 * F.huber_loss(x_hat, x, reduction="none")


# What each feature of a row costs; a row costs their sum.
FEATURE_ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": squared_error,
    "bce": bernoulli_nll,
    "huber": huber_error,
}


def reconstruction_loss(x_hat: Tensor, x: Tensor, loss: str) -> Tensor:
    """Return the error of each row, summed over features, shape ``(batch,)``.

    Parameters
    ----------
    x_hat, x : Tensor of shape (batch, n_features)
        Reconstruction (logits for ``"bce"``) and target.
    loss : {"mse", "bce", "huber"}
    """
    return FEATURE_ERRORS[loss](x_hat, x).sum(dim=1)


def negative_log_likelihood(x_hat: Tensor, x: Tensor, loss: str) -> Tensor:
    """Return -log p(x | z) up to a constant, shape ``(batch,)``, nats.

    ``"bce"`` is a Bernoulli decoder, ``"mse"`` a Gaussian one of unit variance (hence the half),
    ``"huber"`` the density that belongs to Huber's error.
    """
    error = reconstruction_loss(x_hat, x, loss)
    return error if loss == "bce" else error / 2


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_var)) || N(0, I)) of each row, shape ``(batch,)``, nats.

    Kingma & Welling 2014, appendix B, summed over the latent dimensions.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(dim=1)
