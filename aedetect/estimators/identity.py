"""What a fit is of, by which another tells whether it can go on with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from aedetect.estimators.scaling import row_blocks

if TYPE_CHECKING:
    from aedetect.estimators.base import BaseAutoencoder

# Parameters without a part in training, and those that say how it is watched.
UNRELATED = {"anomaly_score", "contamination", "checkpoint", "device", "verbose", "warm_start"}
# Parameters that the weights stand and fall with.
FIXED = (
    "activation",
    "batch_norm",
    "downsample",
    "dropout",
    "hidden_layer_sizes",
    "image_shape",
    "latent",
    "latent_activation",
    "latent_dim",
    "loss",
    "missing",
    "n_members",
    "network",
    "scaling",
    "tied_weights",
    "upsample",
)


def describe(estimator: BaseAutoencoder, names: Iterable[str]) -> dict[str, str]:
    """Return the parameters among ``names`` that the estimator has, as text to be compared."""
    values = estimator.get_params(deep=False)
    return {name: _as_text(values[name]) for name in names if name in values}


def identify(estimator: BaseAutoencoder, X: NDArray, device: torch.device) -> dict[str, str]:
    """Return all that the weights after training follow from, but for the random state's draws."""
    names = [name for name in estimator.get_params(deep=False) if name not in UNRELATED]
    digest = hashlib.sha256()
    for block in row_blocks(*X.shape):
        digest.update(np.ascontiguousarray(X[block]).data)
    for numbers in estimator._scaling:  # a warm start has that of the first fit
        digest.update(numbers.data)
    return {
        "class": type(estimator).__name__,
        "X": f"{len(X)} rows of {X.shape[1]} {X.dtype}, SHA-256 {digest.hexdigest()[:16]}",
        "type of device": device.type,
        **describe(estimator, names),
    }


def as_plain(value: dict[str, Any]) -> dict[str, Any]:
    """Return ``value`` in plain Python, with lists for arrays."""
    return json.loads(_as_text(value))


def _as_text(value: Any) -> str:
    """Return the same text for equal values, whether of NumPy or Python, tuple or list."""
    return json.dumps(value, default=_default)


def _default(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, torch.nn.Module):
        return repr(value)
    return type(value).__name__  # a RandomState, whose draws are kept apart
