"""Fingerprint of a fit, which tells whether a checkpoint may resume it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from aedetect.estimators.parameters import TRAINING, WEIGHTS, names_that
from aedetect.model import Columns, row_blocks
from aedetect.rows import Reader

if TYPE_CHECKING:
    from aedetect.estimators.base import BaseAutoencoder


def describe(estimator: BaseAutoencoder, names: Iterable[str]) -> dict[str, str]:
    """Return the parameters among ``names`` that the estimator has, as text for comparison."""
    values = estimator.get_params(deep=False)
    return {name: _as_text(values[name]) for name in names if name in values}


def fingerprint(
    estimator: BaseAutoencoder, X: NDArray, columns: Columns, device: torch.device
) -> dict[str, str]:
    """Return everything that determines the trained weights, except random draws."""
    digest = hashlib.sha256()
    if isinstance(X, Reader):
        digest.update(X.rows.digest.encode())
    else:
        for block in row_blocks(*X.shape):
            digest.update(np.ascontiguousarray(X[block]).data)
    for numbers in columns.scaling:  # a warm start keeps that of the first fit
        digest.update(numbers.data)
    if columns.coding is not None:
        levels = [categories.levels for categories in columns.coding.categories.values()]
        digest.update(_as_text(levels).encode())
    return {
        "class": type(estimator).__name__,
        "X": f"{len(X)} rows of {X.shape[1]} {X.dtype}, SHA-256 {digest.hexdigest()[:16]}",
        "type of device": device.type,
        **describe(estimator, names_that({WEIGHTS, TRAINING})),
    }


def as_plain(value: dict[str, Any]) -> dict[str, Any]:
    """Return ``value`` in plain Python, with lists for arrays."""
    return json.loads(_as_text(value))


def _as_text(value: Any) -> str:
    """Return equal text for equal values, whether of NumPy or Python, tuple or list."""
    return json.dumps(value, default=_default)


def _default(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, torch.nn.Module):
        return repr(value)
    return type(value).__name__  # a RandomState, whose draws are kept apart
