"""Separate a model into its transformers and its detector."""

from __future__ import annotations

from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline


def split(model: Any) -> tuple[Pipeline | None, Any]:
    """Return all transformers before the detector as one Pipeline, or None, and the detector."""
    steps: list[Any] = []
    model = unwrap(model)
    while isinstance(model, Pipeline):
        steps.extend(step for _, step in model.steps[:-1])
        model = unwrap(model[-1])
    return join(steps), model


def join(steps: list[Any]) -> Pipeline | None:
    """Return fitted transformers as one Pipeline, or None if there are none."""
    named = [(f"{i}-{type(step).__name__.lower()}", step) for i, step in enumerate(steps)]
    return Pipeline(named) if named else None


def append(steps: Pipeline | None, detector: Any) -> Any:
    """Return the transformers and the detector behind them as one model."""
    return detector if steps is None else Pipeline([*steps.steps, ("detector", detector)])


def unwrap(model: Any) -> Any:
    """Return the best estimator of a search, without a FrozenEstimator around it."""
    model = getattr(model, "best_estimator_", model)
    return model.estimator if isinstance(model, FrozenEstimator) else model
