"""Precision of products, whatever the program has set for its own."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch.backends import cudnn

PRECISIONS = ("float32", "tf32", "bf16")

Undo = Callable[[], None]


@contextmanager
def set_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Compute the layers inside the block in one of ``PRECISIONS``.

    On a GPU, convolutions take deterministic algorithms.
    """
    if precision == "tf32" and device.type != "cuda":
        raise ValueError(
            f"precision='tf32' needs a CUDA device, but training runs on {str(device)!r}. Use"
            " 'float32' or 'bf16'."
        )
    product = "tf32" if precision == "tf32" else "ieee"
    with (
        _products_in(product, device.type),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"),
    ):
        yield


def exact(device: torch.device) -> AbstractContextManager:
    """Compute in float32 inside the block, with products of float32."""
    products = _products_in("ieee", device.type)
    if not torch.is_autocast_enabled(device.type):
        return products
    stack = ExitStack()
    stack.enter_context(products)
    stack.enter_context(torch.autocast(device.type, enabled=False))
    return stack


class _SharedBlock:
    """A setting of the whole process, made by the first thread inside and undone by the last.

    Parameters
    ----------
    product, device_type : str
        As :func:`_set_products` takes them.
    """

    def __init__(self, product: str, device_type: str) -> None:
        self._setting = product, device_type
        self._lock = threading.Lock()
        self._n_inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                self._undo = _set_products(*self._setting)
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                for step in self._undo:
                    step()


_products_in = functools.cache(_SharedBlock)

# Threads inside do not live on in a forked process, which would wait for their locks without end.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_products_in.cache_clear)


def _set_products(product: str, device_type: str) -> list[Undo]:
    """Set products of float32 to "ieee" or "tf32", and convolutions to deterministic ones.

    Return functions that undo it, to be called in this order.
    """
    own = _operators(device_type)
    changed = [operator for operator in own if _differs(operator.fp32_precision, product)]
    steps = []
    if changed or not HAS_OPERATORS:
        # The older flag changes the newer ones of all libraries, so these are restored after it.
        others = _operators("cpu" if device_type == "cuda" else "cuda")
        restored = [_restorer_of(operator) for operator in own + others]
        steps = [_set_general(product), *restored]
    for operator in changed:
        operator.fp32_precision = product
    if device_type == "cuda":
        steps += [_set_flag("deterministic", True), _set_flag("benchmark", False)]
        if not HAS_OPERATORS:
            steps.append(_set_flag("allow_tf32", product == "tf32"))
    return steps


HAS_OPERATORS = hasattr(cudnn, "conv")  # a flag for each kind of product: PyTorch 2.9 and later


def _operators(device_type: str) -> list[Any]:
    if not HAS_OPERATORS:
        return []
    backends: Any = torch.backends
    library = backends.cudnn if device_type == "cuda" else backends.mkldnn
    products = backends.cuda.matmul if device_type == "cuda" else library.matmul
    return [products, library.conv, library.rnn]


def _differs(before: str, product: str) -> bool:
    return before != product and (before, product) != ("none", "ieee")


def _restorer_of(operator: Any) -> Undo:
    """Return a function that sets the flag of one kind of product to its present value."""
    before = operator.fp32_precision

    def undo() -> None:
        if operator.fp32_precision != before:
            operator.fp32_precision = "none"  # inherits from its library
        if operator.fp32_precision != before:
            operator.fp32_precision = before

    return undo


def _set_general(product: str) -> Undo:
    """Set the older flag of matrix products, which must not contradict the newer ones."""
    before, wanted = _general(), "high" if product == "tf32" else "highest"
    if before is None or before == wanted:
        return _nothing
    _change_general(wanted)
    return functools.partial(_change_general, before)


def _general() -> str | None:
    """Return the older flag; None where a program has set newer ones that contradict it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions call it deprecated
        try:
            return torch.get_float32_matmul_precision()
        except RuntimeError:
            return None


def _change_general(value: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.set_float32_matmul_precision(value)


def _set_flag(name: str, value: bool) -> Undo:
    """Set a flag of cuDNN."""
    before = getattr(cudnn, name)
    setattr(cudnn, name, value)
    return functools.partial(setattr, cudnn, name, before)


def _nothing() -> None:
    """Undo nothing."""
