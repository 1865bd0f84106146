"""Repair anomalies in the columns and units of X."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import is_bool_dtype
from sklearn.pipeline import Pipeline

from aedetect.estimators.frames import CATEGORICAL, in_dtype, with_cells
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
        The changed values in the units of ``X``, and changed levels; all others are those of ``X``
        bit for bit. A DataFrame if ``X`` is one.

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

    References
    ----------
    C. M. A. Roelofs, M.-A. Lutz, S. Faulstich & S. Vogt, "Autoencoder-based anomaly root cause
    analysis for wind turbines", Energy and AI, 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import RobustScaler
    >>> from aedetect import DenoisingAutoencoder, repair
    >>> X, _ = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(RobustScaler(), DenoisingAutoencoder(random_state=0)).fit(X[:-1])
    >>> odd = X[-1:].assign(flavanoids=9.0)
    >>> repaired = repair(model, odd)
    >>> bool(repaired["flavanoids"].item() < 9)
    True
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
    before, after = _cells_of(rows), _cells_of(repaired)
    is_changed = differs(before, after)
    result = _put_back_in(X)(X, way.sources, is_changed, way.undo(after))
    _warn_of_rounding(detector, repaired, steps.transform(result))
    return result, True


def differs(before: NDArray, after: NDArray) -> NDArray[np.bool_]:
    """Return which cells differ; two missing ones do not."""
    missing_before, missing_after = pd.isna(before), pd.isna(after)
    changed = missing_before != missing_after
    both = ~(missing_before | missing_after)
    changed[both] = before[both] != after[both]
    return changed


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
            f"repair needs one inner detector, but with cv={detector.cv!r} there is one for each"
            " fold. Use cv=None."
        )
    steps, inner = _resolve(append(steps, detector.estimator_))
    inner = copy.copy(inner)
    inner.offset_ = detector.offset_
    return steps, inner


def _put_back_in(X: Any) -> Callable[..., Any]:
    if isinstance(X, pd.DataFrame):
        return _put_in_frame
    return _put_in_other_frame if nw.dependencies.is_into_dataframe(X) else _put_in_array


def _cells_of(rows: ArrayLike) -> NDArray:
    """Return rows as float64, or as objects where there are levels."""
    cells = np.asarray(rows)
    return cells.astype(np.float64 if cells.dtype.kind in "iuf" else object)


def _put_in_array(
    X: ArrayLike, sources: Columns, is_changed: NDArray[np.bool_], values: NDArray
) -> NDArray:
    """Return ``X`` with the changed values in the columns ``sources``."""
    result = np.array(X)
    if result.dtype.kind not in "fO":
        result = result.astype(object if result.dtype.kind == "U" else np.float64)
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
            columns[column] = _put_in_column(columns[column], cells, new[cells])
    frame = pd.concat(columns, axis=1)
    frame.columns = X.columns
    return frame


def _put_in_other_frame(
    X: Any, sources: Columns, is_changed: NDArray[np.bool_], values: NDArray
) -> Any:
    frame = nw.from_native(X, eager_only=True)
    columns = [
        with_cells(frame[:, int(column)], new.tolist(), cells)
        for column, cells, new in zip(sources, is_changed.T, values.T, strict=True)
        if cells.any()
    ]
    return frame.with_columns(*columns).to_native()


def _put_in_column(old: pd.Series, cells: NDArray[np.bool_], new: NDArray) -> pd.Series:
    """Return a column with new values; whole numbers become real ones, levels keep their dtype."""
    are_levels = isinstance(old.dtype, CATEGORICAL) and not (
        is_bool_dtype(old.dtype) and any(isinstance(value, float) for value in new)
    )
    repaired = old.to_numpy()
    kept = repaired.dtype if repaired.dtype.kind in "fO" else np.float64
    repaired = repaired.astype(object if are_levels else kept)
    repaired[cells] = new
    column = pd.Series(repaired, index=old.index)
    return in_dtype(column, old.dtype) if are_levels else column


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
