"""Reasons for anomalies through the steps before a detector, in the units that went in."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import _safe_indexing

Columns = NDArray[np.intp]


def explain(model: Any, X: ArrayLike) -> NDArray[np.float64] | pd.DataFrame:
    """Return how much each feature adds to the anomaly of each row, through a Pipeline too.

    Parameters
    ----------
    model : object
        A fitted estimator of this package, a :class:`~aedetect.ConformalDetector` around one, a
        Pipeline that ends in one of these, or a search for one.
    X : array-like of shape (n_samples, n_features)
        Rows as ``model`` takes them.

    Returns
    -------
    contributions : ndarray or DataFrame of shape (n_samples, n_features), float64
        What ``explain`` of the detector returns. Each number is put to the column of ``X`` that it
        belongs to; columns that do not reach the detector get 0. A DataFrame comes back as one.

        Where a step before the detector mixes columns (PCA), makes several of one
        (OneHotEncoder) or cannot be undone, the columns are those that the detector sees.

    Raises
    ------
    TypeError
        If the detector is not one of this package.

    Warns
    -----
    UserWarning
        If the columns are those that the detector sees.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import RobustScaler
    >>> from aedetect import DenoisingAutoencoder, explain
    >>> X, _ = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(RobustScaler(), DenoisingAutoencoder(random_state=0)).fit(X[:-1])
    >>> explain(model, X[-1:].assign(flavanoids=9.0)).idxmax(axis="columns").item()
    'flavanoids'
    """
    contributions, is_given = explain_given(model, X)
    if not is_given:
        warn_of_columns("contributions")
    return contributions


def repair(model: Any, X: ArrayLike) -> NDArray | pd.DataFrame:
    """Return the nearest normal version of every row, with few features changed.

    Parameters
    ----------
    model : object
        As for :func:`explain`. A :class:`~aedetect.ConformalDetector` has its own threshold, within
        which rows are brought.
    X : array-like of shape (n_samples, n_features)
        Rows as ``model`` takes them.

    Returns
    -------
    X_repaired : ndarray or DataFrame of shape (n_samples, n_features)
        The changed values in the units of ``X``; all others are those of ``X`` bit for bit. A
        DataFrame comes back as one.

        Where a step before the detector cannot be undone, they are the rows that the detector sees.

    Raises
    ------
    TypeError
        If the detector is not one of this package.
    ValueError
        If the model is a ConformalDetector with ``cv``.

    Warns
    -----
    UserWarning
        If the rows are those that the detector sees, or if rows could not be made normal.
    """
    repaired, is_given = repair_given(model, X)
    if not is_given:
        warn_of_columns("repaired rows")
    return repaired


def explain_given(model: Any, X: ArrayLike) -> tuple[NDArray[np.float64] | pd.DataFrame, bool]:
    """Return contributions, and whether their columns are those of ``X``.

    Those of a calibrated detector are its detectors' mean.
    """
    steps, detector = split(model)
    if hasattr(detector, "calibration_scores_"):
        models = [_after(steps, inner) for inner in detector.estimators_]
        explanations, is_given = zip(*(explain_given(inner, X) for inner in models), strict=True)
        return sum(explanations[1:], explanations[0]) / len(models), all(is_given)
    check_gives_reasons(detector)
    if steps is None:
        return detector.explain(X), True
    rows = steps.transform(X)
    parts, way = np.asarray(detector.explain(rows)), trace(steps, np.shape(X)[1])
    if way is None:
        return _as_seen(steps, X, parts), False
    contributions = np.zeros(np.shape(X))
    contributions[:, way.sources] = parts
    if isinstance(X, pd.DataFrame):
        return pd.DataFrame(contributions, index=X.index, columns=X.columns), True
    return contributions, True


def repair_given(
    model: Any, X: ArrayLike, offset: float | None = None
) -> tuple[NDArray | pd.DataFrame, bool]:
    """Return repaired rows, and whether their columns are those of ``X``.

    With an ``offset`` it takes the place of the detector's own threshold.
    """
    steps, detector = split(model)
    if hasattr(detector, "calibration_scores_"):
        check_gives_reasons(split(detector.estimators_[0])[1])
        inner = _sole_detector(detector)
        return repair_given(_after(steps, inner), X, detector.offset_ if offset is None else offset)
    check_gives_reasons(detector)
    if offset is not None:
        detector = copy.copy(detector)
        detector.offset_ = offset
    if steps is None:
        return detector.repair(X), True
    rows = steps.transform(X)
    repaired = detector.repair(rows)
    way = trace(steps, np.shape(X)[1])
    if way is None:
        return _as_seen(steps, X, np.asarray(repaired)), False
    before, after = np.asarray(rows, dtype=np.float64), np.asarray(repaired, dtype=np.float64)
    changed = (after != before) & ~np.isnan(after)
    result = _put_back(X, way.sources, changed, way.undo(after))
    _check_put_back(detector, steps, repaired, result)
    return result, True


def warn_of_columns(kind: str) -> None:
    """Tell the caller of the caller that columns are not those of X."""
    warnings.warn(
        f"The steps before the detector cannot be undone column by column: the {kind} are of the"
        " columns that the detector sees, which get_feature_names_out of these steps names.",
        stacklevel=3,
    )


def _after(steps: Pipeline | None, detector: Any) -> Any:
    return detector if steps is None else Pipeline([*steps.steps, ("detector", detector)])


def _sole_detector(calibrated: Any) -> Any:
    """Return the detector that a calibrated one holds, unless there are several."""
    if not hasattr(calibrated, "estimator_"):
        raise ValueError(
            f"With cv={calibrated.cv!r} there is one inner detector a fold, but repair can use one"
            " alone. Use cv=None."
        )
    return calibrated.estimator_


def gives_reasons(model: Any) -> bool:
    """Return whether a model, fitted or not, ends in a detector that explains and repairs."""
    detector = split(model)[1]
    return hasattr(detector, "explain") and hasattr(detector, "repair")


def check_gives_reasons(detector: Any) -> None:
    """Refuse a detector that is not one of ours."""
    if not gives_reasons(detector):
        raise TypeError(
            "Reasons need an estimator of aedetect, a ConformalDetector around one, or a Pipeline"
            f" that ends in one of these, but the detector here is {type(detector).__name__}. Fit"
            " DenoisingAutoencoder, for example, to the rows that it was fitted to."
        )


# What comes before a detector.


def found(model: Any) -> Any:
    """Return the best estimator of a search, and the one that is frozen."""
    model = getattr(model, "best_estimator_", model)
    return model.estimator if isinstance(model, FrozenEstimator) else model


def split(model: Any) -> tuple[Pipeline | None, Any]:
    """Return the transformers before a detector in one Pipeline, None without any, and itself."""
    steps: list[Any] = []
    model = found(model)
    while isinstance(model, Pipeline):
        steps.extend(step for _, step in model.steps[:-1])
        model = found(model[-1])
    return join(steps), model


def join(steps: list[Any]) -> Pipeline | None:
    """Return transformers as one Pipeline, None without any."""
    named = [(f"{i}-{type(step).__name__.lower()}", step) for i, step in enumerate(steps)]
    return Pipeline(named) if named else None


class Way(NamedTuple):
    """How the columns that leave a transformer come from those that enter it, one from one."""

    sources: Columns  # (n_out,), numbers of the columns that enter
    undo: Callable[[NDArray], NDArray]  # leaving values (rows, n_out) as the entering ones, so too


def trace(step: Any, n_columns: int) -> Way | None:
    """Return the way through a fitted transformer, None if it cannot be undone column by column."""
    step = found(step)
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return _unchanged(np.arange(n_columns))
    if isinstance(step, str):  # "drop"
        return _unchanged(np.arange(0))
    if isinstance(step, Pipeline):
        return _trace_pipeline(step, n_columns)
    if isinstance(step, ColumnTransformer):
        return _trace_columns(step, n_columns)
    if isinstance(step, FunctionTransformer) and (step.func is None or step.inverse_func is None):
        return _unchanged(np.arange(n_columns)) if step.func is None else None
    if isinstance(step, SelectorMixin):
        return _unchanged(step.get_support(indices=True))
    return _trace_names(step, n_columns)


def _unchanged(sources: Columns) -> Way:
    return Way(sources, lambda values: values)


def _trace_names(step: Any, n_columns: int) -> Way | None:
    """Return the way through a transformer that keeps the names of its columns."""
    entering = list(getattr(step, "feature_names_in_", [f"x{i}" for i in range(n_columns)]))
    with contextlib.suppress(AttributeError, ValueError):  # no names
        leaving = list(step.get_feature_names_out(entering))
        if isinstance(step, SimpleImputer) and set(leaving) <= set(entering):
            return _unchanged(np.array([entering.index(name) for name in leaving], dtype=np.intp))
        if leaving == entering and hasattr(step, "inverse_transform"):
            return Way(
                np.arange(n_columns), lambda values: np.asarray(step.inverse_transform(values))
            )
    return None


def _trace_pipeline(pipeline: Pipeline, n_columns: int) -> Way | None:
    way = _unchanged(np.arange(n_columns))
    for _, step in pipeline.steps:
        following = trace(step, len(way.sources))
        if following is None:
            return None
        way = _joined(way, following)
    return way


def _joined(first: Way, second: Way) -> Way:
    def undo(values: NDArray) -> NDArray:
        whole = np.zeros((len(values), len(first.sources)))  # 0 in columns that were dropped
        whole[:, second.sources] = second.undo(values)
        return first.undo(whole)[:, second.sources]

    return Way(first.sources[second.sources], undo)


def _trace_columns(transformer: ColumnTransformer, n_columns: int) -> Way | None:
    """Return the way through a ColumnTransformer whose parts share no column."""
    names = getattr(transformer, "feature_names_in_", range(n_columns))
    numbers = pd.DataFrame([np.arange(n_columns)], columns=names)
    n_out = max(place.stop for place in transformer.output_indices_.values())
    sources, parts = np.full(n_out, -1), []
    for name, step, columns in transformer.transformers_:
        chosen = [columns] if np.ndim(columns) == 0 and not _is_slice(columns) else columns
        entering = _safe_indexing(numbers, chosen, axis=1).to_numpy()[0]
        way = trace(step if len(entering) else "drop", len(entering))
        place = transformer.output_indices_[name]
        if way is None or len(way.sources) != place.stop - place.start:
            return None
        sources[place] = entering[way.sources]
        parts.append((place, way))
    if len(np.unique(sources)) < n_out:
        return None  # two columns of one: which one would tell what its value was?

    def undo(values: NDArray) -> NDArray:
        return np.concatenate([way.undo(values[:, place]) for place, way in parts], axis=1)

    parts.sort(key=lambda part: part[0].start)
    return Way(sources, undo)


def _is_slice(columns: Any) -> bool:
    return isinstance(columns, slice)


# Back to the rows that were given.


def _as_seen(steps: Pipeline, X: ArrayLike, values: NDArray) -> NDArray | pd.DataFrame:
    """Return values of the columns that the detector sees, with their names for a DataFrame."""
    if not isinstance(X, pd.DataFrame):
        return values
    names = None
    with contextlib.suppress(AttributeError, ValueError):  # a step that names no columns
        names = steps.get_feature_names_out()
    return pd.DataFrame(values, index=X.index, columns=names)


def _put_back(
    X: ArrayLike, sources: Columns, changed: NDArray[np.bool_], values: NDArray
) -> NDArray | pd.DataFrame:
    """Return ``X`` with its changed cells; only columns that hold one may change their type."""
    if not isinstance(X, pd.DataFrame):
        result = np.array(X)
        if result.dtype.kind not in "fO":
            result = result.astype(np.float64)
        for column, cells, new in zip(sources, changed.T, values.T, strict=True):
            result[cells, column] = new[cells]
        return result
    columns = [X.iloc[:, i] for i in range(X.shape[1])]
    for column, cells, new in zip(sources, changed.T, values.T, strict=True):
        if cells.any():
            old = columns[column].to_numpy()
            mended = old.astype(old.dtype if old.dtype.kind in "fO" else np.float64)
            mended[cells] = new[cells]
            columns[column] = pd.Series(mended, index=X.index)
    frame = pd.concat(columns, axis=1)
    frame.columns = X.columns
    return frame


def _check_put_back(detector: Any, steps: Pipeline, repaired: Any, result: Any) -> None:
    """Warn of rows that are anomalies again, once the steps are applied to what undoes them."""
    normal = detector.predict(repaired) == 1
    again = int((detector.predict(steps.transform(result))[normal] == -1).sum())
    if again:
        warnings.warn(
            f"{again} of {len(normal)} repaired rows are anomalies again in the units of X: a step"
            " before the detector rounds, so it cannot be undone exactly. Look at them with"
            " explain, or leave that step out.",
            stacklevel=4,
        )
