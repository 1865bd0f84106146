"""Shifts of the images that a network is trained on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Shifts:
    """Moves each image by a few pixels; pixels that move in repeat those of the edge.

    The edge of an image is what its surroundings look like, be they black or white. A constant
    would draw a line into images that do not end in it.

    Parameters
    ----------
    max_shift : int
        Pixels by which an image moves at most, up or down and left or right.
    image_shape : (int, int, int)
        Channels, height and width.
    location, scale : ndarray of shape (n_features,), float32
        Of the scaling of the columns. Pixels move in their own units, not in those of a column.
    low, high : ndarray of shape (n_features,), float32
        Limits of scaled cells. Cells beyond them after a move are set to their middle, as wild
        cells of training rows are.
    """

    max_shift: int
    image_shape: tuple[int, int, int]
    location: FloatArray
    scale: FloatArray
    low: FloatArray
    high: FloatArray

    def draw(self, n_members: int, n_rows: int, generator: Generator) -> Tensor:
        """Return moves down and to the right, ``(2, n_members, n_rows)``, counted from 0 up."""
        shape, device = (2, n_members, n_rows), generator.device
        return torch.randint(2 * self.max_shift + 1, shape, generator=generator, device=device)

    def __call__(self, x: Tensor, moves: Tensor) -> Tensor:
        """Return moved images.

        Parameters
        ----------
        x : Tensor of shape (n_members, batch, n_features)
            Scaled rows; NaN stands for a missing pixel and moves too.
        moves : Tensor of shape (2, n_members, batch)
            As :meth:`draw` returns them.

        Returns
        -------
        moved : Tensor of shape (n_members, batch, n_features)
        """
        location, scale, low, high, middle, rows, columns = self._on(x.device)
        n_channels, height, width = self.image_shape
        sources = rows[moves[0]][..., :, None] + columns[moves[1]][..., None, :]
        sources = sources.flatten(-2)[..., None, :].expand(*x.shape[:2], n_channels, -1)
        pixels = (x * scale).add_(location).view(*x.shape[:2], n_channels, height * width)
        moved = pixels.gather(-1, sources).view(x.shape).sub_(location).div_(scale)
        wild = (moved < low).logical_or_(moved > high)
        return torch.where(wild, middle, moved)

    def _on(self, device: torch.device) -> tuple[Tensor, ...]:
        if device not in self._known:
            middle = self.low / 2 + self.high / 2
            arrays = self.location, self.scale, self.low, self.high, middle
            rows, columns = (self._sources(size) for size in self.image_shape[1:])
            tensors = [torch.from_numpy(array) for array in arrays]
            tensors += [rows * self.image_shape[2], columns]
            self._known[device] = tuple(tensor.to(device) for tensor in tensors)
        return self._known[device]

    def _sources(self, size: int) -> Tensor:
        """Return where the pixels of a line come from for each move, ``(n_moves, size)``."""
        moves = torch.arange(-self.max_shift, self.max_shift + 1)
        return (torch.arange(size) - moves[:, None]).clamp(0, size - 1)

    def __getstate__(self) -> dict[str, Any]:
        """Return the parameters, so that equal shifts have equal pickles and digests."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @cached_property
    def _known(self) -> dict[torch.device, tuple[Tensor, ...]]:
        return {}
