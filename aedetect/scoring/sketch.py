"""Wide activations in fewer columns."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

WIDEST = 1024  # columns that a covariance is estimated of, from one layer


def sketch(x: Tensor) -> Tensor:
    """Return rows of at most ``WIDEST`` columns, whose distances are nearly kept.

    A count sketch (Charikar, Chen & Farach-Colton, 2002): each column is added to one of the
    ``WIDEST``, with a random sign. Narrower rows are returned as they are.

    Parameters
    ----------
    x : Tensor of shape (..., width)

    Returns
    -------
    y : Tensor of shape (..., min(width, WIDEST))
    """
    width = x.shape[-1]
    if width <= WIDEST:
        return x
    signs = torch.from_numpy(_signs(width)).to(x)
    signed = F.pad(x * signs, (0, -width % WIDEST))
    return signed.unflatten(-1, (-1, WIDEST)).sum(dim=-2)


@functools.lru_cache
def _signs(width: int) -> NDArray[np.int64]:
    """Return +1 or -1 a column. Kept: while a network is exported, nothing can be drawn."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 2, (width,), generator=generator).mul_(2).sub_(1).numpy()
