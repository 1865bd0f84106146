"""Answers in the features of X, in the frames that users asked for or passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_container_adapter

from aedetect.model import Coding, keys_of
from aedetect.places import column_names

Names = Sequence[Any] | pd.Index
CATEGORICAL = pd.CategoricalDtype | pd.BooleanDtype | pd.StringDtype | np.dtypes.BoolDType


def in_frame(
    values: NDArray, X: Any, names: Names, estimator: BaseEstimator, *, like_X: bool
) -> Any:
    """Return ``values`` in the container of ``set_output``, or of ``X``, if that is a frame.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features)
    X : object
        As the user passed it; a DataFrame of pandas gives its index.
    names : sequence of length n_features
        Of the columns.
    estimator : estimator
        Its ``set_output``, or else the global setting, goes before the container of ``X``.
    like_X : bool
        Whether the container of ``X`` counts where nothing is set.
    """
    adapter = _get_container_adapter("transform", estimator)
    if adapter is None and like_X:
        adapter = ADAPTERS_MANAGER.adapters.get(type(X).__module__.split(".")[0])
    if adapter is None:
        return values
    if adapter.container_lib != "pandas":  # others have no names but text
        names = [str(name) for name in names]
    frame = adapter.create_container(values, X, columns=names)
    return adapter.rename_columns(frame, names)  # polars replaces an empty name


def levels_in_frame(
    rows: NDArray, X: Any, names: Names, estimator: BaseEstimator, coding: Coding
) -> Any:
    """Return coded rows in a frame with the levels themselves.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
    X : object
        As the user passed it. A frame gives the library, its index and the types of its columns.
    names : sequence of length n_features
        Of the columns.
    estimator : estimator
        Its ``set_output``, or else the global setting, goes before the library of ``X``.
    coding : Coding
        Of its columns.
    """
    adapter = _get_container_adapter("transform", estimator)
    library = type(X).__module__.split(".")[0] if adapter is None else adapter.container_lib
    columns = [
        coding.categories[column].decode(cells) if column in coding.categories else cells
        for column, cells in enumerate(rows.T)
    ]
    if library == "polars":
        given = {
            str(name): series_of(str(name), column, "polars")
            for name, column in zip(names, columns, strict=True)
        }
        return nw.from_dict(given).to_native()
    frame = pd.concat([series_of("", column, "pandas").to_native() for column in columns], axis=1)
    frame.columns = pd.Index(names)
    if isinstance(X, pd.DataFrame):
        frame.index = X.index
        for name, dtype in X.dtypes.items():
            if name in frame and isinstance(dtype, CATEGORICAL):
                frame[name] = in_dtype(frame[name], dtype)
    return frame


def in_dtype(cells: pd.Series, dtype: Any) -> pd.Series:
    """Return levels in the dtype of a column of X: its categories are widened if need be.

    Levels that the dtype would change, such as numbers in one of text, stay objects.
    """
    present = cells.dropna()
    if isinstance(dtype, pd.CategoricalDtype):
        known = set(keys_of(dtype.categories))
        others = [level for level in present.unique() if not known.issuperset(keys_of([level]))]
        return cells.astype(pd.CategoricalDtype([*dtype.categories, *others], dtype.ordered))
    kind = str if isinstance(dtype, pd.StringDtype) else bool
    holds_missing = not isinstance(dtype, np.dtypes.BoolDType)
    can_hold = all(isinstance(level, kind) for level in (present if holds_missing else cells))
    return cells.astype(dtype) if can_hold else cells


def with_changes(X: Any, repaired: Any, is_changed: NDArray[np.bool_]) -> Any:
    """Return a frame with the changed cells of another; all other cells are those of ``X``."""
    other = nw.from_native(repaired, eager_only=True)
    if nw.dependencies.is_into_dataframe(X):
        frame = nw.from_native(X, eager_only=True)
    else:
        cells = dict(zip(other.columns, np.asarray(X, dtype=object).T, strict=True))
        frame = nw.from_dict(cells, backend=other.implementation)
    columns = [
        with_cells(frame[:, place], other[:, column].to_list(), is_changed[:, column])
        for column, place in enumerate(map(frame.columns.index, other.columns))
        if is_changed[:, column].any()
    ]
    return frame.with_columns(*columns).to_native()


def with_cells(old: nw.Series[Any], new: list[Any], changed: NDArray[np.bool_]) -> nw.Series[Any]:
    """Return a column with the changed cells of another.

    Whole numbers become real ones, but for levels, which are whole numbers themselves.
    """
    pairs = zip(changed, old.to_list(), new, strict=True)
    cells = [after if is_new else before for is_new, before, after in pairs]
    if old.dtype.is_numeric():
        holds_new = old.dtype.is_float() or all(
            type(cell) is int for cell, is_new in zip(new, changed, strict=True) if is_new
        )
        dtype = old.dtype if holds_new else nw.Float64()
        return nw.new_series(old.name, cells, dtype, backend=old.implementation)
    native = old.to_native()
    if isinstance(native, pd.Series) and isinstance(native.dtype, CATEGORICAL):
        typed = in_dtype(pd.Series(cells, index=native.index, dtype=object), native.dtype)
        return nw.from_native(typed.rename(old.name), series_only=True)
    return series_of(old.name, cells, old.implementation)


def series_of(name: str, cells: list[Any] | NDArray, backend: Any) -> nw.Series[Any]:
    """Return a column, of objects where the library has no other type for its cells."""
    kinds = set() if isinstance(cells, np.ndarray) else {type(c) for c in cells if c is not None}
    if kinds == {int, float}:
        cells = [None if cell is None else float(cell) for cell in cells]
    elif len(kinds) > 1 and backend in ("polars", nw.Implementation.POLARS):
        return nw.new_series(name, cells, nw.Object(), backend=backend)
    try:
        return nw.new_series(name, cells, backend=backend)
    except UnicodeEncodeError:  # a part of a character, as in names of files
        return nw.new_series(name, cells, nw.Object(), backend=backend)


def names_of(X: Any, estimator: Any) -> Names:
    """Return the names of the columns of a frame, or else those that ``estimator`` was fitted to.

    Without any they are x0, x1 and so on, as scikit-learn has it.
    """
    if hasattr(estimator, "feature_names_in_") and estimator.detector_.model.columns.coding:
        return list(estimator.feature_names_in_)  # X may have them in another order
    if isinstance(X, pd.DataFrame):
        return X.columns  # with the names of its levels
    names = column_names(X)
    for kept in ("feature_names_in_", "_column_numbers"):
        names = getattr(estimator, kept, None) if names is None else names
    return [f"x{i}" for i in range(estimator.n_features_in_)] if names is None else list(names)


def column_numbers(X: Any) -> list[int] | None:
    """Return the names of the columns where they are whole numbers, which scikit-learn drops."""
    names = column_names(X)
    if names is None or not all(isinstance(name, int | np.integer) for name in names):
        return None
    return [int(name) for name in names]
