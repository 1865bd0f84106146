"""Devices, and generators that leave the global ones alone."""

from __future__ import annotations

import ctypes
import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import ThreadpoolController
from torch import Generator, Tensor, nn

from aedetect.networks import MemberLoop


def make_generator(seed: int, device: torch.device) -> Generator:
    """Return a generator on ``device`` that starts from ``seed``."""
    return Generator(device=device).manual_seed(seed)


@contextmanager
def seeded_globally(seed: int, device: torch.device) -> Iterator[list[Generator]]:
    """Seed PyTorch's global generators inside the block and restore their state behind it.

    For networks of the user's own, whose layers can draw from nowhere else.

    Yields
    ------
    generators : list of torch.Generator
        The CPU's and, on CUDA, that of the device.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield [torch.default_generator, *_cuda_generators(device)]


def _cuda_generators(device: torch.device) -> list[Generator]:
    if device.type != "cuda":
        return []
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.cuda.default_generators[index]]


def limit_threads(work: int, shared_work: int) -> AbstractContextManager:
    """Keep a step of ``work`` multiplications and additions on one thread if it is a small one."""
    return nullcontext() if work >= shared_work else one_thread()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep what PyTorch computes inside the block on the calling thread.

    The limit holds for this thread alone, where ``torch.set_num_threads`` is global. That function
    sets two limits, OpenMP's and MKL's, and so does this one.
    """
    set_mkl_limit = _mkl_limit()
    with _thread_pools().limit(limits=1, user_api="openmp"):
        before = set_mkl_limit(1)
        try:
            yield
        finally:
            set_mkl_limit(before)


def one_blas_thread() -> AbstractContextManager:
    """Keep products and factorisations of NumPy and SciPy on one thread: more round differently."""
    return _thread_pools().limit(limits=1, user_api="blas")


# OpenMP's threads do not live on in a forked process, which would wait for them without end.
# PyTorch's own data loaders do the same in their workers.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


@cache
def _mkl_limit() -> Callable[[int], int]:
    """Return the function that sets MKL's limit for the calling thread and returns the old one."""
    for path in Path(torch.__file__).parent.glob("lib/*torch_cpu.*"):
        with suppress(OSError, AttributeError):  # another library does PyTorch's products there
            return ctypes.CDLL(str(path)).MKL_Set_Num_Threads_Local
    return lambda limit: 0


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all libraries that are loaded: milliseconds


def move(x: Tensor, device: torch.device) -> Tensor:
    """Return ``x`` on ``device``, or where it is, with a warning, if the device cannot hold it."""
    try:
        return x.to(device)
    except torch.OutOfMemoryError:
        warnings.warn(
            f"The {x.nbytes / 2**20:.0f} MiB of training rows do not fit on {str(device)!r}: they"
            " stay in main memory, and every batch is sent by itself, which is slower.",
            stacklevel=2,
        )
        return x


def place_members(network: nn.Module, devices: Sequence[torch.device]) -> None:
    """Put the members of a network on devices, by turns, if each is a module of its own."""
    if isinstance(network, MemberLoop):
        turns = itertools.cycle(devices)
        network.devices = [next(turns) for _ in network.members]
        for member, device in zip(network.members, network.devices, strict=True):
            member.to(device)


def gather_members(network: nn.Module, device: torch.device) -> None:
    """Put all members of a network on one device."""
    if isinstance(network, MemberLoop) and network.devices:
        network.devices = ()
        network.to(device)


def find_device(name: str) -> torch.device | None:
    """Return the accelerator of a name, or the first of its kind; None if there is none.

    It is not started: that takes memory, and cannot be done in a forked process.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    try:
        device = torch.device(name)
    except RuntimeError:
        return None
    if found is None or found.type != device.type:
        return None
    index = device.index or 0
    return torch.device(device.type, index if index < torch.accelerator.device_count() else 0)


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device that a name stands for; ``"auto"`` is CUDA, then MPS, then the CPU.

    Raises
    ------
    ValueError
        If PyTorch does not support the device or this machine has none.
    """
    if device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        if found is None or found.type not in ("cuda", "mps"):
            return torch.device("cpu")
        return _numbered(found)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={str(device)!r} cannot be used on this machine: {error}. Use device='auto'"
            " to take what there is, or device='cpu'."
        ) from error
    return _numbered(torch.device(device))


def resolve_devices(device: str | torch.device | Sequence[Any]) -> tuple[torch.device, ...]:
    """Return the devices that a name, or a list of names, stands for.

    Raises
    ------
    ValueError
        If one of them cannot be used, or there are none, or they are of several kinds.
    """
    if isinstance(device, str | torch.device):
        return (resolve_device(device),)
    devices = tuple(resolve_device(one) for one in device)
    if not devices:
        raise ValueError("device=[] names no device. Use device='auto' to take what there is.")
    if len({one.type for one in devices}) > 1:
        raise ValueError(
            f"device={list(map(str, device))} mixes kinds of devices, which round differently: a"
            " result would depend on where it is computed. Name devices of one kind."
        )
    return devices


def _numbered(device: torch.device) -> torch.device:
    """Return a GPU with its number: "cuda" is the current one, such as "cuda:0"."""
    if device.index is not None or device.type not in ("cuda", "mps"):
        return device
    return torch.device(device.type, torch.accelerator.current_device_index())
