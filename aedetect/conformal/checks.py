"""What is refused, and the error that says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aedetect.scoring import FloatArray


def check_partition(test_folds: Sequence[NDArray[np.intp]], n_rows: int) -> None:
    """Refuse folds in which a row is tested twice or never."""
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
    """Return the likelihood ratios of the calibration rows and of the new ones as arrays."""
    if not isinstance(weights, tuple | list) or len(weights) != 2:
        raise ValueError(
            "weights must be a pair: the likelihood ratios of the calibration rows and those of the"
            f" rows of X. It is of type {type(weights).__name__}."
        )
    known, new = (np.asarray(part, dtype=np.float64) for part in weights)
    if known.shape != (n_calibration,) or new.shape != (n_rows,):
        raise ValueError(
            f"weights must have shapes ({n_calibration},), a number for each of"
            f" calibration_indices_, and ({n_rows},), one for each row of X, but they have"
            f" {known.shape} and {new.shape}."
        )
    both = np.concatenate([known, new])
    if not (np.isfinite(both).all() and both.min() >= 0 and known.any()):
        raise ValueError(
            "weights must be finite and not negative, and not 0 for all calibration rows, but they"
            f" run from {both.min():g} to {both.max():g}."
        )
    return known, new
