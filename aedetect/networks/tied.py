"""Linear layers that share their weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TiedLinear(nn.Module):
    """A linear layer whose weight is the transpose of another one's; only its bias is its own.

    Parameters
    ----------
    source : torch.nn.Linear
        The layer whose weight is used.
    out_features : int
        How many of the source's inputs it restores, the first ones: all but a mask.
    """

    def __init__(self, source: nn.Linear, out_features: int) -> None:
        super().__init__()
        self._source = (source,)  # in a tuple: its weight must not be registered twice
        self.in_features, self.out_features = source.out_features, out_features
        self.bias = nn.Parameter(torch.empty(self.out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x @ W + b``, with ``W`` the weight of the source."""
        return F.linear(x, self._source[0].weight[:, : self.out_features].T, self.bias)
