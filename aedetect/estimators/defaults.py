"""The values of the ``"auto"`` settings for given data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ImageShape = tuple[int, int, int] | None  # None for a table

# Small tables need steps, not epochs; large ones need every row seen a few times.
STEPS = 1_000
IMAGE_STEPS = 1_500
MIN_EPOCHS = 10
SHIFTED_SIZE = 28  # pixels of height and width, from which a shift by one keeps the class


def resolve_latent_dim(latent_dim: int | Literal["auto"], n_features: int) -> int:
    """Return the code's width: half of the features, at most 16, for ``"auto"``."""
    if latent_dim == "auto":
        return max(1, min(16, n_features // 2))
    return latent_dim


LAYER_SIZES = {"dense": (256, 64), "conv": (16, 32), "residual": (128, 128)}
IMAGE_LAYER_SIZES = {**LAYER_SIZES, "dense": (512, 256)}


def resolve_layer_sizes(
    hidden_layer_sizes: Sequence[int] | Literal["auto"], network: str, image_shape: ImageShape
) -> Sequence[int]:
    """Return the encoder's sizes; dense networks are wider for images."""
    if isinstance(hidden_layer_sizes, str):  # "auto"
        return (LAYER_SIZES if image_shape is None else IMAGE_LAYER_SIZES)[network]
    return hidden_layer_sizes


def resolve_score(
    anomaly_score: str, image_shape: ImageShape, contamination: float | Literal["auto"]
) -> str:
    """Return the score: ``"auto"`` goes by the kind of rows and by what is known of them.

    Distances in pixels separate images badly, and whitening magnifies pixels that hardly vary.
    The reconstruction error of an image grows with its contrast.
    """
    if anomaly_score != "auto":
        return anomaly_score
    if image_shape is not None:
        return "relative"
    return "sharp" if contamination == 0 else "robust"


def resolve_batch_size(
    batch_size: int | Literal["auto"], n_rows: int, image_shape: ImageShape
) -> int:
    """Return the rows of a step: a twentieth of all, 32 to 128 (256 images), for ``"auto"``."""
    if batch_size == "auto":
        return max(32, min(128 if image_shape is None else 256, n_rows // 20))
    return batch_size


def resolve_max_epochs(
    max_epochs: int | Literal["auto"], n_rows: int, batch_size: int, image_shape: ImageShape
) -> int:
    """Return the epochs: as many as make 1,000 steps (1,500 for images), at least 10."""
    if max_epochs == "auto":
        steps = STEPS if image_shape is None else IMAGE_STEPS
        return max(MIN_EPOCHS, math.ceil(steps * batch_size / max(n_rows, batch_size)))
    return max_epochs


def resolve_max_shift(
    max_shift: int | Literal["auto"], image_shape: ImageShape, scale: NDArray[np.float64]
) -> int:
    """Return the pixels by which training images move: 1 of 28 or more for ``"auto"``.

    None where each pixel is scaled by itself: one that hardly varies would see the ink of others as
    far off.
    """
    if max_shift == "auto":
        is_large = image_shape is not None and min(image_shape[1:]) >= SHIFTED_SIZE
        return int(is_large and bool((scale == scale[0]).all()))
    return max_shift


def count_held_out(n_rows: int, validation_fraction: float) -> int:
    """Return how many rows are held out; at least two are left to train on."""
    return min(int(n_rows * validation_fraction), max(n_rows - 2, 0))
