"""Rules for the fitted values of a ConformalDetector that come from a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aedetect.conformal.reference import Reference
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
    numbers = np.asarray(state["calibration_indices_"])
    has_numbers = numbers.shape == (n_rows,) and numbers.dtype.kind == "i"
    require(has_numbers, "not every calibration row has a number")
    rank, direction, offset = state["_rank"], state["_higher_is_normal"], state["offset_"]
    require(rank in range(n_rows + 1), f"{rank!r:.80} is not the rank of a calibration row")
    require(isinstance(direction, bool | np.bool_), "the direction of the scores is unknown")
    # -inf stands for too few calibration rows for an alarm.
    is_number = isinstance(offset, int | float) and not np.isnan(offset)
    require(is_number, f"offset_ is {offset!r:.80}, which is not a number")
    reference = state.get("_reference")  # files of earlier versions have none
    if reference is not None:
        Reference.from_state(reference)
