"""Rules for the fitted values of a ConformalDetector that come from a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aedetect.model import require, require_floats


def check_stored(state: dict[str, Any]) -> None:
    """Raise a StateError if the fitted attributes contradict each other.

    Parameters
    ----------
    state : dict
        By name. The detectors in it have been checked.
    """
    detectors, scores = state["estimators_"], state["_calibration"]
    require(0 < len(detectors) == len(scores), "not every fold has calibration scores")
    require(state.get("estimator_", detectors[0]) is detectors[0], "estimator_ is another one")
    for detector in detectors:
        check_is_fitted(detector)
    pooled = np.sort(np.concatenate(scores))
    n_rows = len(pooled)
    require_floats("calibration_scores_", pooled, (n_rows,))
    require(
        np.array_equal(pooled, state["calibration_scores_"]),
        "calibration_scores_ are not those of the folds",
    )
    numbers = state["calibration_indices_"]
    require(
        isinstance(numbers, np.ndarray) and numbers.shape == (n_rows,) and numbers.dtype.kind == "i",
        "not every calibration row has a number",
    )
    rank = state["_rank"]
    require(rank in range(n_rows + 1), f"{rank!r:.80} is not the rank of a calibration row")
    require(isinstance(state["_higher_is_normal"], bool | np.bool_), "_higher_is_normal is not a bool")
    # It is -inf where the calibration rows are too few for an alarm.
    is_number = isinstance(state["offset_"], int | float) and not np.isnan(state["offset_"])
    require(is_number, "offset_ is not a number")
