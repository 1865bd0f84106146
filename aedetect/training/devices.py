"""Devices, and generators that leave the global ones alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator


def make_generator(seed: int, device: torch.device) -> Generator:
    """Return a generator on ``device`` that starts from ``seed``."""
    return Generator(device=device).manual_seed(seed)


@contextmanager
def seeded_globally(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's global generator inside the block and restore its state behind it.

    For networks of the user's own, whose layers can draw from nowhere else.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device that a name stands for; ``"auto"`` is CUDA, then MPS, then the CPU.

    Raises
    ------
    ValueError
        If PyTorch knows no such device or this machine has none.
    """
    if device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found if found is not None and found.type in ("cuda", "mps") else torch.device("cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={str(device)!r} cannot be used on this machine: {error}. Use device='auto'"
            " to take what there is, or device='cpu'."
        ) from error
    return resolved
