"""Levels of Rows: counted for a fit, and turned into the codes of a fitted estimator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aedetect.estimators.categories import check_use
from aedetect.estimators.containers import explain_refusal
from aedetect.model import Categories, Coding, Level, count_categories, keys_of, row_blocks
from aedetect.places import PlaceError, columns_of, rows_of
from aedetect.rows import MAX_STORED, Conversion, Rows

EXACT = 2**24  # whole numbers below it are float32


def fit_row_coding(rows: Rows, columns: Sequence[int], *, takes_missing: bool) -> Coding:
    """Return the levels of the categorical columns of training rows, as for frames.

    Raises
    ------
    PlaceError
        If a column holds dates, identifies rows, or holds numbers that float32 rounds.
    """
    categories = {}
    counted = _count_levels(rows, columns)
    for column, (counts, cells) in zip(columns, counted, strict=True):
        n_levels = len(counts)
        if takes_missing:
            counts.pop(None, None)
        categories[column] = count_categories(counts, cells)
        check_use(categories[column].levels, column, len(rows), n_levels)
    return Coding(rows.shape[1], categories)


def _count_levels(
    rows: Rows, columns: Sequence[int]
) -> list[tuple[Counter[Hashable], dict[Hashable, Level]]]:
    """Return how many cells have each level, by its key, and the levels by their keys."""
    totals: list[Counter[float | None]] = [Counter() for _ in columns]  # of cells as on the disk
    for block in row_blocks(*rows.shape):
        cells = rows[block].read_cells()
        for column, total in zip(columns, totals, strict=True):
            values, counts = np.unique(cells[:, column], return_counts=True)
            known = [None if value != value else value for value in values.tolist()]
            total.update(dict(zip(known, counts.tolist(), strict=True)))
            if column not in rows.levels:
                _check_whole(cells[:, column], column, block.start, len(total))
    return [_by_key(t, rows.levels.get(c)) for c, t in zip(columns, totals, strict=True)]


def _check_whole(cells: NDArray[np.float32], column: int, first: int, n_levels: int = 0) -> None:
    """Refuse numbers for levels that float32 may have rounded, or that are too many to count."""
    rounded = (np.abs(cells) >= EXACT) | (cells % 1 > 0)  # False for NaN
    if rounded.any() or n_levels > MAX_STORED:
        row = int(rounded.argmax())
        raise PlaceError(
            f"Column {{column}} is to hold categories, but its cells were stored as float32, such"
            f" as {cells[row]} in row {{row}}: whole numbers below 2**24, of up to {MAX_STORED:,}"
            " levels, remain as they are. Open the rows with categorical=[{column}].",
            row=first + row,
            column=column,
        )


def _by_key(
    total: Counter[float | None], levels: list[Level] | None
) -> tuple[Counter[Hashable], dict[Hashable, Level]]:
    counts: Counter[Hashable] = Counter()
    cells = {}
    for value, n_cells in total.items():
        level = None if value is None else int(value) if levels is None else levels[int(value)]
        (key,) = keys_of([level])
        counts[key], cells[key] = n_cells, level
    return counts, cells


def open_reader(
    rows: Rows,
    order: Sequence[int],
    coding: Coding | None,
    *,
    takes_missing: bool,
    fitting: bool,
) -> NDArray[np.floating]:
    """Return an array-like object that reads rows as the checks of frames return them.

    Parameters
    ----------
    rows : Rows
    order : sequence of int
        Numbers of the columns in the order of the estimator's.
    coding : Coding or None
        Of the estimator's columns.
    takes_missing : bool
        Whether the code of a missing cell is NaN.
    fitting : bool
        Whether they are training rows.

    Raises
    ------
    PlaceError
        If a cell of a column of numbers is text, or a level a number that float32 rounds.
    """
    conversions: dict[int, Conversion] = {}
    dtype: type[np.floating] = np.float32 if coding is None else np.float64  # as of a frame
    for column, place in enumerate(order):
        levels = rows.levels.get(place)
        if coding is not None and column in coding.categories:
            categories = coding.categories[column]
            if levels is None:
                _check_column(rows, place)
                conversions[place] = _Encoding(categories, takes_missing)
            else:
                codes = categories.encode([*levels, None])
                codes[-1] = np.nan if takes_missing else codes[-1]
                conversions[place] = _Lookup(codes)
        elif levels is not None:
            conversions[place] = _Lookup(_numbers_of(rows, place, levels, fitting=fitting))
            dtype = dtype if set(map(type, levels)) == {bool} else np.float64
    return rows.reader(columns=order, conversions=conversions, dtype=dtype)


def _check_column(rows: Rows, column: int) -> None:
    for block in row_blocks(*rows.shape):
        _check_whole(rows[block].read_cells()[:, column], column, block.start)


@dataclass(frozen=True, eq=False)
class _Lookup:
    """Replaces the number of a level."""

    values: NDArray[np.float64]  # of each level; the last is that of missing cells

    def __call__(self, cells: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.values[np.nan_to_num(cells, nan=-1).astype(np.intp)]


@dataclass(frozen=True, eq=False)
class _Encoding:
    """Turns whole numbers into the codes of levels."""

    categories: Categories
    takes_missing: bool

    def __call__(self, cells: NDArray[np.float32]) -> NDArray[np.float64]:
        values, places = np.unique(cells, return_inverse=True)
        codes = self.categories.encode(values)
        if self.takes_missing:
            codes[np.isnan(values)] = np.nan
        return codes[places]


def _numbers_of(
    rows: Rows, column: int, levels: list[Level], *, fitting: bool
) -> NDArray[np.float64]:
    """Return levels as numbers, and NaN at the end; a row with one that is none is refused."""
    numbers = pd.to_numeric(pd.Series([*levels, None], dtype=object), errors="coerce")
    values = numbers.to_numpy(dtype=np.float64)
    bad = np.flatnonzero(np.isnan(values[:-1]))
    for block in row_blocks(*rows.shape) if len(bad) else ():
        found = np.flatnonzero(np.isin(rows[block].read_cells()[:, column], bad))
        if len(found):
            row = block.start + int(found[0])
            with rows_of([row]), columns_of([column]):
                explain_refusal(rows[[row]].to_pandas().iloc[:, [column]], fitting=fitting)
    return values
