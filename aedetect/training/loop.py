"""The one training loop."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from aedetect.networks import Autoencoder, Dropout
from aedetect.training.checkpoint import Checkpoint
from aedetect.training.devices import limit_threads, make_generator, set_precision
from aedetect.training.memory import BatchSplitter
from aedetect.training.objective import Objective
from aedetect.training.optimizers import SCHEDULES, make_optimizer
from aedetect.training.pools import OnePool, Pools
from aedetect.training.state import Epoch, Run, State
from aedetect.training.steps import Step, make_step

MIN_HELD_OUT = 128  # rows at least that the held-out loss is the mean of, or
MIN_HELD_OUT_CELLS = 2**17  # as many wide rows as hold this many cells


class Watcher(Protocol):
    """Follows training, and may stop it."""

    def on_resume(self, epochs: Sequence[Epoch]) -> None:
        """Take the epochs of the earlier process from whose checkpoint training resumes."""

    def on_epoch_begin(self) -> None:
        """Note that an epoch begins."""

    def on_step_end(self) -> bool:
        """Note that a step is done; return True to stop training in the middle of the epoch."""

    def on_epoch_end(self, epoch: Epoch) -> bool:
        """Take the result of an epoch; return True to stop training after it."""


def train(
    network: Autoencoder,
    objective: Objective,
    x: Tensor | Pools,
    x_val: Tensor,
    *,
    optimizer: str,
    learning_rate: float,
    weight_decay: float,
    schedule: str,
    batch_size: int,
    max_epochs: int,
    patience: int,
    precision: str,
    compile: bool,
    generator: Generator,
    watcher: Watcher,
    global_generators: Sequence[Generator] = (),
    continuation: State | None = None,
    checkpoint: Checkpoint | None = None,
) -> Run:
    """Train a network in place and leave every member with its best weights.

    Parameters
    ----------
    network : Autoencoder
        Each member has its own order of rows and its own noise.
    objective : Objective
        The loss that each member minimises.
    x : Tensor of shape (n_rows, n_features), or Pools
        Training rows, on any device. Of Pools, an epoch is a pass over one pool.
    x_val : Tensor of shape (n_rows, n_features)
        Held-out rows, on any device. With them each member keeps its weights of the epoch with its
        lowest held-out loss, without them those of the last epoch.
    optimizer, schedule : str
        Keys of ``OPTIMIZERS`` and ``SCHEDULES``.
    learning_rate, weight_decay : float
    batch_size, max_epochs : int
    patience : int
        Epochs without a lower held-out loss of any member after which training stops.
    precision : str
        One of ``PRECISIONS``.
    compile : bool
        Whether PyTorch compiles the network.
    generator : torch.Generator
        On the device of the network. Draws the order of rows and all noise.
    watcher : Watcher
        Told of the beginning and the end of every epoch, and of every step.
    global_generators : sequence of torch.Generator, default=()
        Others that the network draws from.
    continuation : dict of str to Tensor or None, default=None
        ``Run.continuation()`` of an earlier training of this network, with this optimiser.
    checkpoint : Checkpoint or None, default=None
        Training resumes from its state, bit for bit, and stores its own there after each epoch.

    Returns
    -------
    run : Run
        The state at the end of training.

    Raises
    ------
    ValueError
        If a loss is not finite.
    MemoryError
        If the device cannot hold even single rows.
    """
    _prepare(network, generator)
    step = make_step(network, objective, generator, precision=precision, compile=compile)
    optim = make_optimizer(
        optimizer, step.parameters, learning_rate=learning_rate, weight_decay=weight_decay
    )
    run = Run(network, optim, [generator, *global_generators])
    if continuation is not None:
        run.continue_from(continuation)
    if checkpoint is not None:
        _resume(run, checkpoint, watcher)
    pools = OnePool(x) if isinstance(x, Tensor) else x
    n_features = x_val.shape[1]
    first_steps = _first_steps(pools, batch_size, max_epochs)
    work = step.count_work(torch.zeros(1, n_features, device=generator.device)) * batch_size
    # Few held-out rows are repeated, so that each gets several draws of the noise.
    n_needed = min(MIN_HELD_OUT, MIN_HELD_OUT_CELLS // n_features)
    x_val = x_val.repeat(max(1, math.ceil(n_needed / max(1, len(x_val)))), 1)
    splitter = BatchSplitter()
    while not run.is_over(max_epochs, patience if len(x_val) else None):
        watcher.on_epoch_begin()
        started = time.perf_counter()
        number = len(run.epochs)
        x = pools.load(number)
        bounds = _batch_bounds(len(x), batch_size)
        step.begin_epoch([last - first for first, last in bounds])
        steps = range(*first_steps[number : number + 2])
        rates = [learning_rate * SCHEDULES[schedule](n / first_steps[-1]) for n in steps]
        batches = _shuffled_batches(len(x), bounds, network.n_members, generator)
        with set_precision(precision, generator.device), limit_threads(work, step.shared_work):
            total, run.interrupted = _train_epoch(step, optim, x, batches, rates, watcher)
            if run.interrupted:
                break
            held_out = _held_out_losses(network, objective, x_val, generator.device, splitter)
        loss, *val_losses = _read(total / (len(x) * network.n_members), held_out)
        val_loss = sum(val_losses) / len(val_losses)
        _check_finite(loss, val_loss, number, learning_rate)
        epoch = Epoch(loss, val_loss, rates[-1], time.perf_counter() - started)
        run.add(epoch, val_losses)
        run.stopped = watcher.on_epoch_end(epoch)
        if checkpoint is not None:
            checkpoint.keep(run.state_dict())
    if checkpoint is not None and run.interrupted:
        checkpoint.write()
    run.restore_best()
    _release(network)
    return run


def _resume(run: Run, checkpoint: Checkpoint, watcher: Watcher) -> None:
    """Resume from the state of the checkpoint, or write its first one."""
    if checkpoint.state is None:
        checkpoint.keep(run.state_dict())
    else:
        run.load_state_dict(checkpoint.state)
        watcher.on_resume(run.epochs)


def _prepare(network: nn.Module, generator: Generator) -> None:
    # Channels last halves the time of convolutions with few channels.
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _set_dropout(network, generator)


def _release(network: nn.Module) -> None:
    network.zero_grad()
    network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    _set_dropout(network, None)


def _set_dropout(network: nn.Module, generator: Generator | None) -> None:
    for module in network.modules():
        if isinstance(module, Dropout):
            module.generator = generator


def _train_epoch(
    step: Step,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    batches: Iterable[Tensor],
    rates: Iterable[float],
    watcher: Watcher,
) -> tuple[Tensor, bool]:
    """Take a step a batch; return the sum of the losses and whether the watcher stops training."""
    total = torch.zeros((), device=step.parameters[0].device)
    for rows, rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = step.backpropagate(_take(x, rows))
        optimizer.step()
        total += losses.sum()
        if watcher.on_step_end():
            return total, True
    return total, False


def _batch_bounds(n_rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Return the first and past-the-last row of every batch; a lone last row joins its neighbour.

    Batch normalisation has no variance to divide by in a batch of one.
    """
    starts = list(range(0, n_rows, batch_size))
    if len(starts) > 1 and n_rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))


def _first_steps(pools: Pools, batch_size: int, max_epochs: int) -> list[int]:
    """Return the number of the first step of every epoch, and the number of all steps."""
    n_rows = (pools.count(epoch) for epoch in range(max_epochs))
    return list(itertools.accumulate((_count_batches(n, batch_size) for n in n_rows), initial=0))


def _count_batches(n_rows: int, batch_size: int) -> int:
    """Return the length of :func:`_batch_bounds`."""
    n_batches = -(-n_rows // batch_size)
    has_lone_row = n_batches > 1 and n_rows - (n_batches - 1) * batch_size == 1
    return n_batches - has_lone_row


def _shuffled_batches(
    n_rows: int, bounds: Iterable[tuple[int, int]], n_members: int, generator: Generator
) -> Iterator[Tensor]:
    """Yield row numbers ``(n_members, batch)``: each member has an order of its own."""
    orders = torch.stack(
        [
            torch.randperm(n_rows, generator=generator, device=generator.device)
            for _ in range(n_members)
        ]
    )
    for first, last in bounds:
        yield orders[:, first:last]


def _take(x: Tensor, rows: Tensor) -> Tensor:
    """Return rows of ``x``, ``(*rows.shape, n_features)``, on the device of their numbers."""
    taken = x.index_select(0, rows.flatten().to(x.device)).view(*rows.shape, -1)
    return taken.to(rows.device, non_blocking=True)


@torch.no_grad()
def _held_out_losses(
    network: Autoencoder,
    objective: Objective,
    x_val: Tensor,
    device: torch.device,
    splitter: BatchSplitter,
) -> Tensor:
    """Return each member's mean loss of the held-out rows, NaN where there are none."""
    if not len(x_val):
        return torch.full((network.n_members,), math.nan, device=device)
    network.eval()
    means = splitter.compute(
        lambda n_parts: _mean_losses(network, objective, x_val, device, 4096 // n_parts), 4096
    )
    network.train()
    return means


def _mean_losses(
    network: Autoencoder, objective: Objective, x_val: Tensor, device: torch.device, n_rows: int
) -> Tensor:
    generator = make_generator(0, device)  # every epoch draws the same noise: losses compare
    shared = x_val if network.n_members == 1 else x_val[None]
    batches = (x.to(device) for x in shared.split(n_rows, dim=-2))
    losses = torch.cat([objective(network, x, generator) for x in batches], dim=-1)
    return losses.mean(dim=-1).view(-1)


def _read(total: Tensor, losses: Tensor) -> list[float]:
    """Return tensors as floats: the one time an epoch that the CPU waits for the device."""
    return torch.cat([total.view(1), losses]).tolist()


def _check_finite(loss: float, val_loss: float, epoch: int, learning_rate: float) -> None:
    if not math.isfinite(loss) or math.isinf(val_loss):
        raise ValueError(
            f"The loss is {loss} after epoch {epoch + 1} (held-out loss {val_loss}): training"
            f" diverged. The likely cause is a learning rate that is too high: try"
            f" learning_rate={learning_rate / 10:g}. Otherwise look for extreme values in X, or"
            " leave scaling='auto' on."
        )
