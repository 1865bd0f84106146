"""The one inference loop: the same bits for a row, whatever rows come with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from aedetect.networks import row_stable_linear

# Batches are padded to a multiple of this many rows, a multiple of the vector width of every
# processor, so that no row falls into a scalar remainder, which rounds otherwise.
ROWS = 32
BATCH_VALUES = 2**17  # of the input that a batch holds: its activations fit the cache
UNSHARED = 8192  # values that PyTorch leaves to one thread; a multiple of the vector width


@torch.inference_mode()
def infer(
    function: Callable[[Tensor], Tensor],
    x: NDArray[np.float32],
    device: torch.device,
    *,
    row_stable: bool = False,
) -> NDArray:
    """Return ``function`` of every row, a batch at a time.

    The result of a row is the same bits whatever rows come with it.

    Parameters
    ----------
    function : callable
        Maps a tensor ``(rows, n_columns)`` to one whose rows depend on their own row alone.
    x : ndarray of shape (n_rows, n_columns), float32
    device : torch.device
    row_stable : bool, default=False
        Whether the function's layers look after their rows themselves (``networks.ROW_STABLE``),
        which saves most of the time of a single row.

    Returns
    -------
    result : ndarray of shape (n_rows, ...)
    """
    size = ROWS * max(1, BATCH_VALUES // (ROWS * x.shape[1]))
    with nullcontext() if row_stable else _RowStable():
        outputs = [function(_padded(x).to(device)).cpu() for x in torch.from_numpy(x).split(size)]
    result = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return result[: len(x)].numpy()


def _padded(x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 0, -len(x) % ROWS)) if len(x) % ROWS else x


class _RowStable(TorchFunctionMode):
    """Makes the last bits of a row independent of its place and its company, on a CPU.

    A mode, so that it holds for networks of the user's own too. What does not depend on other rows
    by itself is left as it is.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        rule = RULES.get(func)
        if rule is None or args[0].device.type != "cpu":
            return func(*args, **(kwargs or {}))
        return rule(func, *args, **(kwargs or {}))


def _linear(function: Callable[..., Tensor], x: Tensor, *weights: Tensor) -> Tensor:
    return (row_stable_linear if x.ndim == 2 else function)(x, *weights)


def _by_rows(function: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return a convolution, ``ROWS`` images at a time: its algorithm depends on their number."""
    if len(x) == ROWS:
        return function(x, *args, **kwargs)
    return torch.cat([function(part, *args, **kwargs) for part in x.split(ROWS)])


def _by_pieces(function: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return an elementwise function in pieces that no two threads share.

    What is left over of a thread's share is computed one by one, with other rounding.
    """
    tensors = [arg for arg in (x, *args) if isinstance(arg, Tensor)]
    # In the order of memory: what is contiguous gets other code than what is not.
    turned = x.ndim == 2 and x.mT.is_contiguous()
    flat = [(tensor.mT if turned else tensor).reshape(-1) for tensor in tensors]
    size = UNSHARED if torch.get_num_threads() > 1 else x.numel()
    others = args[len(tensors) - 1 :]
    pieces = zip(*(tensor.split(size) for tensor in flat), strict=True)
    result = torch.cat([function(*piece, *others, **kwargs) for piece in pieces])
    return result.view(x.mT.shape).mT if turned else result.view(x.shape)


RULES: dict[Any, Callable[..., Tensor]] = {
    F.linear: _linear,
    **dict.fromkeys(
        (F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d), _by_rows
    ),
    # Elementwise functions whose vector code rounds otherwise than their scalar code.
    **dict.fromkeys((F.gelu, F.silu, F.elu, F.selu, F.mish, F.softplus), _by_pieces),
    **dict.fromkeys((torch.sigmoid, torch.tanh, torch.exp, torch.log, torch.erf), _by_pieces),
    torch.Tensor.exp: _by_pieces,
    F.binary_cross_entropy_with_logits: _by_pieces,
}
