"""Tables as users pass them: checked, converted to floats, and refused with place and remedy."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from aedetect.estimators.categories import (
    aligned_to,
    categorical_columns,
    check_known_levels,
    encode,
    fit_coding,
)
from aedetect.estimators.containers import explain_refusal, unpack
from aedetect.estimators.frames import column_numbers
from aedetect.model import Coding, check_finite
from aedetect.places import PlaceError, column_names, columns_of


class Table(NamedTuple):
    """Training rows, and what later rows are compared with."""

    X: NDArray[np.floating]  # (n_rows, n_features), with codes for levels
    feature_names: NDArray | None  # of columns with text for names
    column_numbers: list[int] | None  # names of columns that are whole numbers
    coding: Coding | None  # of the categorical columns, if there are any
    given: Any  # what the user passed, for callbacks


def check_training_rows(estimator: Any, X: ArrayLike) -> Table:
    """Return training rows, two or more; ``estimator``, which is not fitted, stays as it is."""
    blank = object.__new__(type(estimator))  # scikit-learn sets names and numbers of columns on it
    blank.__dict__.update(estimator.get_params(deep=False))
    takes_missing = estimator.missing == "mask"
    X = unpack(X)
    categorical = categorical_columns(X, estimator.categorical_features)
    if categorical:
        validate_data(blank, X, reset=True, skip_check_array=True)
        coding = fit_coding(X, categorical, takes_missing=takes_missing)
        rows: NDArray[np.floating] = encode(X, coding, takes_missing=takes_missing, fitting=True)
        check_number_of_rows(rows, min_rows=2)
    else:
        rows, coding = convert(blank, X, reset=True, min_rows=2), None
    check_cells(rows, takes_missing=takes_missing, fitting=True)
    names = getattr(blank, "feature_names_in_", None)
    return Table(rows, names, column_numbers(X), coding, X)


def check_more_training_rows(estimator: Any, X: ArrayLike) -> Table:
    """Return training rows for a fitted estimator; their columns must be those of its fit."""
    model = estimator.detector_.model
    rows = _convert_like(estimator, X, fitting=True)
    names = getattr(estimator, "feature_names_in_", None)
    return Table(rows, names, estimator._column_numbers, model.columns.coding, X)


def check_new_rows(estimator: Any, X: ArrayLike) -> NDArray[np.floating]:
    """Return rows for a fitted estimator as an array of floats."""
    model = estimator.detector_.model
    plain = _is_plain(estimator, X)
    rows = np.asarray(X) if plain else _convert_like(estimator, X, fitting=False)
    if model.loss == "bce":
        check_unit_interval(rows, model.columns.coding)
    return rows


def _convert_like(estimator: Any, X: ArrayLike, *, fitting: bool) -> NDArray[np.floating]:
    """Return rows whose columns must be those that a fitted estimator was given."""
    model, min_rows = estimator.detector_.model, 1 + fitting
    coding, order = model.columns.coding, None
    if coding is None:
        rows = convert(estimator, X, reset=False, min_rows=min_rows)
    else:
        X = unpack(X)
        if hasattr(estimator, "feature_names_in_") and column_names(X) is not None:
            X, order = aligned_to(estimator.feature_names_in_, X)
        validate_data(estimator, X, reset=False, skip_check_array=True)
    with nullcontext() if order is None else columns_of(order):
        if coding is not None:
            rows = encode(X, coding, takes_missing=model.takes_missing, fitting=fitting)
            check_number_of_rows(rows, min_rows=min_rows)
            if fitting:
                check_known_levels(rows, coding)
        check_cells(rows, takes_missing=model.takes_missing, fitting=fitting)
    return rows


def _is_plain(estimator: Any, X: ArrayLike) -> bool:
    """Return whether the checks would return ``X`` as it is: they take most of a row's time."""
    return (
        isinstance(X, np.ndarray)
        and type(X) is np.ndarray
        and X.dtype in (np.float64, np.float32)
        and estimator.detector_.model.columns.coding is None
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
        and is_finite(X)
    )


def convert(
    estimator: BaseEstimator, X: ArrayLike, *, reset: bool, min_rows: int
) -> NDArray[np.floating]:
    """Return a table of numbers as float64 or float32, and set or check its columns."""
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
        explain_refusal(X, fitting=reset)
        raise
    return rows.astype(rows.dtype.newbyteorder("="), copy=False)  # frames keep theirs


def check_number_of_rows(rows: Any, *, min_rows: int) -> None:
    """Refuse a table of too few rows."""
    if len(rows) < min_rows:
        raise ValueError(
            f"Found array with {len(rows)} sample(s) (shape={rows.shape}) while a minimum of"
            f" {min_rows} is required."
        )


def check_cells(X: NDArray, *, takes_missing: bool, fitting: bool) -> None:
    """Refuse infinity, and NaN where it is not allowed."""
    if not is_finite(X):
        check_infinity(X)
        check_missing(X, allowed=takes_missing, fitting=fitting)


def check_unit_interval(X: NDArray, coding: Coding | None) -> None:
    """Refuse numbers outside [0, 1], which have no cross-entropy."""
    columns = np.arange(X.shape[1]) if coding is None else coding.numbers
    numbers = X if coding is None else X[:, columns]
    low, high = (
        np.fmin.reduce(numbers, axis=None, initial=0.0),
        np.fmax.reduce(numbers, axis=None, initial=1.0),
    )  # pass over NaN
    if low < 0 or high > 1:
        row, column = first_place((numbers < 0) | (numbers > 1))
        raise PlaceError(
            f"loss='bce' needs values in [0, 1], but X runs from {low:g} to {high:g}: row {{row}}"
            f" has {numbers[row, column]:g} in column {{column}}. Rescale X, with"
            " MinMaxScaler(clip=True) for example, or use loss='mse'.",
            row=row,
            column=int(columns[column]),
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


def check_scaled(
    x: NDArray[np.float32], rows: NDArray[np.intp], sources: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return scaled training rows, of these numbers, which must not overflow.

    ``sources`` are the columns of X that their entries stand for.
    """
    if np.isinf(x).any():
        row, column = first_place(np.isinf(x))
        raise PlaceError(
            "X has a value in row {row}, column {column}, that is too large for float32 even once"
            " it is scaled. Clip it, or leave scaling='auto' on.",
            row=int(rows[row]),
            column=int(sources[column]),
        )
    return x
