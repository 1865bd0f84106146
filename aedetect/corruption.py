"""The noises that a denoising autoencoder learns to remove.

Each takes a batch, a level, the range of every feature and a generator, and returns a new batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from aedetect.networks import draw_chosen


def gaussian(x: Tensor, level: float, bounds: Tensor, generator: Generator) -> Tensor:
    """Return ``x`` plus normal noise of standard deviation ``level``.

    Parameters
    ----------
    x : Tensor of shape (batch, n_features)
    level : float
        Standard deviation, in the units that the network sees.
    bounds : Tensor of shape (2, n_features)
        Not used: the noise is unbounded.
    generator : torch.Generator
    """
    noise = torch.empty_like(x).normal_(std=level, generator=generator)
    return noise.add_(x)


def masking(x: Tensor, level: float, bounds: Tensor, generator: Generator) -> Tensor:
    """Return ``x`` with a share ``level`` of its values set to zero.

    Vincent et al., "Extracting and composing robust features with denoising autoencoders",
    ICML 2008. Zero is the mean of a scaled feature and black of a pixel in [0, 1].
    """
    return x.masked_fill(draw_chosen(level, x.shape, generator, x.device), 0.0)


def salt_and_pepper(x: Tensor, level: float, bounds: Tensor, generator: Generator) -> Tensor:
    """Return ``x`` with a share ``level`` of its values set to their feature's minimum or maximum.

    Vincent et al., "Stacked denoising autoencoders", JMLR 2010. ``bounds[0]`` holds the minima and
    ``bounds[1]`` the maxima of the features in the training rows.
    """
    extreme = torch.where(
        draw_chosen(0.5, x.shape, generator, x.device), bounds[0], bounds[1]
    )  # (batch, n_features)
    return torch.where(draw_chosen(level, x.shape, generator, x.device), extreme, x)


def hide(x: Tensor, share: float, generator: Generator) -> Tensor:
    """Return ``x`` with a share of its cells missing (NaN), beside those that are missing already.

    What a network must restore from the cells that are left teaches it to impute.
    """
    return x.masked_fill(draw_chosen(share, x.shape, generator, x.device), torch.nan)


NOISES: dict[str, Callable[[Tensor, float, Tensor, Generator], Tensor]] = {
    "gaussian": gaussian,
    "masking": masking,
    "salt_and_pepper": salt_and_pepper,
}
