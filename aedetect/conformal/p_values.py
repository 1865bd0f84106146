"""Conformal p-values: the share of calibration rows that score as low as a new row.

In all functions higher scores are more normal. ``calibration`` and ``scores`` are lists with one
entry a detector: one without cross-validation, one a fold with it. ``calibration`` holds the scores
that a detector gives to the calibration rows held out from it, in ascending order; ``scores`` holds
the scores that it gives to the new rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.utils import gen_batches

from aedetect.scoring import FloatArray

N_DIFFERENCES = 2**22  # between new and calibration scores, at most in memory at once


def conformal_p_values(
    calibration: Sequence[FloatArray], scores: Sequence[FloatArray], block_size: int = 1
) -> FloatArray:
    """Return (1 + the number of calibration scores at or below that of a row) / (n + 1).

    One detector: Vovk et al., "Algorithmic learning in a random world", 2005. Several: Vovk,
    "Cross-conformal predictors", 2015.

    ``block_size`` takes the place of either 1: a row counts as if its whole block scored as low.
    Then the share of a new block with a p-value of at most t is at most t on average, if blocks are
    exchangeable. The reason: divide the rank of a row among the rows of all blocks by their number.
    It is at most the row's p-value. At most the share t of all rows has such a rank of at most t,
    and each block is equally likely to be the new one. (Blocks are exchanged in Chernozhukov et
    al., "Exact and robust conformal inference methods for predictive machine learning with
    dependent data", COLT 2018, too.)
    """
    n_calibration = sum(map(len, calibration))
    n_at_most = np.zeros(len(scores[0]), dtype=np.intp)
    for fold, new in zip(calibration, scores, strict=True):
        n_at_most += np.searchsorted(fold, new, side="right")
    return (block_size + n_at_most) / (n_calibration + block_size)


def cross_margins(
    calibration: Sequence[FloatArray], scores: Sequence[FloatArray], rank: int
) -> FloatArray:
    """Return the distance of rows above the alarm threshold of several detectors.

    Each calibration score is subtracted from the score that its detector gives to the row. The
    margin is the ``rank``-th largest difference, so it is negative where fewer than ``rank``
    calibration scores lie at or below the row. For one detector it is the distance to the
    ``rank``-th lowest calibration score; for several it follows CV+ (Barber et al., "Predictive
    inference with the jackknife+", Annals of Statistics, 2021).
    """
    # The `rank` largest differences involve only the `rank` lowest scores of each fold.
    lowest = [fold[:rank] for fold in calibration]
    n_lowest = sum(map(len, lowest))
    margins = np.empty(len(scores[0]))
    for rows in gen_batches(len(margins), max(1, N_DIFFERENCES // n_lowest)):
        pairs = zip(lowest, scores, strict=True)
        differences = np.concatenate([new[rows, None] - fold for fold, new in pairs], axis=1)
        margins[rows] = np.partition(differences, -rank, axis=1)[:, -rank]
    return margins


def weighted_p_values(
    calibration: FloatArray,
    scores: FloatArray,
    calibration_weights: FloatArray,
    weights: FloatArray,
) -> FloatArray:
    """Return p-values of rows whose distribution differs from that of the calibration rows.

    Each row counts with its likelihood ratio (Tibshirani et al., "Conformal prediction under
    covariate shift", NeurIPS 2019, corollary 1). All arrays belong to one detector;
    ``calibration_weights`` are in the order of ``calibration``.
    """
    at_most, total = weights_at_most(calibration, scores, calibration_weights)
    return (at_most + weights) / (total + weights)


def weights_at_most(
    calibration: FloatArray, scores: FloatArray, calibration_weights: FloatArray
) -> tuple[FloatArray, float]:
    """Return the summed weight of the calibration scores at or below each score, and the total."""
    sums = np.concatenate([[0.0], np.cumsum(calibration_weights)])
    return sums[np.searchsorted(calibration, scores, side="right")], float(sums[-1])
