"""Rows as images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEAT_COLORS = "magma_r"  # darkens evenly, so a print in grey keeps the order


def image_shape_of(estimator: Any, image_shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return ``image_shape``, else the shape of the estimator, else None."""
    return image_shape or getattr(estimator, "image_shape", None)


def check_image_shape(image_shape: tuple[int, ...], n_features: int) -> None:
    """Raise a ValueError unless an image of this shape has ``n_features`` values."""
    if math.prod(image_shape) != n_features:
        raise ValueError(
            f"image_shape={tuple(image_shape)} has {math.prod(image_shape)} values, but X has"
            f" {n_features} features. Pass image_shape=(height, width) or"
            " (channels, height, width)."
        )


def as_images(X: ArrayLike, image_shape: tuple[int, ...] | None) -> NDArray:
    """Return rows as images ``(n, height, width)``, or ``(n, height, width, 3)`` in colour."""
    X = np.asarray(X)
    shape = tuple(image_shape) if image_shape else (math.isqrt(X.shape[1]),) * 2
    check_image_shape(shape, X.shape[1])
    images = X.reshape(-1, *shape)
    if len(shape) == 2:
        return images
    if shape[0] not in (1, 3):
        raise ValueError(f"image_shape={shape} has {shape[0]} channels; 1 or 3 can be drawn.")
    return images[:, 0] if shape[0] == 1 else np.moveaxis(images, 1, -1)


def as_heat_maps(contributions: ArrayLike, image_shape: tuple[int, ...] | None) -> NDArray:
    """Return the contributions of pixels ``(n, height, width)``, summed over channels."""
    heat = as_images(contributions, image_shape)
    return heat.sum(axis=-1) if heat.ndim == 4 else heat


def draw_images(axes: Iterable[Axes], images: NDArray, low: float, high: float) -> None:
    """Draw an image on each axes, scaled from ``low`` to ``high``; in grey, ``high`` is black."""
    for ax, image in zip(axes, images, strict=False):
        if image.ndim == 3:
            ax.imshow(np.clip((image - low) / ((high - low) or 1), 0, 1))
        else:
            ax.imshow(image, cmap="gray_r", vmin=low, vmax=high)
        ax.set(xticks=[], yticks=[])
