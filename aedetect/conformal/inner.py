"""Any outlier detector: its seeds, and its scores in one direction."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing, column_or_1d

from aedetect.estimators.fitting import draw_seed
from aedetect.places import PlaceError, rows_of
from aedetect.scoring import FloatArray


def resolve_direction(detector: Any, higher_is_normal: bool | Literal["auto"]) -> bool:
    """Return whether high scores are normal; refuse a detector that cannot score new rows."""
    kind = type(detector).__name__
    if hasattr(detector, "score_samples"):
        return higher_is_normal is not False
    if not hasattr(detector, "decision_function"):
        raise ValueError(
            f"estimator needs score_samples or decision_function for new rows, but {kind} has"
            " neither. LocalOutlierFactor has them with novelty=True."
        )
    if higher_is_normal == "auto":
        raise ValueError(
            f"higher_is_normal='auto' needs score_samples, but {kind} has decision_function alone,"
            " whose direction is not known. Use higher_is_normal=False for PyOD's, where high"
            " scores are anomalies, and True for scikit-learn's."
        )
    return higher_is_normal


def set_seeds(detector: Any, random_state: np.random.RandomState) -> Any:
    """Return the detector, its generators seeded where it leaves them to chance."""
    for name, value in sorted(detector.get_params().items()):
        if value is None and name.split("__")[-1] == "random_state":
            detector.set_params(**{name: draw_seed(random_state)})
    return detector


def fit_rows(detector: Any, X: ArrayLike, rows: NDArray[np.intp]) -> Any:
    """Return the detector, fitted to some of the rows; errors name them by their number in X."""
    with rows_of(rows):
        return detector.fit(_safe_indexing(X, rows), None)  # FrozenEstimator asks for y


def score_rows(detector: Any, X: ArrayLike, *, higher_is_normal: bool) -> FloatArray:
    """Return the scores of rows, turned so that higher is more normal: finite, float64."""
    method = getattr(detector, "score_samples", None) or detector.decision_function
    scores = column_or_1d(np.asarray(method(X), dtype=np.float64))
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores))[0])
        error = PlaceError(
            f"The score of row {{row}} by {type(detector).__name__} is NaN, which cannot be"
            " compared. Remove the row, or look for what the detector cannot take in it.",
            row=row,
        )
        error.name(X)
        raise error
    largest = np.finfo(np.float64).max
    scores = np.clip(scores, -largest, largest)  # KernelDensity gives -inf: odder than all others
    return scores if higher_is_normal else -scores
