"""Rows as numbers, for drawings and for methods that take numbers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

from aedetect.estimators.categories import aligned_to
from aedetect.estimators.tables import check_new_rows
from aedetect.model import Coding
from aedetect.model.scaling import fit_scaling
from aedetect.places import column_names


def coding_of(estimator: Any) -> Coding | None:
    """Return the categorical columns of a fitted estimator or of the last step of a Pipeline.

    None if there are none.
    """
    detector = getattr(_last(estimator), "detector_", None)
    return None if detector is None else detector.model.columns.coding


def in_order_of_fit(estimator: Any, X: Any) -> Any:
    """Return a frame with its columns in the order of ``fit``; anything else as it is.

    Estimators with categorical columns take any order.
    """
    if coding_of(estimator) is None or isinstance(estimator, Pipeline):
        return X
    if column_names(X) is None or not hasattr(estimator, "feature_names_in_"):
        return X
    return aligned_to(estimator.feature_names_in_, X)[0]


def numbers_of(estimator: Any, X: ArrayLike) -> NDArray:
    """Return rows as an array of numbers.

    Where there are categories, these are the rows that the network sees, with a column for each
    level. Where else ``X`` holds text, they are the rows before the last step of a Pipeline.
    """
    rows = np.asarray(X)
    if rows.dtype.kind in "biuf" and coding_of(estimator) is None:
        return rows
    while isinstance(estimator, Pipeline):
        X, estimator = estimator[:-1].transform(X), estimator[-1]
    if coding_of(estimator) is None:
        return np.asarray(X)
    return estimator.detector_.model.scale(check_new_rows(estimator, X))


def fit_scaler(estimator: Any, numbers: NDArray) -> Callable[[NDArray], NDArray]:
    """Return a function that scales columns as the estimators do.

    The numbers of an estimator with categories, see :func:`numbers_of`, are scaled already.
    """
    if coding_of(estimator) is not None:
        return np.asarray
    return fit_scaling(numbers, "auto", "mse").apply


def refuse_categories(estimator: Any, display: str) -> None:
    """Raise an error if a display of images gets an estimator with categorical columns."""
    coding = coding_of(estimator)
    if coding is not None:
        raise ValueError(
            f"{display} draws rows as images, but {len(coding.columns)} of {coding.n_features}"
            " columns are categories. Use ContributionsDisplay or LatentMapDisplay."
        )


def _last(estimator: Any) -> Any:
    while isinstance(estimator, Pipeline):
        estimator = estimator[-1]
    return estimator
