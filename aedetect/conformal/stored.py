"""Rules for the fitted values of a ConformalDetector or a Monitor that come from a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aedetect.conformal.reference import Reference
from aedetect.conformal.status import Alarm
from aedetect.conformal.watch import start
from aedetect.model import require, require_floats, require_keys

SIGNED = {"sums", "snapshots"}


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
    block_size = state.get("_block_size", 1)  # files of earlier versions have none
    is_size = type(block_size) is int and 1 <= block_size <= max(n_rows, 1)
    require(is_size, f"{block_size!r:.80} is not the size of a block of calibration rows")
    # -inf stands for too few calibration rows for an alarm.
    is_number = isinstance(offset, int | float) and not np.isnan(offset)
    require(is_number, f"offset_ is {offset!r:.80}, which is not a number")
    reference = state.get("_reference")  # files of earlier versions have none
    if reference is not None:
        Reference.from_state(reference)


def check_monitor(state: dict[str, Any], detector: Any) -> None:
    """Raise a StateError if the attributes of a Monitor contradict each other or its detector.

    Parameters
    ----------
    state : dict
        By name.
    detector : ConformalDetector
        It has been checked.
    """
    require_keys("the monitor", state, {"_state", "_first_row", "n_rows_", "alarms_"})
    reference = Reference.from_state(getattr(detector, "_reference", None))
    _check_like(start(reference, alpha=0.5, seed=0), state["_state"], "the monitor")
    own, first = state["_state"], state["_first_row"]
    require(0 < own["alpha"] < 1, "alpha is no probability")
    require(own["digest"] == reference.digest, "its detector has other calibration rows")
    n_rows, moments = own["streams"]["n_rows"], own["streams"]["moments"]
    require(
        type(first) is int and 0 <= first <= first + n_rows == state["n_rows_"] < 2**53,
        "the monitor has lost count of its rows",
    )
    require(bool(((moments[0] > 0) | (n_rows == 0)).all()), "a bet has no capital")
    stride, n_points = own["trajectory"]["stride"], own["trajectory"]["n_points"]
    is_thin = n_points <= len(own["trajectory"]["martingales"])
    reaches = stride > 0 and n_points * stride <= n_rows < (n_points + 1) * stride
    require(is_thin and reaches, "the martingales over time have other rows")
    require(isinstance(state["alarms_"], list), "the alarms are no list")
    for alarm in state["alarms_"]:
        require_keys("an alarm", alarm, set(Alarm._fields))


def _check_like(expected: Any, found: Any, name: str) -> None:
    """Require values of the kinds, and arrays of the shapes, of those at the start."""
    require(type(found) is type(expected), f"{name} has a {type(found).__name__}")
    if isinstance(expected, dict):
        require_keys(name, found, set(expected))
        for key, value in expected.items():
            _check_like(value, found[key], key)
    elif isinstance(expected, np.ndarray):
        is_like = found.shape == expected.shape and found.dtype == expected.dtype
        require(is_like, f"{name} is not a {expected.dtype} array of shape {expected.shape}")
        require(bool(np.isfinite(found).all()), f"{name} holds NaN or infinity")
        require(name in SIGNED or bool((found >= 0).all()), f"{name} is below 0")
    elif isinstance(expected, int):
        require(found >= 0, f"{name} is below 0")
