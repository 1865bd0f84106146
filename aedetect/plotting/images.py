"""Rows as images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def image_shape_of(estimator: Any, image_shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return the shape that was asked for, else the estimator's, if it has one."""
    return image_shape or getattr(estimator, "image_shape", None)


def as_images(X: ArrayLike, image_shape: tuple[int, ...] | None) -> NDArray:
    """Return rows as images ``(n, height, width)``, or ``(n, height, width, 3)`` in colour."""
    X = np.asarray(X)
    shape = tuple(image_shape) if image_shape else (math.isqrt(X.shape[1]),) * 2
    if math.prod(shape) != X.shape[1]:
        raise ValueError(
            f"image_shape={shape} has {math.prod(shape)} values, but X has {X.shape[1]} features."
            " Pass image_shape=(height, width) or (channels, height, width)."
        )
    images = X.reshape(-1, *shape)
    if len(shape) == 2:
        return images
    if shape[0] not in (1, 3):
        raise ValueError(f"image_shape={shape} has {shape[0]} channels; 1 or 3 can be drawn.")
    return images[:, 0] if shape[0] == 1 else np.moveaxis(images, 1, -1)


def draw_images(axes: Iterable[Axes], images: NDArray, low: float, high: float) -> None:
    """Draw each image on its axes: black for ``high`` in grey, full light for it in colour."""
    for ax, image in zip(axes, images, strict=False):
        if image.ndim == 3:
            ax.imshow(np.clip((image - low) / ((high - low) or 1), 0, 1))
        else:
            ax.imshow(image, cmap="gray_r", vmin=low, vmax=high)
        ax.set(xticks=[], yticks=[])


def as_heat_maps(contributions: ArrayLike, image_shape: tuple[int, ...] | None) -> NDArray:
    """Return contributions ``(n, height, width)``: what each pixel adds, over its channels."""
    heat = as_images(contributions, image_shape)
    return heat.sum(axis=-1) if heat.ndim == 4 else heat
