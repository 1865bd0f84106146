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
    block_size: int,
    random_state: np.random.RandomState,
) -> list[tuple[Rows, Rows]]:
    """Return pairs of row numbers: rows to fit to, and rows to calibrate with.

    There is one pair without ``cv``, and one a fold with it. With ``block_size`` above 1 all rows
    to calibrate with are a block or more away from the rows to fit to. Rows whose ``labels`` are
    -1, known anomalies, are fitted to in all pairs; the others are divided.
    """
    if labels is not None and block_size > 1:
        raise ValueError(
            f"block_size={block_size} keeps rows to fit to a block away from rows to calibrate"
            " with, but known anomalies are fitted to wherever they are. Set labels='ignore', or"
            " use feedback after fit."
        )
    if labels is not None:
        others, anomalies = np.flatnonzero(labels != -1), np.flatnonzero(labels == -1)
        pairs = _split(_safe_indexing(X, others), cv, calibration_size, 1, random_state)
        return [(np.append(others[fitted], anomalies), others[held]) for fitted, held in pairs]
    return _split(X, cv, calibration_size, block_size, random_state)


def _split(
    X: Any,
    cv: int | BaseCrossValidator | Iterable | None,
    calibration_size: float,
    block_size: int,
    random_state: np.random.RandomState,
) -> list[tuple[Rows, Rows]]:
    n_rows = _num_samples(X)
    if n_rows < 2:
        raise ValueError(
            "ConformalDetector needs two rows, one to fit to and one to calibrate with, but X"
            f" has n_samples={n_rows}. Give more."
        )
    if cv is None and block_size > 1:
        return [_last_blocks(n_rows, _count_calibration(calibration_size, n_rows), block_size)]
    if cv is None:
        order = random_state.permutation(n_rows)
        n_fitted = n_rows - _count_calibration(calibration_size, n_rows)
        return [(order[:n_fitted], order[n_fitted:])]
    if isinstance(cv, Integral):
        in_order = block_size > 1
        splitter = KFold(cv, shuffle=not in_order, random_state=None if in_order else random_state)
    else:
        splitter = check_cv(cv)
    folds = list(splitter.split(X))
    check_partition([held_out for _, held_out in folds], n_rows)
    if block_size == 1:
        return folds
    return [_set_apart(fitted, held_out, block_size) for fitted, held_out in folds]


def _last_blocks(n_rows: int, n_calibration: int, block_size: int) -> tuple[Rows, Rows]:
    """Return all rows but the last blocks and the block before them, and the last blocks."""
    first = n_rows - math.ceil(n_calibration / block_size) * block_size
    if first - block_size < 1:
        raise ValueError(
            f"{n_calibration} of {n_rows} rows cannot calibrate in blocks of block_size="
            f"{block_size}: with one more block that is left out, no row is left to fit to. Give"
            " more rows, or make block_size or calibration_size smaller."
        )
    return np.arange(first - block_size), np.arange(first, n_rows)


def _set_apart(fitted: Rows, held_out: Rows, block_size: int) -> tuple[Rows, Rows]:
    """Return a fold without the rows to fit to that are less than a block away from the others."""
    in_order = np.sort(held_out)
    place = np.searchsorted(in_order, fitted)
    padded = np.concatenate([[-np.inf], in_order, [np.inf]])
    is_apart = np.minimum(fitted - padded[place], padded[place + 1] - fitted) > block_size
    if not is_apart.any():
        raise ValueError(
            f"All rows to fit to are less than block_size={block_size} rows away from those that a"
            " fold of cv holds out. Use fewer folds of consecutive rows, as KFold without shuffle"
            " makes them, or smaller blocks."
        )
    return fitted[is_apart], held_out


def whole_blocks(n_rows: int, block_size: int) -> Rows:
    """Return the numbers of the last rows that make up whole blocks."""
    if n_rows < block_size:
        raise ValueError(
            f"Calibration needs a block of block_size={block_size} rows or more, but X has"
            f" {n_rows} rows. Give more."
        )
    return np.arange(n_rows % block_size, n_rows)


def _count_calibration(size: float, n_rows: int) -> int:
    if not isinstance(size, Integral):
        return min(math.ceil(size * n_rows), n_rows - 1)
    if size >= n_rows:
        raise ValueError(
            f"calibration_size={size} leaves no row to fit to, as X has {n_rows} rows. Make it"
            " smaller, or pass a fitted estimator and prefit=True."
        )
    return int(size)
