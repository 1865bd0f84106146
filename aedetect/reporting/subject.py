"""The subject of a report: a detector, the rows, and their scores."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target

from aedetect.conformal import scores_and_p_values
from aedetect.plotting.images import check_image_shape, image_shape_of
from aedetect.plotting.rows import coding_of, in_order_of_fit, numbers_of
from aedetect.plotting.style import feature_names, labels_of, threshold_of
from aedetect.reasons import Way, differs, join, split, trace

SEED = 0  # of every random sample on the page
WIDEST = 300  # features of rows that are repaired: beyond that 20 rows may take a minute


class Repaired(NamedTuple):
    """Some rows with few values changed, so that they are normal."""

    rows: NDArray  # (n_rows, n_features), inputs of the detector
    is_changed: NDArray[np.bool_]  # (n_rows, n_features); nothing in rows that stay anomalies
    is_normal: NDArray[np.bool_]  # (n_rows,)


class Subject(NamedTuple):
    """A detector, the rows, and their scores.

    ``detector`` is the last step of a Pipeline and the detector inside a conformal one. ``rows``
    are its inputs, and ``numbers`` stand for them where methods take numbers alone.
    """

    name: str
    detector: Any
    conformal: Any  # the conformal detector around it, or None
    steps: Pipeline | None  # the transformers before it
    given: NDArray  # (n_samples, n_given_features), before the steps
    rows: NDArray  # (n_samples, n_features), after the steps
    numbers: NDArray  # (n_samples, n_columns), of the rows: a column for each level
    train_numbers: NDArray | None  # (n_train, n_columns), of the training rows
    way: Way | None  # through the steps, if each column can be traced back to one of X
    names: Sequence[str]  # of the detector's features
    row_names: Any  # a sequence of length n_samples: whole numbers or text
    row_numbers: Any  # the index of X if that is whole numbers, else 0, 1, ...
    y: NDArray | None  # classes, (n_samples,)
    scores: NDArray[np.float64]  # higher is more normal
    is_flagged: NDArray[np.bool_]
    offset: float | None  # lower scores are flagged; None if no single threshold decides
    p_values: NDArray[np.float64] | None
    image_shape: tuple[int, ...] | None

    @property
    def is_anomaly(self) -> NDArray[np.bool_] | None:
        """Whether each row is labelled an anomaly; None unless ``y`` holds +1 and -1, both."""
        if self.y is None or np.unique(self.y).tolist() != [-1, 1]:
            return None
        return self.y == -1

    @property
    def has_categories(self) -> bool:
        """Whether the detector has categorical columns."""
        return coding_of(self.detector) is not None

    @property
    def takes_feedback(self) -> bool:
        """Whether the detector can be told about known rows."""
        return hasattr(self.detector, "feedback")

    def ask(self, method: str, rows: NDArray) -> NDArray:
        """Return the result of a method of the detector for some of the rows."""
        return np.asarray(getattr(self.detector, method)(_named(self.detector, rows)))

    def top_rows(self, n_rows: int) -> NDArray[np.intp]:
        """Return the numbers of the most anomalous rows, the most anomalous first."""
        return np.argsort(self.scores, kind="stable")[:n_rows]

    def explain(self, top: NDArray[np.intp]) -> NDArray | None:
        """Return contributions ``(len(top), n_features)``, None if the detector has none."""
        if not hasattr(self.detector, "explain") or not hasattr(self.detector, "reconstruct"):
            return None
        return self.ask("explain", self.rows[top])

    def repair(self, top: NDArray[np.intp]) -> Repaired | None:
        """Return repaired rows, None if the detector cannot repair or the rows are very wide."""
        has_folds = self.conformal is not None and not hasattr(self.conformal, "estimator_")
        if not hasattr(self.detector, "repair") or self.offset is None or has_folds:
            return None
        if self.rows.shape[1] > WIDEST:
            return None
        detector = copy.copy(self.detector)
        detector.offset_ = self.offset  # of the conformal detector around it
        given = _named(detector, self.rows[top])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*could not be made normal")  # the page says so
            repaired = detector.repair(given)
        is_normal = detector.score_samples(repaired) >= self.offset
        rows = np.asarray(repaired)
        return Repaired(rows, differs(self.rows[top], rows) & is_normal[:, None], is_normal)

    @property
    def is_sum(self) -> bool:
        """Whether contributions of features add up to the score of a row."""
        fitted = getattr(self.detector, "detector_", None)
        return fitted is not None and fitted.is_sum


def sample_rows(n_rows: int, most: int) -> NDArray[np.intp]:
    """Return all row numbers below ``n_rows``, or a random sample of ``most`` of them."""
    if n_rows <= most:
        return np.arange(n_rows)
    return np.sort(np.random.RandomState(SEED).choice(n_rows, most, replace=False))


def examine(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike | None = None,
    *,
    X_train: ArrayLike | None = None,
    image_shape: tuple[int, ...] | None = None,
    row_names: Sequence[Any] | None = None,
) -> Subject:
    """Take the estimator apart and score the rows."""
    if not hasattr(estimator, "decision_function") or not hasattr(estimator, "predict"):
        raise TypeError(
            f"A report needs a detector that scores new rows, but {type(estimator).__name__} has no"
            " decision_function. LocalOutlierFactor has one with novelty=True."
        )
    labels = None if y is None else read_labels(y)
    if labels is not None:
        check_consistent_length(X, labels)
    if row_names is not None:
        check_consistent_length(X, row_names)
    steps, conformal, detector = _take_apart(estimator)
    if steps is None:
        X = in_order_of_fit(detector, X)
    if conformal is None:
        p_values, (scores, is_flagged, offset) = None, _judge(estimator, detector, X)
    else:
        scores, p_values = scores_and_p_values(conformal, _before_last(estimator, X))
        is_flagged, offset = scores < conformal.offset_, threshold_of(conformal)
    rows = np.asarray(X if steps is None else steps.transform(X))
    train_numbers = None
    if X_train is not None:
        _check_train(X_train, X)
        train_numbers = _numbers(detector, X_train if steps is None else steps.transform(X_train))
    given = np.asarray(X)
    names_of_rows = X.index if isinstance(X, pd.DataFrame) else range(len(rows))
    way = _way_back(steps, given, rows)
    return Subject(
        name=type(detector).__name__,
        detector=detector,
        conformal=conformal,
        steps=steps,
        given=given,
        rows=rows,
        numbers=_numbers(detector, rows),
        train_numbers=train_numbers,
        way=way,
        names=_names(detector, steps, way, X, rows.shape[1]),
        row_names=names_of_rows if row_names is None else row_names,
        row_numbers=names_of_rows if _are_whole(names_of_rows) else range(len(rows)),
        y=labels,
        scores=scores,
        is_flagged=is_flagged,
        offset=offset,
        p_values=p_values,
        image_shape=_image_shape(detector, rows.shape[1], image_shape),
    )


def _are_whole(index: Any) -> bool:
    return isinstance(index, range) or pd.api.types.is_integer_dtype(index.dtype)


def read_labels(
    y: ArrayLike, name: str = "y", remedy: str = "Where 1 marks anomalies, use 1 - 2 * y."
) -> NDArray:
    """Return valid labels: +1 and -1, or names or whole numbers of classes.

    Labels of 0 and 1 are an error: in other libraries 1 marks anomalies, here normal rows.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
    name : str, default="y"
        Name of the labels in error messages.
    remedy : str
        End of the message on labels of 0 and 1, and on real numbers.
    """
    labels = np.asarray(labels_of(column_or_1d(y)))
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"{name} holds NaN, for row {np.isnan(labels).argmax()} first. Drop it.")
    classes = np.unique(labels)
    is_number = labels.dtype.kind in "iuf"
    is_binary = labels.dtype == bool or (is_number and 0 in classes and set(classes) <= {0, 1})
    if is_binary or type_of_target(labels) == "continuous":
        raise ValueError(
            f"{name} must hold +1 for normal rows and -1 for anomalies, or names or whole numbers"
            f" of classes, but it holds {classes[:5].tolist()}. {remedy}"
        )
    return labels


def _judge(
    estimator: Any, last: Any, X: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_], float | None]:
    """Return scores, whether each row is flagged, and the threshold if there is one.

    A detector with an ``offset_`` scores the rows once; ``predict`` would score them again.
    """
    score = getattr(estimator, "score_samples", estimator.decision_function)
    scores = np.asarray(score(X), dtype=np.float64)
    offset = threshold_of(last)
    if offset is not None and hasattr(last, "score_samples"):
        return scores, scores < offset, offset
    is_flagged = np.asarray(estimator.predict(X)) == -1
    return scores, is_flagged, _boundary(scores, is_flagged)


def _take_apart(estimator: Any) -> tuple[Pipeline | None, Any, Any]:
    """Return the steps before a detector, the conformal detector around it, and itself."""
    steps: list[Any] = []
    conformal = None
    while True:
        before, estimator = split(estimator)
        steps.extend([] if before is None else [step for _, step in before.steps])
        if not hasattr(estimator, "calibration_scores_"):
            return join(steps), conformal, estimator
        conformal = estimator  # with folds it holds several detectors; the first stands for all
        estimator = getattr(estimator, "estimator_", None) or estimator.estimators_[0]


def _named(detector: Any, rows: NDArray) -> NDArray | pd.DataFrame:
    """Return rows with the names of the detector's features, if it has any."""
    names = getattr(detector, "feature_names_in_", None)
    return rows if names is None else pd.DataFrame(rows, columns=names)


def _numbers(detector: Any, X: ArrayLike) -> NDArray:
    rows = np.asarray(in_order_of_fit(detector, X))
    return numbers_of(detector, _named(detector, rows))


def _before_last(estimator: Any, X: ArrayLike) -> ArrayLike:
    """Return the rows that the last step of a Pipeline gets, in nested ones too."""
    while isinstance(estimator, Pipeline):
        X, estimator = estimator[:-1].transform(X), estimator[-1]
    return X


def _check_train(X_train: ArrayLike, X: ArrayLike) -> None:
    widths = np.shape(X_train)[1:], np.shape(X)[1:]
    if widths[0] != widths[1]:
        raise ValueError(
            f"X_train must have the columns of X, but their shapes are {np.shape(X_train)} and"
            f" {np.shape(X)}."
        )


def _boundary(scores: NDArray, is_flagged: NDArray) -> float | None:
    """Return the lowest score of the rows not flagged, if it separates them from the flagged."""
    if not is_flagged.any() or is_flagged.all():
        return None
    lowest_kept = scores[~is_flagged].min()
    return float(lowest_kept) if scores[is_flagged].max() < lowest_kept else None


def _image_shape(
    detector: Any, n_features: int, image_shape: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    shape = image_shape_of(detector, image_shape)
    if shape is None:
        return None
    check_image_shape(shape, n_features)
    drawable = len(shape) == 2 or shape[0] in (1, 3)
    return tuple(shape) if drawable else None


def _way_back(steps: Pipeline | None, given: NDArray, rows: NDArray) -> Way | None:
    """Return the way of columns through the steps, None if it cannot be traced back.

    Imputed cells have no value in ``X``, so steps that impute cannot be traced back.
    """
    if steps is not None and pd.isna(given).any() and not pd.isna(rows).any():
        return None
    return trace(steps, given.shape[1])


def _names(
    detector: Any, steps: Pipeline | None, way: Way | None, X: ArrayLike, n_features: int
) -> Sequence[str]:
    """Return the names of the detector's features."""
    if steps is None:
        return feature_names(X, detector, n_features)
    if way is not None:
        names = feature_names(X, steps[0], np.shape(X)[1])
        return [names[source] for source in way.sources]
    with contextlib.suppress(AttributeError, ValueError):  # a step without feature names
        return [str(name) for name in steps.get_feature_names_out()]
    return feature_names(None, detector, n_features)
