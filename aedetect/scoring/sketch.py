"""Wide activations in fewer columns."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WIDEST = 1024  # columns that a covariance is estimated of, from one layer


def sketch(x: Tensor, n_columns: int = WIDEST) -> Tensor:
    """Return rows of at most ``n_columns`` columns, whose distances are nearly kept.

    A count sketch (Charikar, Chen & Farach-Colton, 2002): each column is added to one of the
    ``n_columns``, with a random sign. Narrower rows are returned as they are.

    Parameters
    ----------
    x : Tensor of shape (..., width)
    n_columns : int

    Returns
    -------
    y : Tensor of shape (..., min(width, n_columns))
    """
    width = x.shape[-1]
    if width <= n_columns:
        return x
    signs = torch.from_numpy(_signs(width)).to(x)
    y = x[..., :n_columns] * signs[:n_columns]
    for start in range(n_columns, width, n_columns):
        part = slice(start, min(start + n_columns, width))
        y[..., : part.stop - start].addcmul_(x[..., part], signs[part])
    return y


@functools.lru_cache
def _signs(width: int) -> NDArray[np.float32]:
    """Return +1 or -1 a column. Kept: while a network is exported, nothing can be drawn."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 2, (width,), generator=generator).mul_(2).sub_(1).float().numpy()
