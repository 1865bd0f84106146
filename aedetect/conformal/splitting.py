"""Divide rows into those to fit to and those to calibrate with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator, KFold, check_cv
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from aedetect.conformal.checks import check_partition

Rows = NDArray[np.intp]


def split_rows(
    X: Any,
    *,
    labels: NDArray | None,
    cv: int | BaseCrossValidator | Iterable | None,
    calibration_size: float,
    random_state: np.random.RandomState,
) -> list[tuple[Rows, Rows]]:
    """Return pairs of row numbers: rows to fit to, and rows to calibrate with.

    There is one pair without ``cv``, and one a fold with it. Rows whose ``labels`` are -1, known
    anomalies, are fitted to in all of them; the others are divided.
    """
    if labels is not None:
        others, anomalies = np.flatnonzero(labels != -1), np.flatnonzero(labels == -1)
        pairs = _split(_safe_indexing(X, others), cv, calibration_size, random_state)
        return [(np.append(others[fitted], anomalies), others[held]) for fitted, held in pairs]
    return _split(X, cv, calibration_size, random_state)


def _split(
    X: Any,
    cv: int | BaseCrossValidator | Iterable | None,
    calibration_size: float,
    random_state: np.random.RandomState,
) -> list[tuple[Rows, Rows]]:
    n_rows = _num_samples(X)
    if n_rows < 2:
        raise ValueError(
            "ConformalDetector needs two rows, one to fit to and one to calibrate with, but X"
            f" has n_samples={n_rows}. Give more."
        )
    if cv is None:
        order = random_state.permutation(n_rows)
        n_fitted = n_rows - _count_calibration(calibration_size, n_rows)
        return [(order[:n_fitted], order[n_fitted:])]
    if isinstance(cv, Integral):
        splitter = KFold(cv, shuffle=True, random_state=random_state)
    else:
        splitter = check_cv(cv)
    folds = list(splitter.split(X))
    check_partition([held_out for _, held_out in folds], n_rows)
    return folds


def _count_calibration(size: float, n_rows: int) -> int:
    if not isinstance(size, Integral):
        return min(math.ceil(size * n_rows), n_rows - 1)
    if size >= n_rows:
        raise ValueError(
            f"calibration_size={size} leaves no row to fit to, as X has {n_rows} rows. Make it"
            " smaller, or pass a fitted estimator and prefit=True."
        )
    return int(size)
