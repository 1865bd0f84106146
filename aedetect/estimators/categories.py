"""Categorical columns: which they are, their cells as codes, and codes as cells again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing, check_array

from aedetect.estimators.containers import DATES_TO_NUMBERS, explain_refusal
from aedetect.model import CellError, Coding, fit_categories, keys_of
from aedetect.places import PlaceError, column_names, columns_of

NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal"}  # pandas' kinds of objects
LEVELS = (nw.String, nw.Categorical, nw.Enum, nw.Boolean, nw.Object)
FEW_ROWS = 20  # in which each level may occur once
IDENTIFYING = 0.9  # levels a row: nearly every row has one of its own
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def categorical_columns(X: Any, categorical_features: Any) -> list[int]:
    """Return the numbers of the categorical columns.

    Parameters
    ----------
    X : array-like or frame
    categorical_features : "from_dtype", array-like of bool, int or str, or None
        As the estimators' parameter has it.

    Raises
    ------
    ValueError
        If names, numbers or a mask do not fit the columns of X.
    """
    if categorical_features is None:
        return []
    if isinstance(categorical_features, str):  # "from_dtype"
        return _by_dtype(X)
    asked, n_columns = np.asarray(categorical_features), np.shape(X)[1]
    if asked.size == 0:
        return []
    if asked.dtype == bool:
        if asked.shape != (n_columns,):
            raise ValueError(
                f"categorical_features is a mask of {asked.size} columns, but X has {n_columns}."
            )
        return np.flatnonzero(asked).tolist()
    if asked.dtype.kind in "iu":
        if asked.min() < 0 or asked.max() >= n_columns:
            raise ValueError(
                f"categorical_features={asked.tolist()} must hold numbers of columns from 0 to"
                f" {n_columns - 1}."
            )
        return sorted(set(asked.tolist()))
    return _by_name(column_names(X), asked.tolist())


def _by_name(names: list[Any] | None, asked: list[Any]) -> list[int]:
    if names is None:
        raise ValueError(
            f"categorical_features={asked} are names, but X is not a DataFrame and has no names."
            " Pass numbers of columns."
        )
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise ValueError(
            f"categorical_features names the column {unknown[0]!r}, which X does not have. Its"
            f" columns are {', '.join(map(str, names[:20]))}."
        )
    return sorted({names.index(name) for name in asked})


def _by_dtype(X: Any) -> list[int]:
    if not nw.dependencies.is_into_dataframe(X):
        return []
    if isinstance(X, pd.DataFrame) and all(d.kind in "iuf" for d in set(X.dtypes)):
        return []  # at a glance: the schema takes long
    frame = nw.from_native(X, eager_only=True)
    return [
        number
        for number, column in enumerate(frame.iter_columns())
        if isinstance(column.dtype, LEVELS) and not _holds_numbers(column)
    ]


def _holds_numbers(column: nw.Series[Any]) -> bool:
    """Return whether a column of objects holds numbers alone, beside missing cells."""
    if column.dtype != nw.Object:
        return False
    return pd.api.types.infer_dtype(column.to_numpy(), skipna=True) in NUMBERS


def fit_coding(X: Any, columns: Sequence[int], *, takes_missing: bool) -> Coding:
    """Return the levels of the categorical columns of training rows.

    Missing cells are a level of their own, but with ``takes_missing``.

    Raises
    ------
    PlaceError
        If a column holds dates, identifies rows, or holds a cell that is no level.
    """
    categories = {}
    for column in columns:
        cells = _cells_of(X, column)
        with _naming(column):
            n_levels = len(set(keys_of(cells)))
            fitted = fit_categories(cells[~pd.isna(cells)] if takes_missing else cells)
        check_use(fitted.levels, column, len(cells), n_levels)
        categories[column] = fitted
    return Coding(np.shape(X)[1], categories)


def check_use(levels: list[Any], column: int, n_rows: int, n_levels: int) -> None:
    """Refuse columns of categories that only tell rows apart, and dates."""
    text = [level for level in levels if isinstance(level, str)]
    if n_levels > FEW_ROWS and text and all(DATE.match(level) for level in text):
        raise PlaceError(
            f"Column {{column}} holds dates such as {text[0]!r}, which are not categories."
            + DATES_TO_NUMBERS,
            column=column,
        )
    if n_rows >= FEW_ROWS and n_levels > IDENTIFYING * n_rows:
        raise PlaceError(
            f"Column {{column}} has {n_levels} levels in {n_rows} rows, such as {levels[0]!r:.40}:"
            " it identifies rows, and no level is usual. Leave it out, with X.drop(columns=...)"
            " or --drop. If it holds numbers as text, convert it with .astype(float).",
            column=column,
        )


def encode(X: Any, coding: Coding, *, takes_missing: bool, fitting: bool) -> NDArray[np.float64]:
    """Return rows as floats: codes of levels, and numbers.

    With ``takes_missing`` the code of a missing cell is NaN.

    Raises
    ------
    PlaceError
        If a cell of a categorical column is no level, or one of another column no number.
    """
    rows = np.empty((np.shape(X)[0], coding.n_features))
    if len(coding.numbers):
        rows[:, coding.numbers] = _numbers_of(X, coding.numbers, fitting=fitting)
    for column, categories in coding.categories.items():
        cells = _cells_of(X, column)
        with _naming(column):
            rows[:, column] = categories.encode(cells)
        if takes_missing:
            rows[pd.isna(cells), column] = np.nan
    return rows


def _numbers_of(X: Any, columns: NDArray[np.intp], *, fitting: bool) -> NDArray[np.floating]:
    part = _safe_indexing(_as_table(X), columns.tolist(), axis=1)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # check_cells refuses an overflow
            return check_array(part, dtype=[np.float64, np.float32], ensure_all_finite=False)
    except OverflowError as error:
        raise ValueError("X holds a whole number beyond float64. Clip it.") from error
    except (TypeError, ValueError):
        with columns_of(columns):
            explain_refusal(part, fitting=fitting)
        raise


def _cells_of(X: Any, column: int) -> NDArray:
    """Return the cells of a column, as objects or numbers."""
    if nw.dependencies.is_into_dataframe(X):
        return nw.from_native(X, eager_only=True)[:, column].to_numpy()
    return _as_table(X)[:, column]


def _as_table(X: Any) -> Any:
    """Return lists as an array of objects, lest numbers become text."""
    return X if hasattr(X, "shape") else np.asarray(X, dtype=object)


@contextmanager
def _naming(column: int) -> Iterator[None]:
    """Let an error about a cell name its row and column, with the remedy."""
    try:
        yield
    except CellError as error:
        raise PlaceError(
            f"Column {{column}} holds {error.cell!r:.40} in row {{row}}. A category is text, a"
            " number, true, false or missing. Convert the column with .astype(str), or leave it"
            " out.",
            row=error.place,
            column=column,
        ) from error


def check_known_levels(rows: NDArray[np.floating], coding: Coding) -> None:
    """Refuse training rows with levels that the first fit was not given."""
    for column, categories in coding.categories.items():
        is_new = rows[:, column] == len(categories.levels)
        if is_new.any() and not categories.counts[-1]:
            raise PlaceError(
                "Column {column} has a level in row {row} that the first fit was not given."
                " Training goes on with the levels as they are: fit anew, on rows with all levels.",
                row=int(is_new.argmax()),
                column=column,
            )


def aligned_to(names: ArrayLike, X: Any) -> tuple[Any, list[int]]:
    """Return a frame with the columns ``names`` in this order, and their numbers in ``X``.

    Raises
    ------
    ValueError
        If columns are missing, or there are others.
    """
    given, wanted = column_names(X), list(np.asarray(names))
    assert given is not None  # X is a frame
    missing = [name for name in wanted if name not in given]
    others = [name for name in given if name not in wanted]
    if missing:
        raise ValueError(
            f"X lacks the column {missing[0]!r}, which fit was given (columns that it lacks in all:"
            f" {len(missing)}). The feature names should match those that were passed during fit."
        )
    if others:
        listed = ", ".join(map(repr, others[:5])) + (", ..." if len(others) > 5 else "")
        raise ValueError(
            f"X has columns that fit was not given: {listed}. Leave them out, with"
            " X[detector.feature_names_in_]. The feature names should match those that were passed"
            " during fit."
        )
    order = [given.index(name) for name in wanted]
    if order == list(range(len(order))):
        return X, order
    return nw.from_native(X, eager_only=True).select(wanted).to_native(), order
