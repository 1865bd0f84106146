"""Tables as users pass them: checked, converted to floats, and refused with place and remedy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from aedetect.estimators.containers import explain_refusal, unpack
from aedetect.estimators.frames import column_numbers
from aedetect.model import check_finite
from aedetect.places import PlaceError


class Table(NamedTuple):
    """Training rows, and what later rows are compared with."""

    X: NDArray[np.floating]  # (n_rows, n_features)
    feature_names: NDArray | None  # of columns with text for names
    column_numbers: list[int] | None  # names of columns that are whole numbers


def check_training_rows(estimator: Any, X: ArrayLike, *, takes_missing: bool) -> Table:
    """Return training rows, two or more; ``estimator``, which is not fitted, stays as it is."""
    blank = object.__new__(type(estimator))  # scikit-learn sets names and numbers of columns on it
    blank.__dict__.update(estimator.get_params(deep=False))
    rows = _convert(blank, X, reset=True, min_rows=2)
    check_cells(rows, takes_missing=takes_missing, fitting=True)
    names = getattr(blank, "feature_names_in_", None)
    return Table(rows, names, column_numbers(unpack(X)))


def check_more_training_rows(estimator: Any, X: ArrayLike) -> Table:
    """Return training rows for a fitted estimator; their columns must be those of its fit."""
    rows = _convert(estimator, X, reset=False, min_rows=2)
    check_cells(rows, takes_missing=estimator.detector_.model.takes_missing, fitting=True)
    return Table(rows, getattr(estimator, "feature_names_in_", None), estimator._column_numbers)


def check_new_rows(estimator: Any, X: ArrayLike) -> NDArray[np.floating]:
    """Return rows for a fitted estimator as an array of floats."""
    model = estimator.detector_.model
    rows = np.asarray(X) if _is_plain(estimator, X) else _convert_new(estimator, X)
    if model.loss == "bce":
        check_unit_interval(rows)
    return rows


def _convert_new(estimator: Any, X: ArrayLike) -> NDArray[np.floating]:
    rows = _convert(estimator, X, reset=False, min_rows=1)
    takes_missing = estimator.detector_.model.takes_missing
    check_cells(rows, takes_missing=takes_missing, fitting=False)
    return rows


def _is_plain(estimator: Any, X: ArrayLike) -> bool:
    """Return whether the checks would return ``X`` as it is: they take most of a row's time."""
    return (
        isinstance(X, np.ndarray)
        and type(X) is np.ndarray
        and X.dtype in (np.float64, np.float32)
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
        and is_finite(X)
    )


def _convert(
    estimator: BaseEstimator, X: ArrayLike, *, reset: bool, min_rows: int
) -> NDArray[np.floating]:
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) > 2:
        raise ValueError(
            f"X must be a table of two dimensions, but its shape is {shape}. Give every image"
            f" one row with X.reshape({shape[0]}, -1)."
        )
    X = unpack(X)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # check_cells refuses an overflow
            rows = validate_data(
                estimator,
                X,
                reset=reset,
                dtype=[np.float64, np.float32],
                ensure_min_samples=min_rows,
                ensure_all_finite=False,  # check_cells names place and remedy
            )
    except OverflowError as error:
        raise ValueError("X holds a whole number beyond float64. Clip it.") from error
    except (TypeError, ValueError):
        explain_refusal(X)
        raise
    return rows.astype(rows.dtype.newbyteorder("="), copy=False)  # frames keep theirs


def check_cells(X: NDArray, *, takes_missing: bool, fitting: bool) -> None:
    """Refuse infinity, and NaN where it is not allowed."""
    if not is_finite(X):
        check_infinity(X)
        check_missing(X, allowed=takes_missing, fitting=fitting)


def check_unit_interval(X: NDArray) -> None:
    """Refuse values outside [0, 1], which have no cross-entropy."""
    low, high = np.fmin.reduce(X, axis=None), np.fmax.reduce(X, axis=None)  # pass over NaN
    if low < 0 or high > 1:
        row, column = first_place((X < 0) | (X > 1))
        raise PlaceError(
            f"loss='bce' needs values in [0, 1], but X runs from {low:g} to {high:g}: row {{row}}"
            f" has {X[row, column]:g} in column {{column}}. Rescale X, with MinMaxScaler(clip=True)"
            " for example, or use loss='mse'.",
            row=row,
            column=column,
        )


def is_finite(X: NDArray) -> bool:
    """Return whether a table is finite, at a glance; False where its sum overflows, too."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(X.sum()))  # much faster than a look at each value


def check_infinity(X: NDArray) -> None:
    """Refuse infinite values."""
    infinite = np.isinf(X)
    if infinite.any():
        row, column = first_place(infinite)
        raise PlaceError(
            f"Input X contains infinity: row {{row}} has {X[row, column]} in column {{column}}"
            f" (infinite values in all: {infinite.sum()}). Clip X to finite bounds, remove the"
            " rows, or put NaN there and treat the cells as missing.",
            row=row,
            column=column,
        )


def check_missing(X: NDArray, *, allowed: bool, fitting: bool) -> None:
    """Refuse NaN, or where it is allowed rows without a value, and columns in ``fit``."""
    missing = np.isnan(X)
    if not missing.any():
        return
    if not allowed:
        row, column = first_place(missing)
        raise PlaceError(
            "Input X contains NaN: row {row} has no value in column {column}. Fit with"
            " missing='mask', which trains on the cells that are there, or fill X first, with"
            " sklearn.impute.SimpleImputer in a Pipeline for example.",
            row=row,
            column=column,
        )
    rule = "of X holds NaN alone. missing='mask' needs one value in every"
    empty = missing.all(axis=1)
    if empty.any():
        raise PlaceError(f"Row {{row}} {rule} row: leave it out.", row=int(empty.argmax()))
    empty = missing.all(axis=0)
    if fitting and empty.any():
        raise PlaceError(
            f"Column {{column}} {rule} column: leave it out.", column=int(empty.argmax())
        )


def first_place(bad: NDArray[np.bool_]) -> tuple[int, int]:
    """Return row and column of the first True."""
    row, column = np.unravel_index(bad.argmax(), bad.shape)
    return int(row), int(column)


def as_finite(X_hat: NDArray, dtype: np.dtype) -> NDArray:
    """Return reconstructions in a type of number that must be able to hold them."""
    with np.errstate(over="ignore"):
        return check_finite(X_hat.astype(dtype, copy=False), "reconstruction")


def check_scaled(x: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return scaled training rows, of these numbers, which must not overflow."""
    if np.isinf(x).any():
        row, column = first_place(np.isinf(x))
        raise PlaceError(
            "X has a value in row {row}, column {column}, that is too large for float32 even once"
            " it is scaled. Clip it, or leave scaling='auto' on.",
            row=int(rows[row]),
            column=column,
        )
    return x
