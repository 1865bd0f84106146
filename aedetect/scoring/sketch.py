"""Wide activations in fewer columns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WIDEST = 1024  # columns that a covariance is estimated of, from one layer


def sketch(x: Tensor) -> Tensor:
    """Return rows of at most ``WIDEST`` columns, with nearly the same distances between them.

    A count sketch (Charikar, Chen & Farach-Colton, 2002): each column is added to one of the
    ``WIDEST``, with a random sign. Narrower rows are returned as they are.

    Parameters
    ----------
    x : Tensor of shape (rows, width)

    Returns
    -------
    y : Tensor of shape (rows, min(width, WIDEST))
    """
    width = x.shape[1]
    if width <= WIDEST:
        return x
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (width,), generator=generator).mul_(2).sub_(1)
    signed = F.pad(x * signs.to(x), (0, -width % WIDEST))
    return signed.view(len(x), -1, WIDEST).sum(dim=1)
