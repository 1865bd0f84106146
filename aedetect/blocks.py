"""Blocks of entries in a scaled row: each stands for the level of one categorical column."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

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
        Entries of each block.
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

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """The first entry of each block, counted from the first of all blocks."""
        return np.cumsum([0, *self.sizes[:-1]])

    @cached_property
    def columns(self) -> NDArray[np.intp]:
        """The cell of a row that each of its entries belongs to: numbers first, then blocks."""
        n_columns = self.n_numbers + len(self.sizes)
        widths = [1] * self.n_numbers + list(self.sizes)
        return np.repeat(np.arange(n_columns), widths)

    @cached_property
    def firsts(self) -> NDArray[np.intp]:
        """The first entry of each column in a row."""
        return np.unique(self.columns, return_index=True)[1]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the softmax of each block, ``(..., n_entries)``."""
        return self._log_softmax(logits).exp()

    def rows_of(self, logits: Tensor) -> Tensor:
        """Return scaled entries for logits: what is expected of the row."""
        return self.scaled(self.probabilities(logits))

    def scaled(self, probabilities: Tensor) -> Tensor:
        """Return scaled entries for probabilities of levels."""
        shares, scales = self._on(probabilities, "shares", "scales")
        return (probabilities - shares) * scales

    def levels_of(self, entries: Tensor) -> Tensor:
        """Return the probabilities of levels for scaled entries, 1 and 0 for those of a row."""
        shares, scales = self._on(entries, "shares", "scales")
        return entries / scales + shares

    def errors(self, logits: Tensor, entries: Tensor) -> Tensor:
        """Return the summands of the cross-entropy, ``(..., n_entries)``.

        A block adds up to the cross-entropy in units of the column's entropy: a network that gives
        every row the shares of the levels has the error 1, as it has for a standardised number. So
        the weight of a column does not depend on how many levels it has.

        The target is the row's level, but for 2% that are spread over all levels by their shares.
        So the error of a level that was never seen is finite, and about that of the rarest.
        """
        (weights,) = self._on(entries, "_weights")
        return -self._target(entries) * self._log_softmax(logits) * weights

    def errors_and_slope(self, logits: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
        """Return :meth:`errors`, and the derivative of their sum by the logits."""
        (weights,) = self._on(entries, "_weights")
        target, logs = self._target(entries), self._log_softmax(logits)
        return -target * logs * weights, (logs.exp() - target) * weights

    def hard(self, entries: Tensor) -> Tensor:
        """Return entries with all of each block's probability at its most probable level.

        It is one of the block's own, never the last entry.
        """
        padded = self._padded(self.levels_of(entries), -torch.inf)
        padded = padded.masked_fill(self._is_last.to(entries.device), -torch.inf)
        chosen = F.one_hot(padded.argmax(-1), padded.shape[-1]).to(entries.dtype)
        return self.scaled(self._flat(chosen))

    def draw(self, like: Tensor, generator: Generator) -> Tensor:
        """Return entries of levels drawn at random for every block, all levels alike."""
        n_levels = torch.tensor(self.sizes, device=like.device) - 1
        point = torch.empty((*like.shape[:-1], len(self.sizes)), device=like.device)
        level = (point.uniform_(generator=generator) * n_levels).long().minimum(n_levels - 1)
        return self.scaled(self._flat(F.one_hot(level, max(self.sizes)).to(like.dtype)))

    @cached_property
    def _weights(self) -> Entries:
        each = np.add.reduceat(-self.shares * np.log(self.shares), self.starts)
        weights = 1 / np.maximum(each, LEAST_ENTROPY)
        return np.repeat(weights, self.sizes).astype(np.float32)

    def _target(self, entries: Tensor) -> Tensor:
        (shares,) = self._on(entries, "shares")
        return (1 - SMOOTHING) * self.levels_of(entries) + SMOOTHING * shares

    def _log_softmax(self, logits: Tensor) -> Tensor:
        return self._flat(F.log_softmax(self._padded(logits, -torch.inf), dim=-1))

    # Blocks side by side, padded to the width of the widest: (..., n_blocks, width).

    def _padded(self, entries: Tensor, filler: float) -> Tensor:
        padded = F.pad(entries, (0, 1), value=filler)
        return padded[..., self._places.to(entries.device)]

    def _flat(self, padded: Tensor) -> Tensor:
        return padded.flatten(-2)[..., self._entries.to(padded.device)]

    @cached_property
    def _places(self) -> Tensor:
        """The entry at each place of the padded blocks, ``(n_blocks, width)``."""
        width, end = max(self.sizes), sum(self.sizes)
        places = np.arange(width) + self.starts[:, None]
        return torch.from_numpy(np.where(np.arange(width) < self._widths, places, end))

    @cached_property
    def _entries(self) -> Tensor:
        """The place of each entry in the padded blocks, ``(n_entries,)``."""
        width = max(self.sizes)
        is_entry = np.arange(width) < self._widths
        return torch.from_numpy(np.flatnonzero(is_entry))

    @cached_property
    def _is_last(self) -> Tensor:
        return torch.from_numpy(np.arange(max(self.sizes)) == self._widths - 1)

    @property
    def _widths(self) -> NDArray[np.intp]:
        return np.array(self.sizes)[:, None]

    def _on(self, like: Tensor, *names: str) -> list[Tensor]:
        return [torch.from_numpy(getattr(self, name)).to(like.device) for name in names]
