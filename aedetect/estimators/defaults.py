"""What the ``"auto"`` settings stand for, given the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

# Small tables need steps, not epochs; large ones need every row seen a few times.
STEPS = 1_000
MIN_EPOCHS = 10


def resolve_latent_dim(latent_dim: int | Literal["auto"], n_features: int) -> int:
    """Return the code's width: half of the features, at most 16, for ``"auto"``."""
    if latent_dim == "auto":
        return max(1, min(16, n_features // 2))
    return latent_dim


LAYER_SIZES = {"dense": (256, 64), "conv": (16, 32), "residual": (128, 128)}


def resolve_layer_sizes(
    hidden_layer_sizes: Sequence[int] | Literal["auto"], network: str
) -> Sequence[int]:
    """Return the encoder's sizes; ``"auto"`` depends on the kind of network alone."""
    return LAYER_SIZES[network] if hidden_layer_sizes == "auto" else hidden_layer_sizes


def resolve_batch_size(batch_size: int | Literal["auto"], n_rows: int) -> int:
    """Return the rows of a step: about a twentieth of all, 32 to 256, for ``"auto"``."""
    if batch_size == "auto":
        return max(32, min(256, n_rows // 20))
    return batch_size


def resolve_max_epochs(max_epochs: int | Literal["auto"], n_rows: int, batch_size: int) -> int:
    """Return the epochs: as many as make 1,000 steps, at least 10, for ``"auto"``."""
    if max_epochs == "auto":
        return max(MIN_EPOCHS, math.ceil(STEPS * batch_size / max(n_rows, batch_size)))
    return max_epochs


def count_held_out(n_rows: int, validation_fraction: float) -> int:
    """Return how many rows are held out; at least two are left to train on."""
    return min(int(n_rows * validation_fraction), max(n_rows - 2, 0))
