"""Linear layers whose rows do not depend on each other, to the last bit, once trained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NARROW = 8  # MKL sums narrower products otherwise where threads share them; zeros widen them


def row_stable_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ W.T + b`` as ``(W @ x.T + b).T``: the vector lanes run along the rows.

    A row-major product sums some rows in another order than others, where their memory is aligned
    otherwise (seen with MKL for 1 to 11 outputs more than a multiple of 16).

    Parameters
    ----------
    x : Tensor of shape (rows, n_in)
        A multiple of 32 rows.
    weight : Tensor of shape (n_out, n_in)
    bias : Tensor of shape (n_out,) or None
    """
    if torch.compiler.is_exporting():  # other runtimes have products of their own
        return F.linear(x, weight, bias)
    n_out, n_in = weight.shape
    if min(n_out, n_in) < NARROW:
        padding = (0, max(0, NARROW - n_in), 0, max(0, NARROW - n_out))
        x, weight = F.pad(x, padding[:2]), F.pad(weight, padding)
        bias = bias if bias is None else F.pad(bias, padding[2:])
    product = torch.mm(weight, x.T) if bias is None else torch.addmm(bias[:, None], weight, x.T)
    return product[:n_out].T


class Linear(nn.Linear):
    """PyTorch's linear layer; in eval mode rows do not depend on their company."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x @ W.T + b``, shape ``(rows, out_features)``."""
        product = F.linear if self.training else row_stable_linear
        return product(x, self.weight, self.bias)


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
        product = F.linear if self.training else row_stable_linear
        return product(x, self._source[0].weight[:, : self.out_features].T, self.bias)
