"""Checks of the folds and likelihood ratios that a caller passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aedetect.scoring import FloatArray


def check_partition(test_folds: Sequence[NDArray[np.intp]], n_rows: int) -> None:
    """Refuse folds that do not test each row exactly once."""
    n_tests = np.bincount(np.concatenate(test_folds), minlength=n_rows)
    if (n_tests != 1).any():
        row = int(np.flatnonzero(n_tests != 1)[0])
        raise ValueError(
            f"cv must test each row once, but it tests row {row} {n_tests[row]} times. Use KFold or"
            " LeaveOneOut, for example."
        )


def check_weights(
    weights: tuple[ArrayLike, ArrayLike], n_calibration: int, n_rows: int
) -> tuple[FloatArray, FloatArray]:
    """Return the likelihood ratios of the calibration rows and of the new rows as arrays."""
    if not isinstance(weights, tuple | list) or len(weights) != 2:
        raise ValueError(
            "weights must be a pair: the likelihood ratios of the calibration rows and those of the"
            f" rows of X. It is of type {type(weights).__name__}."
        )
    calibration, new = (np.asarray(ratios, dtype=np.float64) for ratios in weights)
    if calibration.shape != (n_calibration,) or new.shape != (n_rows,):
        raise ValueError(
            f"weights must have shapes ({n_calibration},), a number for each of"
            f" calibration_indices_, and ({n_rows},), one for each row of X, but they have"
            f" {calibration.shape} and {new.shape}."
        )
    both = np.concatenate([calibration, new])
    if not (np.isfinite(both).all() and both.min() >= 0 and calibration.any()):
        raise ValueError(
            "weights must be finite and not negative, and not 0 for all calibration rows, but they"
            f" run from {both.min():g} to {both.max():g}."
        )
    return calibration, new
