"""Which features make a row odd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aedetect.scoring.measures import CodeNeighbors, Measure, Product, RowNeighbors
from aedetect.scoring.thresholds import FloatArray

Rows = NDArray[np.float32]  # scaled, (rows, n_features)
Restore = Callable[[Rows], Rows]
Score = Callable[[Rows], FloatArray]  # a measure of rows: higher is odder

COPIES = 2**18  # values of the copies of rows that are scored at a time
N_USUAL = 1024  # surprises of held-out rows, about, that tell which is usual


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


def local_errors(errors: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """Return the mean error around each pixel, in 3x3 of them, ``(rows, n_features)``.

    One pixel is seldom odd alone, and a line that is a little off is odd on both of its sides.
    """
    images = errors.view(len(errors), *image_shape)
    means = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    return means.flatten(1)


def count_usual(n_features: int, n_held_out: int) -> int:
    """Return how many held-out rows tell the usual surprise: fewer where each takes long."""
    return min(n_held_out, max(2, N_USUAL // n_features))


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
