"""The batches of an epoch, gathered from all rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from aedetect.training.pools import Rows


def batches_of(x: Rows, orders: Tensor, bounds: Sequence[tuple[int, int]]) -> Iterable[Tensor]:
    """Return the batches ``(n_members, batch, n_features)`` of an epoch, on the orders' device.

    Parameters
    ----------
    x : Rows of shape (n_rows, n_features)
        A tensor may be in main memory, where the device cannot hold it.
    orders : Tensor of shape (n_members, n_rows), int
        Numbers of the rows in the order of each member.
    bounds : sequence of (int, int)
        The first and past-the-last place of every batch in the orders.
    """
    if isinstance(x, Tensor) and x.device != orders.device:
        return _send(x, orders.to(x.device), bounds, orders.device)
    return (_take(x, orders[:, first:last]) for first, last in bounds)


def _take(x: Rows, rows: Tensor) -> Tensor:
    return x.index_select(0, rows.flatten()).view(*rows.shape, -1)


def _send(
    x: Tensor, orders: Tensor, bounds: Sequence[tuple[int, int]], device: torch.device
) -> Iterator[Tensor]:
    """Yield batches that are gathered in main memory while the device computes the last one."""
    n_most = len(orders) * max(last - first for first, last in bounds)
    buffers = [_Buffer(x, n_most, device) for _ in range(2)]
    for number, (first, last) in enumerate(bounds):
        yield buffers[number % 2].send(x, orders[:, first:last])


class _Buffer:
    """Memory that a GPU reads by itself, while the CPU goes on.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_features)
    n_rows : int
        Rows at most that it is to hold.
    device : torch.device
    """

    def __init__(self, x: Tensor, n_rows: int, device: torch.device) -> None:
        self._memory = x.new_empty(n_rows, x.shape[1])
        self._device, self._event = device, None
        if device.type == "cuda":
            self._memory = self._memory.pin_memory()
            self._event = torch.cuda.Event()

    def send(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return rows of ``x``, ``(*rows.shape, n_features)``, on the device."""
        if self._event is not None:
            self._event.synchronize()  # the last batch in here has been read
        held = torch.index_select(x, 0, rows.flatten(), out=self._memory[: rows.numel()])
        sent = torch.empty_like(held, device=self._device).copy_(held, non_blocking=True)
        if self._event is not None:
            self._event.record()
        return sent.view(*rows.shape, -1)
