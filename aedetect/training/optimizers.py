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
    parameters = list(parameters)
    is_uniform = len({(parameter.device, parameter.dtype) for parameter in parameters}) == 1
    kernel = KERNELS.get(name) if is_uniform else None
    return _without_compiler(kind, kernel)(
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

# What Adam's step comes to. PyTorch's own takes longer to find that out than the kernel does for
# the weights of a small network.
KERNELS: dict[str, Callable[..., None]] = {
    "adam": torch._fused_adam_,
    "adamw": torch._fused_adamw_,
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


Kernel = Callable[..., None]


def _without_compiler(kind: Any, kernel: Kernel | None) -> Callable[..., Optimizer]:
    """Return a class of optimisers that does not import PyTorch's compiler.

    The decorators of PyTorch's own do so at their first call. It takes more than a second, and a
    fit may take less.
    """
    names = ("add_param_group", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    silent = {"_warned_capturable_if_run_uncaptured": True}  # it warns of steps before the capture
    return type(kind.__name__, (kind,), {**methods, **silent, "step": _plain_step(kind, kernel)})


def _plain_step(kind: Any, kernel: Kernel | None) -> Callable[[Optimizer], None]:
    update = inspect.unwrap(kind.step)

    @torch.no_grad()
    def step(optimizer: Optimizer) -> None:
        if kernel is None or not all(map(optimizer.state.get, _parameters_of(optimizer))):
            update(optimizer)  # the first makes the state
        else:
            _call(kernel, optimizer)

    step.hooked = True  # type: ignore[attr-defined]  # by PyTorch's profiler, at a cost a step
    return step


def _call(kernel: Kernel, optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        states = [optimizer.state[parameter] for parameter in parameters]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        kernel(
            parameters,
            [parameter.grad for parameter in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            amsgrad=False,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _parameters_of(optimizer: Optimizer) -> Iterable[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])
