"""One training by several processes, each of which computes some shards of every batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from aedetect.training.steps import Step


class Exchange(Protocol):
    """Connects the processes of a training. All of them make equal calls, in one order."""

    n_shards: int  # of a batch; a power of two, whatever the number of processes
    rank: int  # number of this process
    size: int  # number of processes, which divides n_shards

    def gather(self, x: Tensor) -> Tensor:
        """Return the tensors of all processes, ``(size, *x.shape)``, in the order of ranks."""

    def wait(self) -> None:
        """Return once all processes have called it."""


class ShardedStep:
    """Divides a batch into shards and adds their gradients up, in pairs.

    The pairs, and the noise of a shard, do not depend on the process that computes it. So any
    number of processes trains a network to equal bits.

    Parameters
    ----------
    step : Step
        Computes a shard.
    network : Autoencoder
        That of ``step``, without batch normalisation.
    generator : torch.Generator
        In one state in all processes. Draws the seeds of shards.
    noise : sequence of torch.Generator
        All generators that ``step`` draws from.
    exchange : Exchange
    """

    def __init__(
        self,
        step: Step,
        network: nn.Module,
        generator: Generator,
        noise: Sequence[Generator],
        exchange: Exchange,
    ) -> None:
        if any(True for _ in network.buffers()):
            raise ValueError(
                "Batch normalisation takes means of whole batches, of which each process has a"
                " part. Set batch_norm=False, or train in one process with fit."
            )
        self._step, self._generator, self._noise = step, generator, noise
        self._exchange = exchange
        self.parameters: Sequence[Tensor] = step.parameters
        self._seeds: Iterator[list[int]] = iter(())

    # One thread: products of several round otherwise, and processes use the processors.
    shared_work = 2**62

    def count_work(self, x: Tensor) -> int:
        """Return the multiplications and additions of one row, as :class:`Step` says."""
        return self._step.count_work(x)

    def begin_epoch(self, batch_sizes: Sequence[int]) -> None:
        """Draw a seed for every shard of every batch of an epoch."""
        n_shards, device = self._exchange.n_shards, self._generator.device
        shape = len(batch_sizes), n_shards
        seeds = torch.randint(2**62, shape, generator=self._generator, device=device)
        self._seeds = iter(seeds.tolist())
        sizes = {n // n_shards + extra for n in batch_sizes for extra in (0, n % n_shards > 0)}
        self._sizes = sorted(sizes - {0})

    def backpropagate(self, x: Tensor) -> Tensor:
        """Set the gradients; return the sums of the losses of all rows, ``(n_members, 1)``."""
        seeds, exchange = next(self._seeds), self._exchange
        n_own = exchange.n_shards // exchange.size
        own = range(exchange.rank * n_own, (exchange.rank + 1) * n_own)
        shards = x.tensor_split(exchange.n_shards, dim=1)
        parts = [self._differentiate(shards[i], seeds[i], x.shape[1]) for i in own]
        total = add_pairs(exchange.gather(add_pairs(torch.stack(parts))))
        *gradients, losses = total.split([*map(torch.numel, self.parameters), len(x)])
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            _gradient_of(parameter).copy_(gradient.view(parameter.shape))
        return losses[:, None]

    def _differentiate(self, rows: Tensor, seed: int, n_rows: int) -> Tensor:
        """Return a shard's share in the gradients, and its sums of losses, as one vector."""
        if rows.shape[1] == 0:
            n_values = sum(map(torch.numel, self.parameters)) + len(rows)
            return rows.new_zeros(n_values)
        for generator in self._noise:
            generator.manual_seed(seed)
        self._step.begin_epoch(self._sizes)  # drops what was drawn ahead
        losses = self._step.backpropagate(rows).sum(dim=-1)
        gradients = [_gradient_of(parameter).flatten() for parameter in self.parameters]
        return torch.cat([torch.cat(gradients) * (rows.shape[1] / n_rows), losses])


def _gradient_of(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def add_pairs(x: Tensor) -> Tensor:
    """Return the sum of a power of two of tensors ``(n, ...)``: of pairs, of their sums, and so on.

    Equal parts of the tensors can be added up apart, and their sums then, to equal bits.
    """
    while len(x) > 1:
        x = x[0::2] + x[1::2]
    return x[0]
