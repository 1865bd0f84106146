"""Noise for the rows that a network is trained on: callables ``(x, generator) -> noisy x``.

The features are the last dimension; leading dimensions are free.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from aedetect.blocks import Blocks
from aedetect.networks import draw_chosen

Level = float | Tensor  # of all members, or of each, (n_members, 1, 1)


@dataclass(frozen=True, eq=False)
class Corruption:
    """The noise of a denoising autoencoder.

    Parameters
    ----------
    noise : {"gaussian", "masking", "salt_and_pepper"}
    level : float, or ndarray of shape (n_members, 1, 1), float32
        Standard deviation of gaussian noise; share of the replaced values for the other two. An
        array has that of each member, and rows are ``(n_members, batch, n_features)`` then.
    bounds : ndarray of shape (2, n_numbers) or (2, n_members, 1, n_numbers), float32
        Minima and maxima of the numbers in the training rows.
    clamp : bool
        Whether noisy numbers are clipped to [0, 1].
    keeps_missing : bool
        Whether rows may have NaN, which stay NaN.
    blocks : Blocks or None, default=None
        Entries that stand for categories; they get noise too.
    """

    noise: str
    level: float | NDArray[np.float32]
    bounds: NDArray[np.float32]
    clamp: bool
    keeps_missing: bool
    blocks: Blocks | None = None

    @classmethod
    def fit(
        cls,
        x: Tensor,
        noise: str,
        level: float,
        *,
        clamp: bool,
        keeps_missing: bool,
        blocks: Blocks | None = None,
    ) -> Self:
        """Return the noise with the bounds of training rows ``x`` ``(n_rows, n_features)``.

        A feature without any observed cell has the bounds 0 and 0.
        """
        x = x if blocks is None else x[:, : blocks.n_numbers]
        low = x.nan_to_num(torch.inf).amin(dim=0)
        high = x.nan_to_num(-torch.inf).amax(dim=0)
        bounds = torch.stack([low, high]).nan_to_num(posinf=0.0, neginf=0.0)
        return cls(noise, level, bounds.cpu().numpy(), clamp, keeps_missing, blocks)

    @classmethod
    def join(cls, noises: Sequence[Self], n_members: int) -> Self:
        """Return the noise of all members of networks that have ``n_members`` each.

        The noises of the networks differ in levels and bounds alone.
        """
        levels = np.array([noise.level for noise in noises], np.float32).repeat(n_members)
        bounds = np.stack([noise.bounds for noise in noises], axis=1).repeat(n_members, axis=1)
        return dataclasses.replace(
            noises[0], level=levels[:, None, None], bounds=bounds[:, :, None]
        )

    def to_state(self) -> dict[str, Any]:
        """Return all values but the blocks, which the columns tell of."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "blocks"]
        return {name: getattr(self, name) for name in names}

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Return a noisy copy of rows ``(..., n_features)``."""
        n = x.shape[-1] if self.blocks is None else self.blocks.n_numbers
        level, bounds = self._values_on(x.device)
        if self.blocks is None or self.noise == "gaussian":
            noisy = NOISES[self.noise](x, level, bounds, generator)
        else:
            numbers = NOISES[self.noise](x[..., :n], level, bounds, generator)
            entries = corrupt_levels(x[..., n:], self.noise, level, self.blocks, generator)
            noisy = torch.cat([numbers, entries], dim=-1)
        if self.clamp:
            noisy[..., :n].clamp_(0, 1)
        return noisy.masked_fill(x.isnan(), torch.nan) if self.keeps_missing else noisy

    def __getstate__(self) -> dict[str, Any]:
        """Return the parameters, so that equal noises have equal pickles and digests."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def _values_on(self, device: torch.device) -> tuple[float | Tensor, Tensor]:
        """Return level and bounds."""
        if device not in self._known:
            level, bounds = self.level, torch.from_numpy(self.bounds).to(device)
            own = torch.from_numpy(level).to(device) if isinstance(level, np.ndarray) else level
            self._known[device] = own, bounds
        return self._known[device]

    @cached_property
    def _known(self) -> dict[torch.device, tuple[float | Tensor, Tensor]]:
        return {}


@dataclass(frozen=True)
class Hiding:
    """Hides cells at random, so that a network is trained to restore them.

    Parameters
    ----------
    corrupt : callable or None
        Noise ``(x, generator) -> noisy x`` that is added first.
    share : float
        Share of the cells that are hidden.
    blocks : Blocks or None, default=None
        Entries that stand for categories: those of a cell are hidden together.
    """

    corrupt: Callable[[Tensor, Generator], Tensor] | None
    share: float
    blocks: Blocks | None = None

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Return a copy of rows ``(..., n_features)`` with noise and hidden cells."""
        noisy = x if self.corrupt is None else self.corrupt(x, generator)
        return hide(noisy, self.share, generator, self.blocks)


def gaussian(x: Tensor, level: Level, bounds: Tensor, generator: Generator) -> Tensor:
    """Return ``x`` plus normal noise of standard deviation ``level``.

    Parameters
    ----------
    x : Tensor of shape (..., n_features)
    level : float or Tensor of shape (n_members, 1, 1)
        Standard deviation, in the units that the network sees.
    bounds : Tensor of shape (2, n_features) or (2, n_members, 1, n_features)
        Not used: the noise is unbounded.
    generator : torch.Generator
    """
    if isinstance(level, Tensor):
        noise = torch.empty_like(x).normal_(generator=generator).mul_(level)
    else:
        noise = torch.empty_like(x).normal_(std=level, generator=generator)
    return noise.add_(x)


def masking(x: Tensor, level: Level, bounds: Tensor, generator: Generator) -> Tensor:
    """Return ``x`` with a share ``level`` of its values set to zero.

    Vincent et al., "Extracting and composing robust features with denoising autoencoders",
    ICML 2008. Zero is the mean of a scaled feature and black of a pixel in [0, 1].
    """
    return x.masked_fill(draw_chosen(level, x.shape, generator, x.device), 0.0)


def salt_and_pepper(x: Tensor, level: Level, bounds: Tensor, generator: Generator) -> Tensor:
    """Return ``x`` with a share ``level`` of its values set to their feature's minimum or maximum.

    Vincent et al., "Stacked denoising autoencoders", JMLR 2010. ``bounds[0]`` holds the minima and
    ``bounds[1]`` the maxima of the features in the training rows.
    """
    low, high = bounds
    extreme = torch.where(draw_chosen(0.5, x.shape, generator, x.device), low, high)
    return torch.where(draw_chosen(level, x.shape, generator, x.device), extreme, x)


def corrupt_levels(
    entries: Tensor, noise: str, level: Level, blocks: Blocks, generator: Generator
) -> Tensor:
    """Return the entries of categories with a share ``level`` of the cells replaced.

    ``"masking"`` sets their entries to zero, the mean of the training rows, ``"salt_and_pepper"``
    gives them any level. Gaussian noise is added to entries as it is to numbers.
    """
    cells = (*entries.shape[:-1], len(blocks.sizes))
    chosen = draw_chosen(level, cells, generator, entries.device)
    numbers = chosen.new_zeros(*chosen.shape[:-1], blocks.n_numbers)
    chosen = blocks.entries(torch.cat([numbers, chosen], dim=-1))[..., blocks.n_numbers :]
    if noise == "masking":
        return entries.masked_fill(chosen, 0.0)
    return torch.where(chosen, blocks.draw(entries, generator), entries)


def hide(x: Tensor, share: float, generator: Generator, blocks: Blocks | None = None) -> Tensor:
    """Return ``x`` with a share of its cells set to NaN, beside those that are NaN already.

    A network that is trained to restore them can impute. A block is one cell.
    """
    if blocks is None:
        return x.masked_fill(draw_chosen(share, x.shape, generator, x.device), torch.nan)
    cells = (*x.shape[:-1], len(blocks.firsts))
    chosen = blocks.entries(draw_chosen(share, cells, generator, x.device))
    return x.masked_fill(chosen, torch.nan)


NOISES: dict[str, Callable[[Tensor, Level, Tensor, Generator], Tensor]] = {
    "gaussian": gaussian,
    "masking": masking,
    "salt_and_pepper": salt_and_pepper,
}
