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

from aedetect.model import Coding
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
        What the user passed; a DataFrame of pandas gives its index.
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
    return adapter.create_container(values, X, columns=names)


def levels_in_frame(
    rows: NDArray, X: Any, names: Names, estimator: BaseEstimator, coding: Coding
) -> Any:
    """Return coded rows in a frame with the levels themselves.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
    X : object
        What the user passed. A frame gives the library, its index and the types of its columns.
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
        given = {str(name): column for name, column in zip(names, columns, strict=True)}
        return nw.from_dict(given, backend="polars").to_native()
    frame = pd.concat([pd.Series(column) for column in columns], axis=1)
    frame.columns = pd.Index(names)
    if isinstance(X, pd.DataFrame):
        frame.index = X.index
        kept = {n: d for n, d in X.dtypes.items() if n in frame and isinstance(d, CATEGORICAL)}
        frame = frame.astype(kept)
    return frame


def with_changes(X: Any, repaired: Any, is_changed: NDArray[np.bool_]) -> Any:
    """Return a frame with the changed cells of another; all other cells are those of ``X``."""
    other = nw.from_native(repaired, eager_only=True)
    if nw.dependencies.is_into_dataframe(X):
        frame = nw.from_native(X, eager_only=True)
    else:
        cells = dict(zip(other.columns, np.asarray(X, dtype=object).T, strict=True))
        frame = nw.from_dict(cells, backend=other.implementation)
    columns = []
    for name, changed in zip(other.columns, is_changed.T, strict=True):
        if changed.any():
            pairs = zip(changed, frame[name].to_list(), other[name].to_list(), strict=True)
            cells = [new if is_new else old for is_new, old, new in pairs]
            columns.append(nw.new_series(name, cells, backend=frame.implementation))
    return frame.with_columns(*columns).to_native()


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
