"""Which of many rows to report, with few normal ones among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from aedetect.conformal.p_values import weighted_p_values, weights_at_most
from aedetect.scoring import FloatArray

ROUNDING = 1e-12  # relative: p-values are fractions, which often meet the level exactly


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
    """Return the selection by weighted p-values.

    They are not positively dependent, which Benjamini & Hochberg need. So row j faces the number of
    rows that would be selected with it, were it a calibration row in the eyes of the others (Jin &
    Candès, "Model-free selective inference under covariate shift via weighted conformal p-values",
    2023). Differs from Jin & Candès: ties are not broken at random and no selected rows are dropped
    at random, which keeps the guarantee and loses a little power.
    """
    p_values = weighted_p_values(calibration, scores, calibration_weights, weights)
    at_most, total = weights_at_most(calibration, scores, calibration_weights)
    limit = fdr * (1 + ROUNDING)
    n_selected = np.zeros(len(scores), dtype=int)
    for j in np.flatnonzero(p_values <= limit):  # others cannot pass, even if all are selected
        own = weights[j] * (scores[j] <= scores)
        seen_by_others = (at_most + own) / (total + weights[j])
        seen_by_others[j] = 0
        n_selected[j] = np.count_nonzero(select_by_p_values(seen_by_others, fdr))
    passed = p_values <= limit * n_selected / len(scores)
    sizes = np.sort(n_selected[passed])
    # The largest r such that r rows that pass face at most r.
    ranks = np.arange(1, len(sizes) + 1)
    largest = ranks[sizes <= ranks].max(initial=0)
    return passed & (n_selected <= largest)
