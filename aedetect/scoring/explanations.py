"""Which features make a row odd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aedetect.scoring.measures import CodeNeighbors, Measure, Product, RowNeighbors
from aedetect.scoring.thresholds import FloatArray

Rows = NDArray[np.float32]  # scaled, (rows, n_features)
Restore = Callable[[Rows], Rows]
Score = Callable[[Rows], FloatArray]  # a measure of rows: higher is odder

COPIES = 2**18  # values of the copies of rows that are scored at a time
N_USUAL = 64  # held-out rows at most that tell which falls are usual
COMMON = 16  # rows that the features' common level counts as


def surprises(score: Score, restore: Restore, x: Rows, floor: float) -> FloatArray:
    """Return how far the score of rows falls when one feature is as the network restores it.

    An odd value spoils what the network makes of the others. So each feature is asked twice: in
    the row as it comes, and once more after the oddest feature has been restored; the mean of the
    two is a Shapley value (Shapley, 1953) over these two orders alone.

    Parameters
    ----------
    score : callable
        The measure of rows.
    restore : callable
        The network's version of rows.
    x : ndarray of shape (n_rows, n_features), float32
        Scaled rows.
    floor : float
        Scores below are taken for this: too small to tell anything.

    Returns
    -------
    falls : ndarray of shape (n_rows, n_features), float64
        Of the logarithm of the score, at least 0.
    """
    first = _falls(score, restore, x, floor)
    rows, oddest = np.arange(len(x)), first.argmax(axis=1)
    restored = x.copy()
    restored[rows, oddest] = restore(x)[rows, oddest]
    again = _falls(score, restore, restored, floor)
    again[rows, oddest] = first[rows, oddest]
    return (first + again) / 2


def usual_surprises(falls: FloatArray) -> FloatArray:
    """Return the mean of each feature's falls over normal rows; few rows tell their level alone."""
    level = falls.mean() if falls.size else 0.0
    usual = (falls.sum(axis=0) + COMMON * level) / (len(falls) + COMMON)
    return np.where(usual > 0, usual, 1.0)


def without_rows(measure: Measure, n_rows: int) -> Measure:
    """Return a measure for which the first reference rows are new: none is its own neighbour."""
    if isinstance(measure, Product):
        return Product([without_rows(part, n_rows) for part in measure.parts])
    if isinstance(measure, RowNeighbors | CodeNeighbors):
        neighbors = measure.neighbors
        if len(neighbors.bank) - n_rows > 1:
            return type(measure)(neighbors._replace(bank=neighbors.bank[n_rows:]))
    return measure


def _falls(score: Score, restore: Restore, x: Rows, floor: float) -> FloatArray:
    n_features = x.shape[1]
    size = max(1, COPIES // n_features**2)
    x_hat, diagonal = restore(x), np.arange(n_features)
    falls = np.empty(x.shape)
    for first in range(0, len(x), size):
        rows = slice(first, first + size)
        copies = np.repeat(x[rows, None], n_features, axis=1)  # (rows, n_features, n_features)
        copies[:, diagonal, diagonal] = x_hat[rows]
        left = score(copies.reshape(-1, n_features)).reshape(-1, n_features)
        falls[rows] = _log(score(x[rows]), floor)[:, None] - _log(left, floor)
    return falls.clip(0)


def _log(scores: FloatArray, floor: float) -> FloatArray:
    return np.log(np.maximum(scores, floor))
