"""Answers in the features of X, in the frames that users asked for or passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_container_adapter

from aedetect.places import column_names

Names = Sequence[Any] | pd.Index


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


def names_of(X: Any, estimator: Any) -> Names:
    """Return the names of the columns of a frame, or else those that ``estimator`` was fitted to.

    Without any they are x0, x1 and so on, as scikit-learn has it.
    """
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
