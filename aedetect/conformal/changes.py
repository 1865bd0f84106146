"""Changes of scores and columns: the sums that they are read from, and their description."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aedetect.conformal.bets import SHIFTS, SPREADS
from aedetect.conformal.marginals import Marginals
from aedetect.conformal.martingales import ALL, BULK, FIRST, MAJORITY, TAIL
from aedetect.conformal.reference import Reference
from aedetect.scoring import FloatArray

FARTHEST = 1e6  # deviations of a value that is summed
OF_SCORES = 5  # sums: p-values of the bulk and of all rows, and numbers of both and of flagged rows
PER_NUMBER = 3  # sums of a column of numbers: values, squares, values that are there
FLAGGED, UNFLAGGED = "share flagged", "mean p-value of unflagged rows"
SPREAD_BETS = range(2 * len(SHIFTS), 2 * len(SHIFTS) + len(SPREADS))


class Change(NamedTuple):
    """A measure before a change, in the calibration rows, and after it.

    Attributes
    ----------
    since : int
        Number of the first row after the change, estimated.
    column : str or None
        None for a change of the scores.
    measure : str
        ``"share flagged"``, ``"mean p-value"`` (0.5 before; less is odder), ``"mean p-value of
        unflagged rows"``, ``"mean"``, ``"deviation"``, ``"share missing"`` or ``"share of
        LEVEL"``.
    before, after : float
        In the units of ``X``.
    size : float or None
        Change of a mean, in deviations of the calibration rows.

    Examples
    --------
    >>> from aedetect.conformal import Change
    >>> print(Change(1200, "pressure", "mean", 2.0, 2.5, 1.1))
    mean of column 'pressure' 2 -> 2.5 (+1.1 deviations)
    """

    since: int
    column: str | None
    measure: str
    before: float
    after: float
    size: float | None

    def __str__(self) -> str:
        """Return the change in words, without its row."""
        size = "" if self.size is None else f" ({self.size:+.2g} deviations)"
        name = self.measure if self.column is None else f"{self.measure} of column {self.column!r}"
        if self.measure.startswith("share"):
            return f"{name} {self.before:.1%} -> {self.after:.1%}"
        return f"{name} {self.before:.4g} -> {self.after:.4g}{size}"


def count_sums(marginals: Marginals | None) -> int:
    """Return the number of sums of a row."""
    return OF_SCORES + (0 if marginals is None else 2 * sum(_widths(marginals)))


def _widths(marginals: Marginals) -> list[int]:
    """Return the number of sums of each column: of a category each level, others, and missing."""
    return [
        len(marginals.coding.categories[column].levels) + 2
        if column in marginals.coding.categories
        else PER_NUMBER
        for column in range(len(marginals.kept))
    ]


def make_summands(
    marginals: Marginals | None,
    numbers: FloatArray,
    p_values: FloatArray,
    is_tail: NDArray[np.bool_],
) -> FloatArray:
    """Return what is summed of each row, ``(n_rows, n_sums)``.

    Parameters
    ----------
    marginals : Marginals or None
    numbers : ndarray of shape (n_columns, n_rows)
    p_values : ndarray of shape (n_streams, n_rows)
    is_tail : ndarray of shape (n_rows,)
    """
    in_bulk = (~is_tail).astype(np.float64)
    ones = np.ones(len(is_tail))
    of_scores = [np.nan_to_num(p_values[BULK]), p_values[ALL], in_bulk, ones, is_tail]
    if marginals is None:
        return np.array(of_scores).T
    columns = np.empty((sum(_widths(marginals)), len(is_tail)))
    first = 0
    for column, width in enumerate(_widths(marginals)):
        _summands_of(marginals, column, numbers[column], columns[first : first + width])
        first += width
    return np.concatenate([of_scores, columns * in_bulk, columns]).T


def _summands_of(marginals: Marginals, column: int, numbers: FloatArray, out: FloatArray) -> None:
    there = np.isfinite(numbers)
    if column in marginals.coding.categories:
        out[:-1] = numbers == np.arange(len(out) - 1)[:, None]
        out[-1] = ~there
        return
    scaled = (np.where(there, numbers, 0) - marginals.means[column]) / marginals.deviations[column]
    out[0] = np.where(there, np.clip(scaled, -FARTHEST, FARTHEST), 0)
    out[1] = out[0] ** 2
    out[2] = there


def describe(reference: Reference, stream: int, best: int, since: int, sums: FloatArray) -> Change:
    """Return the change that a stream shows.

    Parameters
    ----------
    reference : Reference
    stream, best, since : int
        Numbers of the stream, of its best bet, and of the first changed row.
    sums : ndarray of shape (n_sums,)
        Of the rows since then.
    """
    n_bulk, n_all, n_flagged = sums[2:OF_SCORES]
    if stream == BULK:
        return Change(since, None, UNFLAGGED, 0.5, _ratio(sums[0], n_bulk), None)
    if stream == ALL:
        return Change(since, None, "mean p-value", 0.5, _ratio(sums[1], n_all), None)
    if stream in (TAIL, MAJORITY):
        before = reference.tail / float(reference.bins[0, 2].sum())
        return Change(since, None, FLAGGED, before, _ratio(n_flagged, n_all), None)
    marginals = reference.marginals
    assert marginals is not None  # there are streams of columns
    in_bulk, column = stream < FIRST + reference.n_columns, (stream - FIRST) % reference.n_columns
    widths = _widths(marginals)
    first = OF_SCORES + sum(widths[:column]) + (0 if in_bulk else sum(widths))
    own, n_rows = sums[first : first + widths[column]], float(n_bulk if in_bulk else n_all)
    if column in marginals.coding.categories:
        return Change(since, *_change_of_levels(marginals, column, own / max(n_rows, 1)))
    is_spread = best in SPREAD_BETS
    return Change(since, *_change_of_numbers(marginals, column, own, n_rows, is_spread=is_spread))


def _change_of_numbers(
    marginals: Marginals, column: int, sums: FloatArray, n_rows: float, *, is_spread: bool
) -> tuple[str, str, float, float, float | None]:
    name, (total, squares, n_there) = marginals.labels[column], sums
    missing, before = 1 - _ratio(n_there, n_rows), float(marginals.missing[column])
    size = _ratio(total, n_there)
    noise = np.sqrt(max(before * (1 - before), 1 / max(n_rows, 1)))
    if n_rows and abs(missing - before) / noise > abs(size):
        return name, "share missing", before, missing, None
    mean, deviation = float(marginals.means[column]), float(marginals.deviations[column])
    if is_spread:
        spread = float(np.sqrt(max(_ratio(squares, n_there) - size**2, 0)))
        return name, "deviation", deviation, deviation * spread, None
    return name, "mean", mean, mean + size * deviation, size


def _change_of_levels(
    marginals: Marginals, column: int, after: FloatArray
) -> tuple[str, str, float, float, None]:
    categories, missing = marginals.coding.categories[column], marginals.missing[column]
    shares = categories.counts / max(categories.counts.sum(), 1) * (1 - missing)
    before = np.append(shares, missing)
    most = int(np.abs(after - before).argmax())
    levels = [f"share of {level!r}" for level in categories.levels]
    measure = [*levels, "share of other levels", "share missing"][most]
    return marginals.labels[column], measure, float(before[most]), float(after[most]), None


def _ratio(total: float, number: float) -> float:
    return float(total / number) if number else 0.0
