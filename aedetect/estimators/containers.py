"""What rows may come in beside what scikit-learn reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor


def unpack(X: Any) -> Any:
    """Return a tensor or a masked array as an array; anything else as it is.

    Masked cells become NaN: NumPy would drop the mask and take what lies under it for data. Dates
    are refused: in company they cannot be converted, alone they would become nanoseconds.
    """
    if isinstance(X, pd.DataFrame):
        if X.shape[1] == 0:
            raise ValueError(
                f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is required."
            )
        check_numbers({f"column {name!r}": dtype for name, dtype in X.dtypes.items()})
    elif isinstance(X, np.ndarray):
        check_numbers({"it": X.dtype})
    if isinstance(X, Tensor):
        return _array_of(X)
    if isinstance(X, np.ma.MaskedArray):
        floating = X.dtype.kind in "fc"
        return np.ma.filled(X if floating else X.astype(np.float64), np.nan)
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


def check_numbers(dtypes: dict[str, Any]) -> None:
    """Refuse dates and spans of time."""
    for name, dtype in dtypes.items():
        if getattr(dtype, "kind", "") in ("m", "M"):
            raise ValueError(
                f"X must hold numbers, but {name} holds {dtype}. Turn it into numbers, such as the"
                " day of the week, or leave it out."
            )
