"""The columns of a table of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

FloatArray = NDArray[np.float64]


def compute_scores(model: Any, X: Any) -> FloatArray:
    """Return the scores ``(1, n_rows)`` of X, which may be empty; p-values as a second row.

    A :class:`~aedetect.ConformalDetector` has p-values.
    """
    is_calibrated = hasattr(model, "_scores_and_p_values")
    if not len(X):
        return np.empty((1 + is_calibrated, 0))
    if is_calibrated:
        return np.stack(model._scores_and_p_values(X))
    return np.asarray(model.score_samples(X), dtype=np.float64)[None]


def score_columns(scores: FloatArray, offset: float | None) -> dict[str, NDArray]:
    """Return the columns of the table by name, given what :func:`compute_scores` returns."""
    columns: dict[str, NDArray] = {"score": scores[0]}
    if offset is not None:
        columns["anomaly"] = scores[0] < offset
    if len(scores) > 1:
        columns["p_value"] = scores[1]
    return columns


def offset_of(model: Any) -> float | None:
    """Return the score below which rows are anomalies, if the model has one."""
    while isinstance(model, Pipeline):
        model = model[-1]
    return getattr(model, "offset_", None)


def takes_names(model: Any) -> bool:
    """Return whether a model was fitted to columns with names."""
    return hasattr(model, "feature_names_in_")
