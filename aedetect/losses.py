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

from aedetect.blocks import Blocks


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


def feature_errors(x_hat: Tensor, x: Tensor, loss: str, blocks: Blocks | None = None) -> Tensor:
    """Return the error of every entry of a row, shape ``(..., batch, n_features)``.

    Parameters
    ----------
    x_hat, x : Tensor of shape (..., batch, n_features)
        Reconstruction (logits for ``"bce"`` and in blocks) and target.
    loss : {"mse", "bce", "huber"}
        For the numbers.
    blocks : Blocks or None, default=None
        Entries that stand for categories, whose error is the cross-entropy.
    """
    if blocks is None:
        return FEATURE_ERRORS[loss](x_hat, x)
    n = blocks.n_numbers
    numbers = FEATURE_ERRORS[loss](x_hat[..., :n], x[..., :n])
    return torch.cat([numbers, blocks.errors(x_hat[..., n:], x[..., n:])], dim=-1)


def reconstruction_loss(
    x_hat: Tensor, x: Tensor, loss: str, blocks: Blocks | None = None
) -> Tensor:
    """Return the error of each row, the sum of :func:`feature_errors`, shape ``(..., batch)``."""
    return feature_errors(x_hat, x, loss, blocks).sum(dim=-1)


def observed_loss(x_hat: Tensor, x: Tensor, loss: str, blocks: Blocks | None = None) -> Tensor:
    """Return the error of each row over the cells that are not NaN, shape ``(..., batch)``.

    It is their mean error times the number of cells, so that a row with missing cells weighs as
    much as a complete one; 0 for a row without any cell.
    """
    missing = x.isnan()
    errors = feature_errors(x_hat, x.masked_fill(missing, 0.0), loss, blocks)
    return errors.masked_fill(missing, 0.0).sum(dim=-1) * weight_of_observed(missing, blocks)


def weight_of_observed(missing: Tensor, blocks: Blocks | None) -> Tensor:
    """Return the number of cells of each row over that of its observed cells, ``(..., batch)``.

    A block is one cell.
    """
    if blocks is not None:
        missing = blocks.cells(missing)
    n_cells = missing.shape[-1]
    return n_cells / (n_cells - missing.sum(dim=-1)).clamp_min(1)


def negative_log_likelihood(
    x_hat: Tensor,
    x: Tensor,
    loss: str,
    blocks: Blocks | None = None,
    row_loss: Callable[[Tensor, Tensor, str, Blocks | None], Tensor] = reconstruction_loss,
) -> Tensor:
    """Return -log p(x | z) up to a constant, shape ``(..., batch)``, nats.

    ``"bce"`` is a Bernoulli decoder, ``"mse"`` a Gaussian one of unit variance (hence the half),
    ``"huber"`` the density that belongs to Huber's error. The cross-entropies of blocks are in
    units of their columns' entropies.
    """
    error = row_loss(x_hat, x, loss, blocks)
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
