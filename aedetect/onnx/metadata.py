"""Columns and threshold in the metadata of a graph's file, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from aedetect.estimators.base import BaseAutoencoder
from aedetect.onnx.graphs import Decision
from aedetect.onnx.levels import coding_of, input_names, levels_of


def describe(
    first: BaseEstimator, last: BaseEstimator, strings: Collection[str], decision: Decision | None
) -> dict[str, str]:
    """Return the properties of a graph.

    Parameters
    ----------
    first, last : estimator
        The first and the last step.
    strings : collection of str
        Columns whose cells are text.
    decision : Decision or None
        None where the last step is no detector of this package.
    """
    properties = {"aedetect.columns": json.dumps(_columns(first, strings))}
    if decision is not None:
        properties["aedetect.threshold"] = json.dumps(_threshold(decision))
    if coding_of(last) is not None:
        properties["aedetect.levels"] = json.dumps(levels_of(last))
    return properties


def _columns(first: BaseEstimator, strings: Collection[str]) -> list[dict[str, Any]]:
    """Return name and type of each column of X in their order, and its levels if it has any."""
    levels = levels_of(first)
    columns = []
    for name in _names(first):
        column = {"name": name, "type": "string" if name in strings else "number"}
        columns.append({**column, "levels": levels[name]} if name in levels else column)
    return columns


def _names(first: BaseEstimator) -> list[str]:
    if isinstance(first, BaseAutoencoder):
        return input_names(first)
    numbered = [f"x{column}" for column in range(getattr(first, "n_features_in_", 0))]
    return [str(name) for name in getattr(first, "feature_names_in_", numbered)]


def _threshold(decision: Decision) -> dict[str, Any]:
    """Return the threshold and, of calibrated detectors, the largest share of false alarms."""
    offset, scores = decision.offset, decision.calibration_scores
    facts: dict[str, Any] = {"offset": offset if math.isfinite(offset) else None}
    if scores is None:
        return facts
    rank = int(np.searchsorted(np.sort(scores), offset, side="right"))
    n_places = len(scores) + decision.block_size
    false_alarms = rank and (rank - 1 + decision.block_size) / n_places
    return {**facts, "n_calibration": len(scores), "false_alarms": false_alarms}
