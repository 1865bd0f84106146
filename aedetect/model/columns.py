"""The columns of X as entries of the network's rows: numbers scaled, levels as blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.blocks import Blocks
from aedetect.model.coding import Coding
from aedetect.model.fences import BEYOND
from aedetect.model.inference import Fitted
from aedetect.model.scaling import FloatArray, Scaling, bend, fit_scaling
from aedetect.model.stored import require_keys

LEAST_SPREAD = 0.01  # chance at least that two rows differ, for the scale of a column


@dataclass(frozen=True, eq=False)
class Columns:
    """Turns rows of X into the network's rows, and back.

    Parameters
    ----------
    scaling : Scaling
        Of the columns that hold numbers.
    coding : Coding or None, default=None
        Of the categorical columns, whose cells in X are codes. None: all columns are numbers.
    """

    scaling: Scaling
    coding: Coding | None = None

    @property
    def n_features(self) -> int:
        """The number of columns of X."""
        return len(self.scaling.scale) if self.coding is None else self.coding.n_features

    @property
    def width(self) -> int:
        """The number of entries of the network's rows."""
        return len(self.scaling.scale) + (0 if self.blocks is None else sum(self.blocks.sizes))

    @cached_property
    def blocks(self) -> Blocks | None:
        """The blocks of the network's rows, after the numbers; None without categories.

        A column is scaled so that two rows differ by 2 on average in their squared distance, as
        they do in a standardised number.
        """
        if self.coding is None:
            return None
        shares = [self.coding.categories[column].shares for column in self.ordered]
        spreads = [max(1 - np.square(share).sum(), LEAST_SPREAD) for share in shares]
        scales = [
            np.full(len(share), spread**-0.5) for share, spread in zip(shares, spreads, strict=True)
        ]
        return Blocks(
            len(self.scaling.scale),
            [len(share) for share in shares],
            np.concatenate(shares).astype(np.float32),
            np.concatenate(scales).astype(np.float32),
        )

    @cached_property
    def sources(self) -> NDArray[np.intp]:
        """The column of X that each entry of the network's rows stands for, ``(width,)``."""
        if self.coding is None or self.blocks is None:
            return np.arange(self.n_features)
        return np.concatenate([self.coding.numbers, self.ordered])[self.blocks.columns]

    @cached_property
    def ordered(self) -> list[int]:
        """The categorical columns in the order of their blocks, those of few levels first."""
        assert self.coding is not None
        categories = self.coding.categories
        return sorted(categories, key=lambda column: len(categories[column].levels))

    @cached_property
    def members(self) -> NDArray[np.bool_]:
        """Whether an entry stands for a column of X, ``(n_features, width)``."""
        return np.arange(self.n_features)[:, None] == self.sources

    @cached_property
    def firsts(self) -> NDArray[np.intp]:
        """The first entry of each column of X."""
        return np.unique(self.sources, return_index=True)[1]

    @property
    def is_number(self) -> NDArray[np.bool_]:
        """Whether each entry is a number, ``(width,)``."""
        return np.arange(self.width) < len(self.scaling.scale)

    def sum_entries(self, values: Tensor) -> Tensor:
        """Return values of entries ``(B, width)``, added up for each column ``(B, n_features)``."""
        if self.coding is None:
            return values
        sums = values.new_zeros(values.shape[0], self.n_features)  # len is fixed by a trace
        return sums.index_add(1, torch.from_numpy(self.sources).to(values.device), values)

    def missing_cells(self, x: Tensor) -> Tensor:
        """Return which cells of rows are missing, ``(B, n_features)``."""
        return x.isnan() if self.coding is None else x.isnan()[:, self.firsts]

    def with_levels(self, x: Tensor) -> Tensor:
        """Return rows with the most probable level in each block, all else as it is."""
        if self.blocks is None:
            return x
        numbers, entries = x.tensor_split([self.blocks.n_numbers], dim=-1)
        return torch.cat([numbers, self.blocks.hard(entries)], dim=-1)

    def apply(
        self,
        X: NDArray,
        rows: NDArray[np.intp] | None = None,
        tamed: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Return the network's rows for ``X`` (or for its rows with these numbers).

        Wild cells are tamed first where :meth:`tamed_columns` says so.
        """
        if self.coding is None:
            return self.scaling.apply(X, rows, tamed)
        X = X if rows is None else X[rows]
        x = np.empty((len(X), self.width), dtype=np.float32)
        x[:, : len(self.scaling.scale)] = self.scaling.apply(X[:, self.coding.numbers], tamed=tamed)
        for codes, table, entries in zip(
            X[:, self.ordered].T, self._tables, self._entries, strict=True
        ):
            missing = np.isnan(codes)
            x[:, entries] = table[np.where(missing, 0, codes).astype(np.intp)]
            x[missing, entries] = np.nan
        return x

    def apply_on_device(self, X: Tensor) -> Tensor:
        """Do as :meth:`apply` does with rows on a device, without categories, in float64."""
        location, scale, low, high = self._numbers.on(X.device)
        scaled = ((X.double() - location) / scale).clamp(-BEYOND, BEYOND)
        return bend(scaled, low, high, torch.log1p).float()

    @cached_property
    def _numbers(self) -> Fitted:
        return Fitted(*self.scaling)

    def invert(self, x: NDArray) -> FloatArray:
        """Return rows of X: the most probable levels, which are never those that share a code."""
        if self.coding is None or self.blocks is None:
            return self.scaling.invert(x)
        X = np.empty((len(x), self.n_features))
        X[:, self.coding.numbers] = self.scaling.invert(x[:, : self.blocks.n_numbers])
        shares, scales = np.zeros(self.width), np.ones(self.width)
        shares[self.blocks.n_numbers :] = self.blocks.shares
        scales[self.blocks.n_numbers :] = self.blocks.scales
        levels = x / scales + shares
        for column, entries in zip(self.ordered, self._entries, strict=True):
            X[:, column] = levels[:, entries][:, :-1].argmax(axis=1)
        return X

    def tame(self, X: NDArray) -> NDArray:
        """Return rows to train on, see :meth:`Scaling.tame`; levels stay as they are."""
        if self.coding is None:
            return self.scaling.tame(X)
        numbers = X[:, self.coding.numbers]
        tame = self.scaling.tame(numbers)
        if tame is numbers:
            return X
        X = X.copy()
        X[:, self.coding.numbers] = tame
        return X

    def tamed_columns(self, X: NDArray) -> NDArray[np.bool_]:
        """Return in which columns of numbers wild cells are tamed, ``(n_numbers,)``."""
        return self.scaling.tamed_columns(X if self.coding is None else X[:, self.coding.numbers])

    @cached_property
    def _tables(self) -> list[NDArray[np.float32]]:
        """The entries for each code, ``(n_levels + 1, n_levels + 1)``, of each block."""
        assert self.blocks is not None
        shares, scales = self.blocks.shares, self.blocks.scales
        ends = np.cumsum(self.blocks.sizes)
        return [
            (np.eye(size, dtype=np.float32) - shares[end - size : end]) * scales[end - size : end]
            for size, end in zip(self.blocks.sizes, ends, strict=True)
        ]

    @cached_property
    def _entries(self) -> list[slice]:
        """The entries of each block in the network's rows."""
        assert self.blocks is not None
        ends = self.blocks.n_numbers + np.cumsum(self.blocks.sizes)
        return [slice(end - size, end) for size, end in zip(self.blocks.sizes, ends, strict=True)]

    def to_state(self) -> dict[str, Any]:
        """Return the columns as NumPy arrays and plain Python."""
        coding = None if self.coding is None else self.coding.to_state()
        return {"scaling": self.scaling.to_state(), "coding": coding}

    @classmethod
    def from_state(cls, state: Any, width: int) -> Self:
        """Return the columns of a state, for network's rows of this width.

        Raises
        ------
        StateError
            If they are of another width, or contradict each other.
        """
        require_keys("the columns", state, {"scaling", "coding"})
        coding = None if state["coding"] is None else Coding.from_state(state["coding"])
        n_entries = 0 if coding is None else sum(len(c.counts) for c in coding.categories.values())
        return cls(Scaling.from_state(state["scaling"], width - n_entries), coding)


def fit_columns(X: NDArray, coding: Coding | None, scaling: str | None, loss: str) -> Columns:
    """Return the columns with the scaling of their numbers, see :func:`fit_scaling`."""
    if coding is None:
        return Columns(fit_scaling(X, scaling, loss))
    if not len(coding.numbers):
        none = np.empty(0)
        return Columns(Scaling(none, none, none, none), coding)
    return Columns(fit_scaling(X[:, coding.numbers], scaling, loss), coding)
