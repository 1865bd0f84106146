"""PyTorch's ``meta`` device as a stand-in for a GPU: it computes shapes, and no values."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class OneDevice(TorchDispatchMode):
    """Refuses operations that a GPU would refuse: those on tensors of two devices.

    A tensor of the CPU without dimensions is a number.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim}
        assert len(devices) < 2 or func in COPIES, f"{func} on {sorted(devices)}"
        return func(*args, **(kwargs or {}))
