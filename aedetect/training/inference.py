"""The one inference loop: the same bits for a row, whatever rows come with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Rows of every inference batch: matrix products round differently at other sizes, so all are
# padded to this one. A multiple of the vector width, so that no row falls into a scalar remainder.
INFERENCE_BATCH = 32


@torch.no_grad()
def infer(
    function: Callable[[Tensor], Tensor],
    x: NDArray[np.float32],
    device: torch.device,
) -> NDArray:
    """Return ``function`` of every row, computed in fixed-size, zero-padded batches.

    The result of a row is the same bits whatever rows come with it.

    Parameters
    ----------
    function : callable
        Maps a tensor ``(INFERENCE_BATCH, n_columns)`` to one whose rows depend on its own row
        alone.
    x : ndarray of shape (n_rows, n_columns), float32
    device : torch.device

    Returns
    -------
    result : ndarray of shape (n_rows, ...)
    """
    batches = torch.from_numpy(x).split(INFERENCE_BATCH)
    with _RowStable():
        outputs = [function(_padded(batch).to(device)).cpu() for batch in batches]
    return torch.cat(outputs)[: len(x)].numpy()


class _RowStable(TorchFunctionMode):
    """Makes the last bits of a row independent of its place in the batch, on a CPU.

    A row-major matrix product may sum a row in another order where its memory is aligned otherwise
    (seen with MKL for 1 to 11 outputs more than a multiple of 16), so ``x @ W.T + b`` is computed
    as ``(W @ x.T + b).T``: the vector lanes run along the batch, and all rows are alike. And an
    elementwise function that threads divide among them computes what is left over of a thread's
    share one by one, with other rounding, so it gets pieces that no thread shares. Being a mode,
    this holds for networks of the user's own too.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is F.linear and args[0].ndim == 2:
            return _feature_major_linear(*args, **(kwargs or {}))
        if func in _ROUNDED and args[0].numel() > UNSHARED and args[0].device.type == "cpu":
            return _piecewise(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


# Elementwise functions whose vector code rounds otherwise than their scalar code.
_ROUNDED = {
    *(F.gelu, F.silu, F.elu, F.selu, F.mish, F.softplus, F.binary_cross_entropy_with_logits),
    *(torch.sigmoid, torch.tanh, torch.exp, torch.erf),
}
UNSHARED = 8192  # values that PyTorch leaves to one thread; a multiple of the vector width


def _feature_major_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if bias is None:
        return torch.mm(weight, x.T).T
    return torch.addmm(bias[:, None], weight, x.T).T


def _piecewise(func: Callable[..., Tensor], args: tuple, kwargs: dict[str, Any]) -> Tensor:
    pieces = (
        arg.reshape(-1).split(UNSHARED) if isinstance(arg, Tensor) else itertools.repeat(arg)
        for arg in args
    )
    results = [func(*piece, **kwargs) for piece in zip(*pieces, strict=False)]
    return torch.cat(results).view(args[0].shape)


def _padded(batch: Tensor) -> Tensor:
    missing = INFERENCE_BATCH - len(batch)
    return F.pad(batch, (0, 0, 0, missing)) if missing else batch
