"""Conformal test martingales of scores and columns, in constant memory.

One line of the reference gives one stream of p-values; the scores give four: the ranks of the rows
above the tail, whether rows are in the tail, for bets that most are, the ranks of all rows, and
again for bets on the lowest of them. A stream's martingale is a capital of 1 that waits in cash. At
every row, part of the cash goes into the bets of that stream, and all capital that is in a bet is
multiplied by its density at the p-value::

    capital = (capital + weights * (cash[n] - cash[n + 1])) * factors(p)
    martingale = capital.sum() + cash[n + 1]

Money that enters at row n bets on a change at row n: this is the statistic of Shiryaev and Roberts
with a prior over the time of the change, which keeps the mean at 1 (Vovk et al., "Retrain or not
retrain: conformal test martingales for change-point detection", COPA 2021). So the martingale ever
reaches 1 / level with a probability of at most ``level`` (Ville's inequality).

The capital is a posterior density of the time of the change, up to a factor. Its first moment
follows by that rule too, so the mean is known at every row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aedetect.conformal.bets import CELLS, NO_BET, make_bets
from aedetect.conformal.order import count, rank_rows
from aedetect.conformal.reference import Reference
from aedetect.scoring import FloatArray

BLOCK = 32  # rows whose ranks are computed together
PATIENCE = 1000.0  # rows until the cash has fallen to 0.7
MOST = 1e100  # capital of a bet; money beyond is thrown away, lest it overflow
BULK, MAJORITY, ALL, TAIL = range(4)  # streams that come from the scores
FIRST = 4  # stream of a column; those of the bulk come before those of all rows


State = dict[str, Any]  # of NumPy arrays and plain Python


class Step(NamedTuple):
    """The streams after each row of a block.

    Attributes
    ----------
    moments : ndarray of shape (n_rows, 2, n_bets, n_streams)
        Capital, and capital times the number of the row at which it entered.
    martingales : ndarray of shape (n_rows, n_streams)
    """

    moments: FloatArray
    martingales: FloatArray


def start_streams(reference: Reference) -> State:
    """Return the streams before the first row."""
    n_bets = make_bets().factors.shape[0]
    moments = np.zeros((2, n_bets, len(reference.kinds)))
    return {"n_rows": 0, "counts": reference.counts, "moments": moments}


def draw_p_values(
    reference: Reference,
    counts: NDArray[np.int64],
    bins: NDArray[np.uint8],
    is_tail: NDArray[np.bool_],
    smooth: FloatArray,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return the p-values of at most 255 rows, and the counts after them.

    Parameters
    ----------
    reference : Reference
    counts : ndarray of shape (n_lines, n_bins)
        Gaps and earlier rows.
    bins, smooth : ndarray of shape (n_lines, n_rows)
        The bin of each row, and random numbers in [0, 1).
    is_tail : ndarray of shape (n_rows,)
        Rows in the tail do not count for the columns of the bulk.

    Returns
    -------
    p_values : ndarray of shape (n_streams, n_rows)
        Those of the bulk are NaN for rows in the tail.
    counts : ndarray of shape (n_lines, n_bins)
    """
    columns_of_bulk = slice(1, 1 + reference.n_columns)
    joins = np.ones(bins.shape, dtype=bool)
    joins[columns_of_bulk] = ~is_tail
    ranks = rank_rows(counts, bins, joins)
    p_values = ranks.p_values(smooth)
    n_tail = counts[0, : reference.n_tail_bins].sum() + np.cumsum(is_tail) - is_tail
    bulk = (ranks.below[0] - n_tail + smooth[0] * ranks.inside[0]) / (ranks.total[0] - n_tail)
    p_values[columns_of_bulk, is_tail] = np.nan
    bulk[is_tail] = np.nan
    majority = np.where(is_tail, 0.25, 0.75)  # a fair coin, or at most that of the tail
    of_scores = [bulk, majority, p_values[0], p_values[0]]
    return np.concatenate([of_scores, p_values[1:]]), count(counts, bins, joins)


def bet(state: State, kinds: NDArray[np.int64], p_values: FloatArray) -> tuple[State, Step]:
    """Return the state after a block of rows, and the streams on the way.

    Every number is computed row after row, by sums and products alone, so no bit depends on how the
    rows are divided into blocks.

    Parameters
    ----------
    state : dict
    kinds : ndarray of shape (n_streams,)
    p_values : ndarray of shape (n_streams, n_rows)
    """
    bets, (n_streams, n_rows) = make_bets(), p_values.shape
    factors = bets.factors.take(_cells(kinds, p_values).T, axis=1)  # (n_bets, n_rows, n_streams)
    numbers = state["n_rows"] + np.arange(n_rows + 1)
    cash, stakes = cash_at(numbers), bets.weights[:, kinds]
    entries = -np.diff(cash) * [np.ones(n_rows), numbers[:-1]]
    moments = np.empty((n_rows, *state["moments"].shape))
    former = state["moments"]
    for row in range(n_rows):
        after = np.multiply(stakes, entries[:, row, None, None], out=moments[row])
        after += former
        after *= factors[:, row]
        if numbers[row] % BLOCK == 0:
            _bound(after)
        former = after
    martingales = np.repeat(cash[1:, None], n_streams, axis=1)
    for capital in np.moveaxis(moments[:, 0], 1, 0):
        martingales += capital
    after = {**state, "n_rows": state["n_rows"] + n_rows, "moments": moments[-1].copy()}
    return after, Step(moments, martingales)


def cash_at(n_rows: NDArray[np.int64]) -> FloatArray:
    """Return the share of the capital that is not in a bet after some numbers of rows."""
    return np.sqrt(PATIENCE / (PATIENCE + n_rows))


def best_bet(moments: FloatArray, stream: int) -> tuple[int, int]:
    """Return the number of the bet with the highest capital, and since which row it gains.

    Parameters
    ----------
    moments : ndarray of shape (2, n_bets, n_streams)
    stream : int
    """
    capital, first = moments[..., stream]
    best = int(capital.argmax())
    return best, int(first[best] / capital[best])


def _cells(kinds: NDArray[np.int64], p_values: FloatArray) -> NDArray[np.int64]:
    """Return the line of each p-value in the table of bets."""
    skipped = np.isnan(p_values)
    cells = (np.where(skipped, 0, p_values) * CELLS).astype(np.int64)
    return np.where(skipped, NO_BET, np.minimum(cells, CELLS - 1) + CELLS * kinds[:, None])


def _bound(moments: FloatArray) -> None:
    """Throw away capital beyond MOST, which one block of rows cannot turn into an overflow."""
    if moments[0].max() > MOST:
        moments *= np.minimum(1, MOST / np.maximum(moments[0], 1))
