"""Ranks of rows among all earlier ones, in bins that are fixed before the first row.

A value falls between two order statistics of n calibration values. If the row is exchangeable with
the calibration rows and the earlier ones, each of the n + 1 gaps is as probable as one plus the
number of earlier rows in it (Pólya's urn, the predictive distribution of ranks). Bins are gaps
between fixed ranks, so their probabilities are known exactly, and one count a bin is all that must
be kept. A uniform random number within the bin makes the p-value uniform and independent of all
earlier ones (Vovk et al., "Testing exchangeability on-line", ICML 2003, with bins for values).

Equal values are ordered by random numbers, so ties change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aedetect.scoring import FloatArray

N_BINS = 64  # of equal shares, beside the small ones at the ends
ENDS = np.array([1, 2, 4, 8])  # ranks that bound the small ones
NONE = np.uint8(255)  # stands for a bin above all others
WIDTH = N_BINS + 2 * len(ENDS)  # edges at most, one extra rank included


def edge_ranks(n_values: int, extra: int = 0) -> NDArray[np.int64]:
    """Return the ranks of the order statistics that bound the bins, from 1, in ascending order."""
    even = np.linspace(0, n_values + 1, N_BINS + 1).astype(np.int64)
    ranks = np.unique(np.concatenate([even, ENDS, n_values + 1 - ENDS, [extra]]))
    return ranks[(ranks >= 1) & (ranks <= n_values)]


def fit_bins(values: FloatArray, ties: FloatArray, ranks: NDArray[np.int64]) -> FloatArray:
    """Return edges, their tie-breakers and the gaps in each bin, ``(3, WIDTH + 1)``.

    Unused edges lie above every value, and their bins hold no gap.
    """
    order = np.lexsort((ties, values))[ranks - 1]
    bins = np.full((3, WIDTH + 1), [[np.inf], [2.0], [0.0]])
    bins[0, : len(ranks)] = values[order]
    bins[1, : len(ranks)] = ties[order]
    bins[2, : len(ranks) + 1] = np.diff([0, *ranks, len(values) + 1])
    return bins


def in_lexical_order(values: FloatArray, ties: FloatArray) -> NDArray[np.complex128]:
    """Return numbers that NumPy sorts by value, then by tie-breaker."""
    keys = np.empty(np.broadcast_shapes(values.shape, ties.shape), dtype=np.complex128)
    keys.real, keys.imag = values, ties
    return keys


def find_bins(
    edges: Iterable[NDArray[np.complex128]], keys: Iterable[NDArray[np.complex128]]
) -> NDArray[np.uint8]:
    """Return the bin of each key among the edges of its line, ``(n_lines, n_rows)``."""
    pairs = zip(edges, keys, strict=True)
    return np.array([np.searchsorted(line, row) for line, row in pairs], dtype=np.uint8)


class Ranks(NamedTuple):
    """Gaps and earlier rows below each row, in its bin, and in all, each ``(n_lines, n_rows)``.

    They are whole numbers, so they are equal however the rows are divided into calls.
    """

    below: NDArray[np.int64]
    inside: NDArray[np.int64]
    total: NDArray[np.int64]

    def p_values(self, uniform: FloatArray) -> FloatArray:
        """Return p-values, given random numbers in [0, 1)."""
        return (self.below + uniform * self.inside) / self.total


def rank_rows(
    counts: NDArray[np.int64], bins: NDArray[np.uint8], joins: NDArray[np.bool_]
) -> Ranks:
    """Return the ranks of rows among those before them.

    Parameters
    ----------
    counts : ndarray of shape (n_lines, n_bins)
        Gaps and earlier rows in each bin.
    bins, joins : ndarray of shape (n_lines, n_rows)
        The bins of at most 255 rows, and whether each is counted for those after it.
    """
    later, earlier = np.ascontiguousarray(bins.T), np.where(joins, bins, NONE).T
    earlier = np.ascontiguousarray(earlier)
    below, at_most = np.zeros((2, *later.shape), dtype=np.uint8)
    for lag in range(1, len(later)):  # a row and the one so many rows before it
        below[lag:] += (earlier[:-lag] < later[lag:]).view(np.uint8)
        at_most[lag:] += (earlier[:-lag] <= later[lag:]).view(np.uint8)
    before = np.cumsum(counts, axis=1) - counts
    places = bins + np.arange(len(counts))[:, None] * counts.shape[1]
    n_earlier: NDArray[np.int64] = np.cumsum(joins, axis=1) - joins
    return Ranks(
        before.ravel().take(places) + below.T,
        counts.ravel().take(places) + (at_most - below).T,
        counts.sum(axis=1)[:, None] + n_earlier,
    )


def count(
    counts: NDArray[np.int64], bins: NDArray[np.uint8], joins: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the counts with the rows that join."""
    lines = np.arange(len(counts))[:, None] * counts.shape[1]
    more = np.bincount((lines + bins)[joins], minlength=counts.size)
    return counts + more.reshape(counts.shape)
