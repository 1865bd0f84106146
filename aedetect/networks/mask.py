"""A first layer that takes rows with missing cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskInput(nn.Module):
    """Turns missing cells into numbers: zeros in their place, and a mask beside the row.

    The first layer of an encoder that takes rows with NaN. It has no weights.

    Examples
    --------
    >>> import torch
    >>> from aedetect.networks import MaskInput
    >>> MaskInput()(torch.tensor([[5.0, torch.nan]]))
    tensor([[5., 0., 1., 0.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` without NaN, and 1 for every observed cell, side by side.

        Parameters
        ----------
        x : Tensor of shape (..., batch, n_features) or (batch, channels, height, width)
            NaN where a cell is missing.

        Returns
        -------
        y : Tensor of shape (..., batch, 2 * n_features) or (batch, 2 * channels, height, width)
        """
        missing = x.isnan()
        dim = 1 if x.ndim == 4 else -1
        return torch.cat([x.masked_fill(missing, 0.0), (~missing).to(x.dtype)], dim=dim)
