"""Repair anomalies in the columns and units of X."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

from aedetect.reasons.columns import Columns, as_detector_columns, trace
from aedetect.reasons.explaining import check_gives_reasons, warn_of_columns
from aedetect.reasons.pipelines import append, split


def repair(model: Any, X: ArrayLike) -> NDArray | pd.DataFrame:
    """Return the nearest normal version of every row, with few features changed.

    Parameters
    ----------
    model : object
        As for :func:`explain`. A :class:`~aedetect.ConformalDetector` uses its own threshold, not
        that of its inner detector.
    X : array-like of shape (n_samples, n_features)
        Rows in the form that ``model`` takes.

    Returns
    -------
    X_repaired : ndarray or DataFrame of shape (n_samples, n_features)
        The changed values in the units of ``X``; all others are those of ``X`` bit for bit. A
        DataFrame if ``X`` is one.

        Where a step before the detector has no inverse, the rows that the detector sees, repaired.

    Raises
    ------
    TypeError
        If the detector is not one of this package.
    ValueError
        If the model is a ConformalDetector with ``cv``.

    Warns
    -----
    UserWarning
        If the columns are those that the detector sees, or if rows could not be made normal.
    """
    repaired, is_traced = repair_traced(model, X)
    if not is_traced:
        warn_of_columns("repaired rows")
    return repaired


def repair_traced(model: Any, X: ArrayLike) -> tuple[NDArray | pd.DataFrame, bool]:
    """Return repaired rows, and whether they were traced back to the columns of ``X``."""
    steps, detector = _resolve(model)
    if steps is None:
        return detector.repair(X), True
    rows = steps.transform(X)
    repaired = detector.repair(rows)
    way = trace(steps, np.shape(X)[1])
    if way is None:
        return as_detector_columns(steps, X, np.asarray(repaired)), False
    before, after = np.asarray(rows, dtype=np.float64), np.asarray(repaired, dtype=np.float64)
    is_changed = (after != before) & ~np.isnan(after)
    put_back: Callable[..., Any] = _put_in_frame if isinstance(X, pd.DataFrame) else _put_in_array
    result = put_back(X, way.sources, is_changed, way.undo(after))
    _warn_of_rounding(detector, repaired, steps.transform(result))
    return result, True


def _resolve(model: Any) -> tuple[Pipeline | None, Any]:
    """Return the transformers of a model and its innermost detector, with the outermost threshold.

    The detector is a copy if its threshold is not its own.
    """
    steps, detector = split(model)
    if not hasattr(detector, "calibration_scores_"):
        check_gives_reasons(detector)
        return steps, detector
    check_gives_reasons(split(detector.estimators_[0])[1])
    if not hasattr(detector, "estimator_"):
        raise ValueError(
            f"repair needs one inner detector, but with cv={detector.cv!r} there is one a fold. Use"
            " cv=None."
        )
    steps, inner = _resolve(append(steps, detector.estimator_))
    inner = copy.copy(inner)
    inner.offset_ = detector.offset_
    return steps, inner


def _put_in_array(
    X: ArrayLike, sources: Columns, is_changed: NDArray[np.bool_], values: NDArray
) -> NDArray:
    """Return ``X`` with the changed values in the columns ``sources``."""
    result = np.array(X)
    if result.dtype.kind not in "fO":
        result = result.astype(np.float64)
    for column, cells, new in zip(sources, is_changed.T, values.T, strict=True):
        result[cells, column] = new[cells]
    return result


def _put_in_frame(
    X: pd.DataFrame, sources: Columns, is_changed: NDArray[np.bool_], values: NDArray
) -> pd.DataFrame:
    """Return ``X`` with the changed values; columns without one keep their dtype."""
    columns = [X.iloc[:, i] for i in range(X.shape[1])]
    for column, cells, new in zip(sources, is_changed.T, values.T, strict=True):
        if cells.any():
            old = columns[column].to_numpy()
            repaired = old.astype(old.dtype if old.dtype.kind in "fO" else np.float64)
            repaired[cells] = new[cells]
            columns[column] = pd.Series(repaired, index=X.index)
    frame = pd.concat(columns, axis=1)
    frame.columns = X.columns
    return frame


def _warn_of_rounding(detector: Any, repaired: ArrayLike, again: ArrayLike) -> None:
    """Warn of repaired rows that are anomalies after a round trip through the steps."""
    is_normal = detector.predict(repaired) == 1
    n_flagged = int((detector.predict(again)[is_normal] == -1).sum())
    if n_flagged:
        warnings.warn(
            f"{n_flagged} of {len(is_normal)} repaired rows are anomalies again in the units of X:"
            " a step before the detector rounds, so it cannot be undone exactly. Look at them with"
            " explain, or leave that step out.",
            stacklevel=4,  # the caller of repair
        )
