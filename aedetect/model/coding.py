"""The levels of categorical columns, and their numbers in a table of floats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from aedetect.model.stored import require, require_keys

Level = str | bool | int | float | None  # None: the cell is missing
MAX_LEVELS = 255  # of a column that have an entry of their own; the rarest beyond share one
PRIOR = 0.5  # rows that each level is counted beside those that have it (Krichevsky & Trofimov)


@dataclass(frozen=True, eq=False)
class Categories:
    """The levels of one categorical column.

    Their codes are their places in the list. All other levels, rare ones and those that ``fit``
    never saw, have the code ``len(levels)``.

    Parameters
    ----------
    levels : list of str, bool, int, float or None
        None stands for missing cells.
    counts : ndarray of shape (n_levels + 1,), int64
        Training rows of each level; the last are those of rare levels.
    """

    levels: list[Level]
    counts: NDArray[np.int64]

    def encode(self, cells: Iterable[Any]) -> NDArray[np.float64]:
        """Return the codes of cells.

        Raises
        ------
        CellError
            If a cell is no level: not text, a number, true, false or missing.
        """
        other, codes = float(len(self.levels)), self._codes
        return np.array([codes.get(key, other) for key in keys_of(cells)], dtype=np.float64)

    def decode(self, codes: NDArray) -> list[Level]:
        """Return the levels of codes; None for NaN and for the code of other levels."""
        levels = [*self.levels, None]
        return [levels[int(code)] for code in np.nan_to_num(codes, nan=len(self.levels))]

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of each code among rows to come, ``(n_levels + 1,)``, above 0."""
        counts = self.counts + PRIOR
        return counts / counts.sum()

    @cached_property
    def _codes(self) -> dict[Hashable, float]:
        return {key: float(code) for code, key in enumerate(keys_of(self.levels))}

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the levels of a state.

        Raises
        ------
        StateError
            If they are no levels, repeat, or have not one count each.
        """
        require_keys("a categorical column", state, {"levels", "counts"})
        levels, counts = state["levels"], state["counts"]
        require(
            isinstance(levels, list) and 0 < len(levels) <= MAX_LEVELS,
            "a column has not 1 to 255 levels",
        )
        require(
            all(level is None or type(level) in (str, bool, int, float) for level in levels),
            "a level is neither text nor a number",
        )
        require(len(set(keys_of(levels))) == len(levels), "a level stands twice")
        require(
            isinstance(counts, np.ndarray)
            and counts.shape == (len(levels) + 1,)
            and counts.dtype == np.int64
            and bool((counts >= 0).all()),
            "the counts of the levels are not one number each",
        )
        return cls(levels, counts)


def fit_categories(cells: Sequence[Any] | NDArray) -> Categories:
    """Return the levels of a column, the commonest of many, in a fixed order.

    Raises
    ------
    CellError
        If a cell is no level.
    """
    keys = keys_of(cells)
    return count_categories(Counter(keys), dict(zip(reversed(keys), reversed(cells), strict=True)))


def count_categories(counts: Mapping[Hashable, int], cells: Mapping[Hashable, Any]) -> Categories:
    """Return the levels of a column, given the number of its cells of every key, and one of them.

    The keys are those of :func:`keys_of`.
    """
    kept = nsmallest(MAX_LEVELS, counts, key=lambda key: (-counts[key], _order(key)))
    kept.sort(key=_order)
    numbers = [counts[key] for key in kept]
    n_rare = sum(counts.values()) - sum(numbers)
    levels = [None if key is None else _plain(cells[key]) for key in kept]
    return Categories(levels, np.array([*numbers, n_rare], dtype=np.int64))


class CellError(ValueError):
    """A cell that can be no level.

    Parameters
    ----------
    place : int
        Number of the cell.
    cell : object
    """

    def __init__(self, place: int, cell: Any) -> None:
        super().__init__(f"{cell!r:.80} is no level")
        self.place, self.cell = place, cell


def keys_of(cells: Iterable[Any]) -> list[Hashable]:
    """Return what tells the levels of cells apart: true is not 1, but 1.0 is; None is missing."""
    cells = cells.tolist() if isinstance(cells, np.ndarray) else list(cells)
    if all(type(cell) is str for cell in cells):
        return cells
    return [_key(place, cell) for place, cell in enumerate(cells)]


def _key(place: int, cell: Any) -> Hashable:
    cell = _plain(cell)
    if isinstance(cell, bool):
        return ("true or false", cell)  # True equals 1
    if cell is None or isinstance(cell, str | int):
        return cell
    if isinstance(cell, float):
        return None if cell != cell else cell
    if type(cell).__name__ in ("NAType", "NaTType"):  # pandas' missing cells
        return None
    raise CellError(place, cell)


def _plain(cell: Any) -> Any:
    return cell.item() if isinstance(cell, np.generic) else cell


def _order(key: Hashable) -> tuple[int, Any]:
    """Return the place of a level: false and true, numbers, text, missing."""
    match key:
        case None:
            return 3, 0
        case str():
            return 2, key
        case tuple():
            return 0, key
    return 1, key


@dataclass(frozen=True, eq=False)
class Coding:
    """The categorical columns of a table.

    Parameters
    ----------
    n_features : int
        Columns of the table.
    categories : dict of int to Categories
        By the number of the column, in ascending order.
    """

    n_features: int
    categories: dict[int, Categories]

    @cached_property
    def numbers(self) -> NDArray[np.intp]:
        """The columns that hold numbers."""
        return np.setdiff1d(np.arange(self.n_features), self.columns)

    @property
    def columns(self) -> list[int]:
        """The columns that hold categories."""
        return list(self.categories)

    def to_state(self) -> dict[str, Any]:
        """Return the coding as NumPy arrays and plain Python."""
        return {
            "n_features": self.n_features,
            "columns": self.columns,
            "categories": [
                {"levels": c.levels, "counts": c.counts} for c in self.categories.values()
            ],
        }

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the coding of a state.

        Raises
        ------
        StateError
            If its columns are out of order, or the levels of one do not fit each other.
        """
        require_keys("the coding", state, {"n_features", "columns", "categories"})
        n_features, columns, parts = (state[n] for n in ("n_features", "columns", "categories"))
        require(
            type(n_features) is int
            and isinstance(columns, list)
            and all(type(column) is int for column in columns)
            and columns == sorted(set(columns))
            and 0 < len(columns) <= n_features
            and 0 <= columns[0] <= columns[-1] < n_features,
            f"the categorical columns are {columns!r:.80}",
        )
        require(
            isinstance(parts, list) and len(parts) == len(columns),
            "there are not as many lists of levels as categorical columns",
        )
        each = [Categories.from_state(part) for part in parts]
        return cls(n_features, dict(zip(columns, each, strict=True)))
