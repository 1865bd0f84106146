"""Trace the columns that a detector sees back to the columns of X."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import _safe_indexing

from aedetect.reasons.pipelines import unwrap

Columns = NDArray[np.intp]


class Way(NamedTuple):
    """Inverse of a fitted transformer, each of whose output columns comes from one input column."""

    sources: Columns  # (n_out,), the number of the input column of each output column
    undo: Callable[[NDArray], NDArray]  # outputs (rows, n_out) -> their inputs (rows, n_out)


def trace(step: Any, n_columns: int) -> Way | None:
    """Return the way back through a fitted transformer with ``n_columns`` input columns.

    None if the transformer mixes columns, repeats one, or has no inverse.
    """
    step = unwrap(step)
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return _unchanged(np.arange(n_columns))
    if isinstance(step, str):  # "drop"
        return _unchanged(np.arange(0))
    if isinstance(step, Pipeline):
        return _trace_pipeline(step, n_columns)
    if isinstance(step, ColumnTransformer):
        return _trace_column_transformer(step, n_columns)
    if isinstance(step, FunctionTransformer) and step.func is None:
        return _unchanged(np.arange(n_columns))
    if isinstance(step, FunctionTransformer) and step.inverse_func is None:
        return None
    if isinstance(step, SelectorMixin):
        return _unchanged(step.get_support(indices=True))
    return _trace_by_names(step, n_columns)


def as_detector_columns(steps: Pipeline, X: ArrayLike, values: NDArray) -> NDArray | pd.DataFrame:
    """Return values of the columns that the detector sees: a DataFrame if ``X`` is one."""
    if not isinstance(X, pd.DataFrame):
        return values
    names = None
    with contextlib.suppress(AttributeError, ValueError):  # a step without output names
        names = steps.get_feature_names_out()
    index = X.index if len(values) == len(X) else None  # windows are no rows of X
    return pd.DataFrame(values, index=index, columns=names)


def _unchanged(sources: Columns) -> Way:
    return Way(sources, lambda values: values)


def _trace_by_names(step: Any, n_columns: int) -> Way | None:
    """Return the way back through a transformer whose columns keep their names."""
    inputs = list(getattr(step, "feature_names_in_", [f"x{i}" for i in range(n_columns)]))
    with contextlib.suppress(AttributeError, ValueError):  # a step without output names
        outputs = list(step.get_feature_names_out(inputs))
        if isinstance(step, SimpleImputer) and set(outputs) <= set(inputs):
            return _unchanged(np.array([inputs.index(name) for name in outputs], dtype=np.intp))
        if outputs == inputs and hasattr(step, "inverse_transform"):
            return Way(
                np.arange(n_columns),
                lambda values: np.asarray(step.inverse_transform(_as_numbers(values))),
            )
    return None


def _as_numbers(values: NDArray) -> NDArray:
    """Return cells that a table with levels holds as objects as floats, if all are numbers."""
    kinds = set(map(type, values.flat)) if values.dtype == object else set()
    if not kinds or any(kind is bool or not issubclass(kind, Real) for kind in kinds):
        return values
    return values.astype(np.float64)


def _trace_pipeline(pipeline: Pipeline, n_columns: int) -> Way | None:
    way = _unchanged(np.arange(n_columns))
    for _, step in pipeline.steps:
        following = trace(step, len(way.sources))
        if following is None:
            return None
        way = _compose(way, following)
    return way


def _compose(first: Way, second: Way) -> Way:
    """Return the way back through two transformers, of which ``first`` was applied first."""

    def undo(values: NDArray) -> NDArray:
        undone = second.undo(values)
        between = np.zeros((len(values), len(first.sources)), undone.dtype)
        between[:, second.sources] = undone  # 0 in columns that second drops
        return first.undo(between)[:, second.sources]

    return Way(first.sources[second.sources], undo)


def _trace_column_transformer(transformer: ColumnTransformer, n_columns: int) -> Way | None:
    """Return the way back through a ColumnTransformer that uses no column twice."""
    names = getattr(transformer, "feature_names_in_", range(n_columns))
    numbers = pd.DataFrame([np.arange(n_columns)], columns=names)
    n_out = max(outputs.stop for outputs in transformer.output_indices_.values())
    sources = np.full(n_out, -1)
    ways: list[tuple[slice, Way]] = []
    for name, step, columns in transformer.transformers_:
        is_single = np.ndim(columns) == 0 and not isinstance(columns, slice)
        selected = [columns] if is_single else columns
        inputs = _safe_indexing(numbers, selected, axis=1).to_numpy()[0]
        way = trace(step if len(inputs) else "drop", len(inputs))
        outputs = transformer.output_indices_[name]
        if way is None or len(way.sources) != outputs.stop - outputs.start:
            return None
        sources[outputs] = inputs[way.sources]
        ways.append((outputs, way))
    if len(np.unique(sources)) < n_out:
        return None  # two output columns could give different values to one input column
    ways.sort(key=lambda pair: pair[0].start)

    def undo(values: NDArray) -> NDArray:
        return np.concatenate([way.undo(values[:, outputs]) for outputs, way in ways], axis=1)

    return Way(sources, undo)
