"""Processes that run one program together, as ``torchrun`` and Ray's ``TorchTrainer`` start it."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(days=1)  # for one that works; the death of one is noticed at once


class Processes:
    """The processes of a training: an :class:`~aedetect.training.Exchange`.

    Parameters
    ----------
    n_shards : int, default=1
        Parts of a batch.
    """

    def __init__(self, n_shards: int = 1) -> None:
        self._group = _join()
        self.n_shards = n_shards
        self.rank = dist.get_rank(self._group) if self._group else 0
        self.size = dist.get_world_size(self._group) if self._group else 1

    def gather(self, x: Tensor) -> Tensor:
        """Return the tensors of all processes, ``(size, *x.shape)``, in the order of ranks."""
        if self._group is None:
            return x[None]
        own = x.cpu()
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own, group=self._group)
        return torch.stack(parts).to(x.device)

    def wait(self) -> None:
        """Return once all processes have called it."""
        if self._group is not None:
            dist.barrier(self._group)

    def share(self, value: Any) -> Any:
        """Return the object that the first process has passed."""
        shared = [value]
        if self._group is not None:
            dist.broadcast_object_list(shared, src=0, group=self._group)
        return shared[0]


@contextmanager
def main_process_first() -> Iterator[None]:
    """Run the block in the first process, and then in all others.

    Under ``torchrun`` and Ray's ``TorchTrainer``. The first process opens rows and writes their
    cache, and the others use it.

    Examples
    --------
    >>> import numpy as np
    >>> from aedetect import open_rows, scale
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> with scale.main_process_first():
    ...     rows = open_rows(lambda: [X])
    """
    processes = Processes()
    if processes.rank > 0:
        processes.wait()
    try:
        yield
    finally:
        if processes.rank == 0:
            processes.wait()


def _join() -> Any:
    """Return the group of all processes; None for a process that is alone."""
    if not dist.is_initialized():
        n_processes = os.environ.get("WORLD_SIZE", "1")
        if n_processes == "1":
            return None
        if os.environ.get("LOCAL_WORLD_SIZE") == n_processes:
            # All on one machine, whose name may not lead to an address.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        dist.init_process_group("gloo", timeout=PATIENCE)
        atexit.register(dist.destroy_process_group)
    # Ray may have chosen NCCL for its own group, which takes tensors on GPUs alone.
    return dist.new_group(backend="gloo", timeout=PATIENCE)
