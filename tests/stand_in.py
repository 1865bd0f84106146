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

    Parameters
    ----------
    copies : bool, default=True
        Whether tensors may be copied from one device to the other.
    """

    def __init__(self, *, copies=True):
        super().__init__()
        self._copies = COPIES if copies else ()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim}
        if func is torch.ops.aten._to_copy.default and kwargs and kwargs.get("device"):
            devices.add(kwargs["device"].type)
        assert len(devices) < 2 or func in self._copies, f"{func} on {sorted(devices)}"
        return func(*args, **(kwargs or {}))
