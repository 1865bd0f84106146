"""Optimisers, and schedules of their learning rate."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

Optimizer = torch.optim.Optimizer


def make_optimizer(
    name: str,
    parameters: Iterable[Tensor],
    *,
    learning_rate: float,
    weight_decay: float,
    capturable: bool = False,
) -> Optimizer:
    """Return an optimiser.

    Parameters
    ----------
    name : str
        Key of ``OPTIMIZERS``.
    parameters : iterable of Tensor
    learning_rate, weight_decay : float
    capturable : bool, default=False
        Whether a CUDA graph is to hold its step, if it is one of ``CAPTURABLE``.
    """
    kind, options = OPTIMIZERS[name]
    if capturable and name in CAPTURABLE:
        options = {**options, "capturable": True}
    return _without_compiler(kind)(
        parameters, lr=learning_rate, weight_decay=weight_decay, **options
    )


# `fused` updates all parameters in one kernel, which is most of a small network's step on a CPU.
# Adadelta and RMSprop have no such kernel, and Adagrad's is not on every device.
OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {"fused": True}),
    "adamw": (torch.optim.AdamW, {"fused": True}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "fused": True}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adadelta": (torch.optim.Adadelta, {"foreach": True}),
    "rmsprop": (torch.optim.RMSprop, {"foreach": True}),
}

CAPTURABLE = ("adam", "adamw")  # in a CUDA graph, with a tensor for the learning rate

# Share of the learning rate at a share of the run. "onecycle": Smith, "Super-convergence", 2018.
# Differs from Smith: the momentum stays as it is, and the descent follows a cosine.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "onecycle": lambda progress: (
        min(1.0, 0.01 + 10 * progress) * 0.5 * (1 + math.cos(math.pi * progress))
    ),
}


def _without_compiler(kind: Any) -> Callable[..., Optimizer]:
    """Return a class of optimisers that does not import PyTorch's compiler.

    The decorators of PyTorch's own do so at their first call. It takes more than a second, and a
    fit may take less.
    """
    names = ("add_param_group", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    silent = {"_warned_capturable_if_run_uncaptured": True}  # it warns of steps before the capture
    return type(kind.__name__, (kind,), {**methods, **silent, "step": _plain_step(kind)})


def _plain_step(kind: Any) -> Callable[[Optimizer], None]:
    update = inspect.unwrap(kind.step)

    @torch.no_grad()
    def step(optimizer: Optimizer) -> None:
        update(optimizer)

    return step
