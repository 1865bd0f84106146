"""Blocks of entries in a scaled row: each stands for the level of one categorical column."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

Entries = NDArray[np.float32]  # (n_entries,)

SMOOTHING = 0.02  # share of a target that is spread over all levels, by how common they are
LEAST_ENTROPY = 0.02  # nats; a column that hardly varies must not outweigh all others


class Blocks:
    """The blocks of a scaled row, which come after its numbers.

    A block has one entry for each level of a categorical column, and a last one for all levels that
    are not its own. An entry is 1 at the row's level and 0 elsewhere, less the level's share of the
    training rows, times the scale of the column. The decoder returns logits for these entries.

    Parameters
    ----------
    n_numbers : int
        Entries before the first block.
    sizes : sequence of int
        Entries of each block, in ascending order: blocks of one size are computed together.
    shares : ndarray of shape (n_entries,), float32
        Share of each level; those of a block add up to 1.
    scales : ndarray of shape (n_entries,), float32
        Of the column, at each of its entries.
    """

    def __init__(
        self, n_numbers: int, sizes: Sequence[int], shares: Entries, scales: Entries
    ) -> None:
        self.n_numbers = n_numbers
        self.sizes = tuple(sizes)
        self.shares = shares
        self.scales = scales

    def __getstate__(self) -> dict[str, Any]:
        """Return the parameters, so that equal blocks have equal pickles and digests."""
        names = ("n_numbers", "sizes", "shares", "scales")
        return {name: vars(self)[name] for name in names}

    @cached_property
    def columns(self) -> NDArray[np.intp]:
        """The cell of a row that each of its entries belongs to: numbers first, then blocks."""
        n_columns = self.n_numbers + len(self.sizes)
        widths = [1] * self.n_numbers + list(self.sizes)
        return np.repeat(np.arange(n_columns), widths)

    @cached_property
    def firsts(self) -> NDArray[np.intp]:
        """The first entry of each cell in a row."""
        return np.unique(self.columns, return_index=True)[1]

    def cells(self, entries: Tensor) -> Tensor:
        """Return what is true of the first entry of each cell, ``(..., n_columns)``."""
        return entries.index_select(-1, self._on(entries).firsts)

    def entries(self, cells: Tensor) -> Tensor:
        """Return what is true of each entry's cell, ``(..., n_entries)``, numbers included."""
        return cells.index_select(-1, self._on(cells).columns)

    def rows_of(self, logits: Tensor) -> Tensor:
        """Return scaled entries for logits: the expected entries of the row."""
        return self.scaled(self._log_softmax(logits).exp())

    def scaled(self, probabilities: Tensor) -> Tensor:
        """Return scaled entries for probabilities of levels."""
        on = self._on(probabilities)
        return (probabilities - on.shares) * on.scales

    def levels_of(self, entries: Tensor) -> Tensor:
        """Return the probabilities of levels for scaled entries, 1 and 0 for those of a row."""
        on = self._on(entries)
        return entries / on.scales + on.shares

    def errors(self, logits: Tensor, entries: Tensor) -> Tensor:
        """Return the summands of the cross-entropy, ``(..., n_entries)``.

        A block adds up to the cross-entropy in units of the column's entropy: a network that gives
        every row the shares of the levels has the error 1, as it has for a standardised number. So
        the weight of a column does not depend on how many levels it has.

        The target is the row's level, but for 2% that are spread over all levels by their shares.
        So the error of a level that was never seen is finite, and about that of the rarest.
        """
        return -self._target(entries) * self._log_softmax(logits)

    def losses_and_slope(self, logits: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of :meth:`errors` of each row, and its derivative by the logits."""
        target, logs = self._target(entries), self._log_softmax(logits)
        weights = self._on(entries).weights
        return -torch.linalg.vecdot(target, logs), logs.exp().mul_(weights).sub_(target)

    def hard(self, entries: Tensor) -> Tensor:
        """Return entries with all of each block's probability at its most probable level.

        It is one of the block's own, never the last entry.
        """
        chosen = [
            F.one_hot(block[..., :-1].argmax(dim=-1), block.shape[-1]).flatten(-2)
            for block in self._alike(self.levels_of(entries))
        ]
        return self.scaled(torch.cat(chosen, dim=-1).to(entries.dtype))

    def draw(self, like: Tensor, generator: Generator) -> Tensor:
        """Return entries of levels drawn at random for every block, all levels alike."""
        drawn = []
        for block in self._alike(like):
            n_levels = block.shape[-1] - 1
            level = torch.empty(block.shape[:-1], dtype=torch.int64, device=like.device)
            level.random_(n_levels, generator=generator)
            drawn.append(F.one_hot(level, n_levels + 1).flatten(-2))
        return self.scaled(torch.cat(drawn, dim=-1).to(like.dtype))

    def _target(self, entries: Tensor) -> Tensor:
        """Return the probabilities that the network is trained to return, times the weights."""
        on = self._on(entries)
        return torch.addcmul(on.weighted_shares, entries, on.slope)

    def _log_softmax(self, logits: Tensor) -> Tensor:
        parts = [F.log_softmax(block, dim=-1).flatten(-2) for block in self._alike(logits)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def _alike(self, entries: Tensor) -> list[Tensor]:
        """Return the blocks of each size, ``(..., n_blocks, size)``."""
        widths = [size * count for size, count in self._counts]
        parts = entries.split(widths, dim=-1)
        return [
            part.unflatten(-1, (count, size))
            for part, (size, count) in zip(parts, self._counts, strict=True)
        ]

    @cached_property
    def _counts(self) -> list[tuple[int, int]]:
        """The sizes and how many blocks there are of each."""
        return [(size, len(list(group))) for size, group in itertools.groupby(self.sizes)]

    def _on(self, like: Tensor) -> _Constants:
        """Return the constants on the device of a tensor."""
        if like.device not in self._known:
            self._known[like.device] = self._constants(like.device)
        return self._known[like.device]

    @cached_property
    def _known(self) -> dict[torch.device, _Constants]:
        return {}

    @torch.inference_mode(False)  # gradients pass through them later
    def _constants(self, device: torch.device) -> _Constants:
        starts = np.cumsum([0, *self.sizes[:-1]])
        entropies = np.add.reduceat(-self.shares * np.log(self.shares), starts)
        weights = np.repeat(1 / np.maximum(entropies, LEAST_ENTROPY), self.sizes)
        slope = (1 - SMOOTHING) * weights / self.scales
        arrays = (self.shares, self.scales, weights, weights * self.shares, slope)
        tensors = [torch.from_numpy(array.astype(np.float32)).to(device) for array in arrays]
        numbers = [torch.from_numpy(a).to(device) for a in (self.columns, self.firsts)]
        return _Constants(*tensors, *numbers)


class _Constants(NamedTuple):
    """Constants of the entries of blocks, each ``(n_entries,)``, and numbers of entries."""

    shares: Tensor
    scales: Tensor
    weights: Tensor  # of each entry's column in the loss
    weighted_shares: Tensor
    slope: Tensor  # of the target by the entry
    columns: Tensor  # the cell of each entry of a row, numbers included
    firsts: Tensor  # the first entry of each cell
