"""What rows may come in beside what scikit-learn reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def unpack(X: Any) -> Any:
    """Return a tensor or a masked array as an array; anything else as it is.

    Masked cells become NaN: NumPy would drop the mask and take what lies under it for data.
    """
    if isinstance(X, Tensor):
        return _array_of(X)
    if isinstance(X, np.ma.MaskedArray):
        return np.ma.filled(X.astype(np.result_type(X.dtype, np.float32)), np.nan)
    return X


def _array_of(x: Tensor) -> np.ndarray:
    if x.requires_grad:
        raise ValueError("X is a tensor that requires its gradient. Pass X.detach().")
    if x.device.type != "cpu":
        raise ValueError(f"X is a tensor on {x.device}, but it must be on the CPU. Pass X.cpu().")
    if x.layout != torch.strided:
        raise ValueError(f"X is a tensor of layout {x.layout}. Pass X.to_dense().")
    known = x.dtype in (torch.float64, torch.float32, torch.float16)
    return (x if known or not x.is_floating_point() else x.float()).numpy()  # bfloat16 is unknown
