"""Select the rows to report with a bounded false discovery rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from aedetect.conformal.p_values import weighted_p_values, weights_at_most
from aedetect.scoring import FloatArray

ROUNDING = 1e-12  # relative: p-values are fractions and often equal the level exactly


def select_by_p_values(p_values: FloatArray, fdr: float) -> NDArray[np.bool_]:
    """Return the selection of Benjamini & Hochberg, 1995."""
    return false_discovery_control(p_values, method="bh") <= fdr * (1 + ROUNDING)


def select_by_weights(
    calibration: FloatArray,
    scores: FloatArray,
    calibration_weights: FloatArray,
    weights: FloatArray,
    fdr: float,
) -> NDArray[np.bool_]:
    """Return the selection by weighted p-values of Jin & Candès, 2023.

    Weighted p-values are not positively dependent, as Benjamini & Hochberg require. So the size of
    the selection is computed for each row j apart, with row j moved to the calibration rows of the
    others ("Model-free selective inference under covariate shift via weighted conformal p-values").
    Row j passes if its p-value is at most ``fdr`` times its size over the number of rows.
    Differs from Jin & Candès: ties are not broken at random and no selected rows are dropped at
    random, which keeps the guarantee and loses a little power.
    """
    p_values = weighted_p_values(calibration, scores, calibration_weights, weights)
    at_most, total = weights_at_most(calibration, scores, calibration_weights)
    limit = fdr * (1 + ROUNDING)
    n_selected = np.zeros(len(scores), dtype=int)
    for j in np.flatnonzero(p_values <= limit):  # no other row can pass, whatever its size
        own = weights[j] * (scores[j] <= scores)
        p_values_given_j = (at_most + own) / (total + weights[j])
        p_values_given_j[j] = 0
        n_selected[j] = np.count_nonzero(select_by_p_values(p_values_given_j, fdr))
    passed = p_values <= limit * n_selected / len(scores)
    sizes = np.sort(n_selected[passed])
    # Keep the largest r rows whose sizes are at most r.
    ranks = np.arange(1, len(sizes) + 1)
    largest = ranks[sizes <= ranks].max(initial=0)
    return passed & (n_selected <= largest)
