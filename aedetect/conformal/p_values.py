"""How rare scores are among those of calibration rows.

In all functions higher scores are more normal, and ``calibration`` is sorted in ascending order.
With several models, which cross-validation leaves, each has a list entry: the scores that it gave
to the calibration rows that it was not fitted to, and those that it gives to the new rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.utils import gen_batches

from aedetect.scoring import FloatArray

COMPARED = 2**22  # differences of scores that are held at a time


def conformal_p_values(
    calibration: Sequence[FloatArray], scores: Sequence[FloatArray]
) -> FloatArray:
    """Return (1 + the number of calibration scores that are not above a row's) / (n + 1).

    One model: Vovk et al., "Algorithmic learning in a random world", 2005. Several: Vovk,
    "Cross-conformal predictors", 2015.
    """
    n_calibration = sum(map(len, calibration))
    n_at_most = np.zeros(len(scores[0]), dtype=np.intp)
    for known, new in zip(calibration, scores, strict=True):
        n_at_most += np.searchsorted(known, new, side="right")
    return (1 + n_at_most) / (n_calibration + 1)


def cross_margins(
    calibration: Sequence[FloatArray], scores: Sequence[FloatArray], rank: int
) -> FloatArray:
    """Return how far rows are above the alarm: negative where fewer than ``rank`` scores are below.

    Each calibration score is taken from the score that the same model gives to a row; the
    ``rank``-th largest of these differences is the margin: for one model the distance to its
    ``rank``-th score, for several the idea of CV+ (Barber et al., "Predictive inference with the
    jackknife+", Annals of Statistics, 2021).
    """
    # No other differences are among the largest `rank`.
    lowest = [known[:rank] for known in calibration]
    width = sum(map(len, lowest))
    margins = np.empty(len(scores[0]))
    for rows in gen_batches(len(margins), max(1, COMPARED // width)):
        pairs = zip(lowest, scores, strict=True)
        gaps = np.concatenate([new[rows, None] - known for known, new in pairs], axis=1)
        margins[rows] = np.partition(gaps, -rank, axis=1)[:, -rank]
    return margins


def weighted_p_values(
    calibration: FloatArray,
    scores: FloatArray,
    calibration_weights: FloatArray,
    weights: FloatArray,
) -> FloatArray:
    """Return p-values of rows that come from elsewhere than the calibration rows.

    Each row counts with its likelihood ratio (Tibshirani et al., "Conformal prediction under
    covariate shift", NeurIPS 2019, corollary 1); ``calibration_weights`` are in the order of
    ``calibration``.
    """
    at_most, total = weights_at_most(calibration, scores, calibration_weights)
    return (at_most + weights) / (total + weights)


def weights_at_most(
    calibration: FloatArray, scores: FloatArray, calibration_weights: FloatArray
) -> tuple[FloatArray, float]:
    """Return the weight of the calibration scores not above each score, and that of all."""
    sums = np.concatenate([[0.0], np.cumsum(calibration_weights)])
    return sums[np.searchsorted(calibration, scores, side="right")], float(sums[-1])
