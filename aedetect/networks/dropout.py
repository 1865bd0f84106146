"""Dropout, and random choices of entries, that leave PyTorch's global generator alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

STEPS = 2**16  # a share is rounded to a multiple of 1 / STEPS


def draw_chosen(
    share: float | Tensor,
    shape: Sequence[int],
    generator: Generator | None,
    device: torch.device,
) -> Tensor:
    """Return a bool tensor in which each entry is true with probability ``share``, above 0.

    Sixteen random bits an entry take a tenth of the time of ``bernoulli_``.

    Parameters
    ----------
    share : float or Tensor of shape (n_members, 1, 1)
        A tensor has a share for each member; entries are ``(..., n_members, rows, features)`` then.
    shape : sequence of int
    generator : torch.Generator or None
    device : torch.device
    """
    size = torch.Size(shape).numel()
    bits = torch.empty(-(-size // 4), dtype=torch.int64, device=device)
    bits.random_(-(2**63), None, generator=generator)
    # The highest level that is chosen; every level is, for a share of 1.
    highest: int | Tensor
    if isinstance(share, Tensor):
        highest = (share * STEPS).round().clamp_min(1).sub(STEPS // 2 + 1).to(torch.int16)
    else:
        highest = max(1, round(share * STEPS)) - STEPS // 2 - 1
    return bits.view(torch.int16)[:size].view(*shape) <= highest


class Dropout(nn.Module):
    """Dropout that draws from a generator of its own, never from PyTorch's global one.

    Parameters
    ----------
    p : float or Tensor of shape (n_members, 1, 1)
        Share of activations set to zero while training; the rest is scaled by ``1 / (1 - p)``. A
        tensor has the share of each member.
    """

    def __init__(self, p: float | Tensor) -> None:
        super().__init__()
        self.p = p
        self.generator: Generator | None = None  # set by the training loop

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with a share ``p`` of its entries dropped, or ``x`` itself in eval mode."""
        return x * self.draw_mask(x) if self.training else x

    def draw_mask(self, x: Tensor) -> Tensor:
        """Return the factor of each entry of ``x``: 0 or ``1 / (1 - p)``."""
        kept = draw_chosen(1 - self.p, x.shape, self.generator, x.device)
        return kept.to(x.dtype).mul_(1 / (1 - self.p))

    def extra_repr(self) -> str:
        """Return what ``repr`` shows inside the parentheses."""
        return f"p={self.p}"
