"""Seed, fit and score an outlier detector of any library."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, column_or_1d

from aedetect.estimators.base import BaseAutoencoder
from aedetect.estimators.memo import autoencoders_in, open_memo, rehearse, with_memo
from aedetect.estimators.splitting import draw_seed
from aedetect.places import PlaceError, rows_of
from aedetect.reasons.pipelines import split
from aedetect.scoring import FloatArray
from aedetect.series import WindowTransformer
from aedetect.training import resolve_devices


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
            " which has no fixed direction. Use higher_is_normal=False for PyOD, where high"
            " scores are anomalies, and True for scikit-learn."
        )
    return higher_is_normal


def check_rows_remain(detector: Any) -> None:
    """Refuse a detector that makes windows of rows: rows could not be held out from it."""
    steps, _ = split(detector)
    if steps is not None and any(isinstance(step, WindowTransformer) for _, step in steps.steps):
        raise ValueError(
            "estimator must give each row one score, but a WindowTransformer changes their number."
            " Put it before: make_pipeline(WindowTransformer(width), ConformalDetector(estimator,"
            " block_size=2 * width))."
        )


def set_seeds(detector: Any, random_state: np.random.RandomState) -> Any:
    """Draw a seed for each ``random_state`` of the detector that is None; return the detector."""
    for name, value in sorted(detector.get_params().items()):
        if value is None and name.split("__")[-1] == "random_state":
            detector.set_params(**{name: draw_seed(random_state)})
    return detector


def set_clean(detector: Any) -> Any:
    """Set ``contamination=0`` where it is "auto"; return the detector.

    Of an estimator of this package, also as the last step of a Pipeline: the rows of a
    ConformalDetector are normal.
    """
    last = last_step(detector)
    if isinstance(last, BaseAutoencoder) and last.contamination == "auto":
        last.set_params(contamination=0)
    return detector


def uses_labels(detector: Any) -> bool:
    """Return whether the detector, or the last step of a Pipeline, is to use labels."""
    last = last_step(detector)
    return isinstance(last, BaseAutoencoder) and last.labels == "use"


def last_step(detector: Any) -> Any:
    """Return the last step of a Pipeline; any other detector is its own."""
    while isinstance(detector, Pipeline):
        detector = detector[-1]
    return detector


def with_feedback(detector: Any, X: ArrayLike, labels: ArrayLike) -> Any:
    """Return a copy of the fitted detector that knows some rows; see ``feedback``."""
    detector = copy.deepcopy(detector)
    last, rows = detector, X
    while isinstance(last, Pipeline):
        last, rows = last[-1], last[:-1].transform(rows)
    last.feedback(rows, labels)
    return detector


def fit_folds(
    detector: Any, X: ArrayLike, folds: Sequence[NDArray[np.intp]], y: NDArray | None = None
) -> list[Any]:
    """Return clones of the detector, fitted to the rows of each fold.

    Networks of estimators of this package are trained side by side where they allow it.
    """
    if len(folds) == 1 or not autoencoders_in(detector):
        return [_fit_rows(clone(detector), X, y, rows) for rows in folds]
    with open_memo() as memo:
        detector = with_memo(detector, memo)
        memo.train(
            rehearse(clone(detector), _safe_indexing(X, rows), _of_rows(y, rows)) for rows in folds
        )
        return [_fit_rows(clone(detector), X, y, rows) for rows in folds]


def move_detectors(detectors: Sequence[Any], device: Any) -> None:
    """Move the estimators of this package in fitted detectors to a device: all, or none."""
    inner = [d.estimator if isinstance(d, FrozenEstimator) else d for d in detectors]
    found = [autoencoder for detector in inner for autoencoder in autoencoders_in(detector)]
    if not found:
        raise TypeError(
            f"to moves estimators of aedetect, but the inner detector is {type(inner[0]).__name__}."
        )
    targets = resolve_devices(device)
    moved = [autoencoder.detector_.to(*targets) for autoencoder in found]
    for autoencoder, fitted in zip(found, moved, strict=True):
        autoencoder.detector_ = fitted


def _fit_rows(detector: Any, X: ArrayLike, y: NDArray | None, rows: NDArray[np.intp]) -> Any:
    """Fit the detector to some rows of ``X``; errors name a row by its number in ``X``."""
    with rows_of(rows):
        # FrozenEstimator asks for y.
        return detector.fit(_safe_indexing(X, rows), _of_rows(y, rows))


def _of_rows(y: NDArray | None, rows: NDArray[np.intp]) -> NDArray | None:
    return None if y is None else y[rows]


def score_held_out(
    detectors: Sequence[Any],
    X: ArrayLike,
    held_out: Sequence[NDArray[np.intp]],
    *,
    higher_is_normal: bool,
) -> list[FloatArray]:
    """Return the scores that each detector gives to its own held-out rows of ``X``."""
    scores = []
    for detector, rows in zip(detectors, held_out, strict=True):
        with rows_of(rows):
            subset = _safe_indexing(X, rows)
            scores.append(score_rows(detector, subset, higher_is_normal=higher_is_normal))
    return scores


def score_rows(detector: Any, X: ArrayLike, *, higher_is_normal: bool) -> FloatArray:
    """Return finite scores of rows, negated if need be so that higher is more normal."""
    method = getattr(detector, "score_samples", None) or detector.decision_function
    scores = column_or_1d(np.asarray(method(X), dtype=np.float64))
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores))[0])
        error = PlaceError(
            f"The score of row {{row}} by {type(detector).__name__} is NaN, and NaN cannot be"
            " compared with other scores. Remove the row, or change the values that the detector"
            " cannot handle.",
            row=row,
        )
        error.name(X)
        raise error
    largest = np.finfo(np.float64).max
    scores = np.clip(scores, -largest, largest)  # KernelDensity gives -inf to remote rows
    return scores if higher_is_normal else -scores
