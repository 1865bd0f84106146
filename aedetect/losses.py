"""Losses and penalties of a row, each summed over the last dimension, the features.

Leading dimensions are free: ``(batch, n_features)`` gives ``(batch,)``, and
``(n_members, batch, n_features)`` gives ``(n_members, batch)``. Rows ``(1, batch, n_features)``
are compared with every member's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return ``(x_hat - x) ** 2`` for every feature, shape ``(..., n_features)``."""
    return (x_hat - x).square()


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """Return the cross-entropy of ``x`` in [0, 1] and its logits, ``(..., n_features)``, nats."""
    return F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")


def huber_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return Huber's error with its bend at 1, shape ``(..., n_features)``.

    Twice the usual form (Huber 1964), so that it equals the squared error inside the bend.
    """
    return 2 * F.huber_loss(x_hat, x.expand_as(x_hat), reduction="none")


# Error of each feature; the error of a row is their sum.
FEATURE_ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": squared_error,
    "bce": bernoulli_nll,
    "huber": huber_error,
}


def reconstruction_loss(x_hat: Tensor, x: Tensor, loss: str) -> Tensor:
    """Return the error of each row, summed over features, shape ``(..., batch)``.

    Parameters
    ----------
    x_hat, x : Tensor of shape (..., batch, n_features)
        Reconstruction (logits for ``"bce"``) and target.
    loss : {"mse", "bce", "huber"}
    """
    return FEATURE_ERRORS[loss](x_hat, x).sum(dim=-1)


def observed_loss(x_hat: Tensor, x: Tensor, loss: str) -> Tensor:
    """Return the error of each row over the cells that are not NaN, shape ``(..., batch)``.

    It is their mean error times the number of features, so that a row with missing cells weighs as
    much as a complete one; 0 for a row without any cell.
    """
    missing = x.isnan()
    errors = FEATURE_ERRORS[loss](x_hat, x.masked_fill(missing, 0.0)).masked_fill(missing, 0.0)
    n_features = x.shape[-1]
    n_observed = n_features - missing.sum(dim=-1)
    return errors.sum(dim=-1) * (n_features / n_observed.clamp_min(1))


def negative_log_likelihood(
    x_hat: Tensor,
    x: Tensor,
    loss: str,
    row_loss: Callable[[Tensor, Tensor, str], Tensor] = reconstruction_loss,
) -> Tensor:
    """Return -log p(x | z) up to a constant, shape ``(..., batch)``, nats.

    ``"bce"`` is a Bernoulli decoder, ``"mse"`` a Gaussian one of unit variance (hence the half),
    ``"huber"`` the density that belongs to Huber's error.
    """
    error = row_loss(x_hat, x, loss)
    return error if loss == "bce" else error / 2


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_var)) || N(0, I)) of each row, shape ``(..., batch)``, nats.

    Kingma & Welling 2014, appendix B, summed over the latent dimensions.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(dim=-1)


def l1_activity(z: Tensor) -> Tensor:
    """Return the sum of the absolute values of each code, shape ``(..., batch)``."""
    return z.abs().sum(dim=-1)


def jacobian_of_layer(z: Tensor, weight: Tensor, activation: str) -> Tensor:
    """Return the squared Frobenius norm of dz/dx for one dense layer, exactly, ``(..., batch)``.

    Rifai et al., "Contractive auto-encoders", ICML 2011, eq. 5: the derivative of the activation
    at each unit, squared, times the squared norm of the unit's weights.

    Parameters
    ----------
    z : Tensor of shape (..., batch, latent_dim)
        The layer's output.
    weight : Tensor of shape (..., latent_dim, n_features)
    activation : {"sigmoid", "tanh", "identity"}
        Those whose derivative follows from their value.
    """
    slope = DERIVATIVES[activation](z)
    norms = weight.square().sum(dim=-1)
    return (slope.square() @ norms[..., None]).squeeze(-1)


# Derivatives of activations as functions of their value.
DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: z * (1 - z),
    "tanh": lambda z: 1 - z.square(),
    "identity": torch.ones_like,
}


def jacobian_estimate(z: Tensor, x: Tensor, generator: Generator) -> Tensor:
    """Return an unbiased estimate of the squared Frobenius norm of dz/dx, shape ``(..., batch)``.

    One random projection a row, Hoffman et al., "Robust learning with Jacobian regularization",
    2019, eq. 11: ``latent_dim`` times the squared norm of v dz/dx for v uniform on the sphere.

    Parameters
    ----------
    z : Tensor of shape (..., batch, latent_dim)
        Computed from ``x`` row by row.
    x : Tensor of shape (..., batch, n_features)
        Requires its gradient.
    generator : torch.Generator
        Draws the projections.
    """
    v = F.normalize(torch.empty_like(z).normal_(generator=generator), dim=-1)
    (projection,) = torch.autograd.grad(z, x, v, create_graph=True)
    return z.shape[-1] * projection.square().sum(dim=-1)
