"""The one training loop."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from aedetect.networks import (
    ACTIVATIONS,
    Autoencoder,
    BatchNorm,
    Dropout,
    LayerNorm,
    Linear,
    MaskInput,
    TiedLinear,
    VariationalAutoencoder,
)
from aedetect.training.batches import batches_of
from aedetect.training.checkpoint import Checkpoint
from aedetect.training.devices import limit_threads, make_generator
from aedetect.training.job import Job
from aedetect.training.memory import BatchSplitter
from aedetect.training.objective import Objective
from aedetect.training.optimizers import SCHEDULES, make_optimizer
from aedetect.training.pools import OnePool, Pools, Rows
from aedetect.training.precision import set_precision
from aedetect.training.shards import Exchange, ShardedStep
from aedetect.training.shifts import Shifts
from aedetect.training.state import Best, Epoch, Run, State, keep
from aedetect.training.steps import make_step
from aedetect.training.updates import Rate, Update, is_capturable, make_update

SHIFTED = 0.8  # share of the epochs, the first ones, in which images are shifted
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
    shifts: Shifts | None = None,
    global_generators: Sequence[Generator] = (),
    continuation: State | None = None,
    checkpoint: Checkpoint | None = None,
    exchange: Exchange | None = None,
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
        On the device of the network. Draws the order of rows, shifts and all noise.
    watcher : Watcher
        Told of the beginning and the end of every epoch, and of every step.
    shifts : Shifts or None, default=None
        Move each training row, which is an image, anew in every epoch but the last fifth of
        ``max_epochs``. Held-out rows stay.
    global_generators : sequence of torch.Generator, default=()
        Others that the network draws from.
    continuation : dict of str to Tensor or None, default=None
        ``Run.continuation()`` of an earlier training of this network, with this optimiser.
    checkpoint : Checkpoint or None, default=None
        Training resumes from its state, bit for bit, and stores its own there after each epoch.
    exchange : Exchange or None, default=None
        Connects this process to others that train copies of the network with these arguments.

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
    job = Job(
        network,
        objective,
        x,
        x_val,
        generator,
        optimizer=optimizer,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        schedule=schedule,
        batch_size=batch_size,
        max_epochs=max_epochs,
        patience=patience,
        shifts=shifts,
    )
    noise = generator if exchange is None else make_generator(0, generator.device)
    prepare(network, noise)
    step = make_step(network, objective, noise, precision=precision, compile=compile)
    if exchange is not None:
        step = ShardedStep(step, network, generator, [noise, *global_generators], exchange)
    optim = make_optimizer(
        optimizer,
        step.parameters,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        capturable=is_capturable(step),
    )
    run = Run(network, optim, [generator, *global_generators])
    if continuation is not None:
        run.continue_from(continuation)
    if checkpoint is not None:
        _resume(run, checkpoint, watcher)
    epochs = Epochs(job, run)
    update = make_update(step, optim, [generator])
    one_row = torch.zeros(1, x_val.shape[1], device=generator.device)
    work = step.count_work(one_row) * batch_size
    while not epochs.are_over():
        watcher.on_epoch_begin()
        rows = epochs.load()
        update.begin_epoch(epochs.batch_sizes)
        with set_precision(precision, generator.device), limit_threads(work, step.shared_work):
            orders, rates = epochs.draw_orders(), epochs.rates()
            batches = map(epochs.shift, itertools.count(), batches_of(rows, orders, epochs.bounds))
            totals = torch.zeros(network.n_members, device=generator.device)
            run.interrupted = take_steps(update, batches, rates, totals, watcher.on_step_end)
            if run.interrupted:
                break
            held_out = epochs.held_out_losses()
            if exchange is not None:
                held_out = exchange.gather(held_out)[0]  # all processes stop at one epoch
        epoch, best = epochs.end(*read(totals, held_out))
        keep(best)
        run.stopped = watcher.on_epoch_end(epoch)
        if checkpoint is not None:
            checkpoint.keep(run.state_dict())
    if checkpoint is not None and run.interrupted:
        checkpoint.write()
    run.restore_best()
    release(network)
    return run


class Epochs:
    """The epochs of one training, apart from its steps: draws of rows, losses, the end.

    Parameters
    ----------
    job : Job
    run : Run
        Extended by every epoch.
    """

    def __init__(self, job: Job, run: Run) -> None:
        self._job, self._run = job, run
        self._pools = OnePool(job.x) if isinstance(job.x, Tensor) else job.x
        self._first_steps = _first_steps(self._pools, job.batch_size, job.max_epochs)
        self._splitter = BatchSplitter()
        self._moves: Tensor | None = None  # of the rows of the epoch

    @property
    def batch_sizes(self) -> list[int]:
        """Rows of every batch of the epoch."""
        return [last - first for first, last in self.bounds]

    def are_over(self) -> bool:
        """Return whether no epoch is left."""
        return self._run.is_over(
            self._job.max_epochs, self._job.patience if len(self._job.x_val) else None
        )

    def load(self) -> Rows:
        """Return the rows of the next epoch; ``bounds`` are those of its batches from here."""
        self._started = time.perf_counter()
        rows = self._pools.load(len(self._run.epochs))
        self._n_rows = len(rows)
        self.bounds = _batch_bounds(self._n_rows, self._job.batch_size)
        return rows

    def draw_orders(self) -> Tensor:
        """Draw for an epoch; return the orders of its rows, ``(n_members, n_rows)``."""
        orders = draw_orders(self._n_rows, self._job.network.n_members, self._job.generator)
        self.draw_moves(self._job.generator)
        return orders

    def draw_moves(self, generator: Generator) -> None:
        """Draw by how much the rows of an epoch are shifted, if they are."""
        job, self._moves = self._job, None
        if job.shifts is not None and len(self._run.epochs) < SHIFTED * job.max_epochs:
            self._moves = job.shifts.draw(job.network.n_members, self._n_rows, generator)

    def rates(self) -> list[float]:
        """Return the learning rates of the epoch's steps."""
        number = len(self._run.epochs)
        steps = self._first_steps[number : number + 2]
        shares = _shares(self._job.schedule, *steps, self._first_steps[-1])
        rates = [self._job.learning_rate * share for share in shares]
        self._rate = rates[-1]
        return rates

    def shift(self, number: int, x: Tensor) -> Tensor:
        """Return the rows of a batch, ``(n_members, batch, n_features)``, shifted if they are."""
        if self._job.shifts is None or self._moves is None:
            return x
        first, last = self.bounds[number]
        return self._job.shifts(x, self._moves[..., first:last])

    def held_out_losses(self) -> Tensor:
        """Return each member's mean loss of the held-out rows, NaN where there are none."""
        job, device = self._job, self._job.generator.device
        if not len(job.x_val):
            return torch.full((job.network.n_members,), math.nan, device=device)
        for module in self._switched:
            module.eval()
        means = self._splitter.compute(
            lambda n_parts: _mean_losses(job, self._x_val, device, 4096 // n_parts), 4096
        )
        for module in self._switched:
            module.train()
        return means

    @cached_property
    def _x_val(self) -> Tensor:
        n_times = count_repeats(self._job.x_val)
        return self._job.x_val.repeat(n_times, 1) if n_times > 1 else self._job.x_val

    @cached_property
    def _switched(self) -> list[nn.Module]:
        return _switched_by_mode(self._job.network)

    def end(self, totals: Sequence[float], val_losses: Sequence[float]) -> tuple[Epoch, list[Best]]:
        """End an epoch, given each member's sum of losses and held-out loss.

        Returns
        -------
        epoch : Epoch
        best : list of Best
            Those of the members whose present weights are to be kept.
        """
        loss = sum(totals) / (self._n_rows * len(totals))
        val_loss = sum(val_losses) / len(val_losses)
        _check_finite(loss, val_loss, len(self._run.epochs), self._job.learning_rate)
        epoch = Epoch(loss, val_loss, self._rate, time.perf_counter() - self._started)
        return epoch, self._run.add(epoch, val_losses)


def _resume(run: Run, checkpoint: Checkpoint, watcher: Watcher) -> None:
    """Resume from the state of the checkpoint, or write its first one."""
    if checkpoint.state is None:
        checkpoint.keep(run.state_dict())
    else:
        run.load_state_dict(checkpoint.state)
        watcher.on_resume(run.epochs)


def prepare(network: nn.Module, generator: Generator) -> None:
    """Make a network ready for training."""
    # Channels last halves the time of convolutions with few channels.
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _set_dropout(network, generator)


def release(network: nn.Module) -> None:
    """Undo what :func:`prepare` and the step have done to a network."""
    network.zero_grad()
    network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    _set_dropout(network, None)
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        if not tensor.is_contiguous():  # one of several members that lie apart
            tensor.data = tensor.data.contiguous()


def _set_dropout(network: nn.Module, generator: Generator | None) -> None:
    for module in network.modules():
        if isinstance(module, Dropout):
            module.generator = generator


def take_steps(
    update: Update,
    batches: Iterable[Tensor],
    rates: Iterable[Rate],
    totals: Tensor,
    on_step_end: Callable[[], bool] | None = None,
) -> bool:
    """Take a step a batch; return whether ``on_step_end`` stops training.

    The sums of the losses are added to ``totals`` ``(n_members,)``.
    """
    for x, rate in zip(batches, rates, strict=True):
        update(x, rate, totals)
        if on_step_end is not None and on_step_end():
            return True
    return False


def count_repeats(x_val: Tensor) -> int:
    """Return how often held-out rows are repeated: few get several draws of the noise each."""
    n_needed = min(MIN_HELD_OUT, MIN_HELD_OUT_CELLS // x_val.shape[1])
    return max(1, math.ceil(n_needed / max(1, len(x_val))))


@functools.lru_cache(maxsize=16)
def _shares(schedule: str, first: int, last: int, n_steps: int) -> tuple[float, ...]:
    """Return the shares of the learning rate from one step of ``n_steps`` to another.

    Networks that are trained side by side have them in common.
    """
    return tuple(SCHEDULES[schedule](step / n_steps) for step in range(first, last))


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


def draw_orders(n_rows: int, n_members: int, generator: Generator) -> Tensor:
    """Return row numbers ``(n_members, n_rows)``: each member has an order of its own."""
    if generator.device.type != "cpu":  # a call for all members takes no longer than one for one
        keys = torch.empty(n_members, n_rows, device=generator.device)
        return keys.uniform_(generator=generator).argsort(dim=1)
    return torch.stack(
        [
            torch.randperm(n_rows, generator=generator, device=generator.device)
            for _ in range(n_members)
        ]
    )


@torch.no_grad()
def _mean_losses(job: Job, x_val: Tensor, device: torch.device, n_rows: int) -> Tensor:
    """Return each member's mean loss of the held-out rows, computed ``n_rows`` at a time."""
    generator = make_generator(0, device)  # every epoch draws the same noise: losses compare
    shared = x_val if job.network.n_members == 1 else x_val[None]
    batches = (x.to(device) for x in shared.split(n_rows, dim=-2))
    losses = torch.cat([job.objective(job.network, x, generator) for x in batches], dim=-1)
    return losses.mean(dim=-1).view(-1)


def _switched_by_mode(network: Autoencoder) -> list[nn.Module]:
    """Return the modules that compute otherwise in training: all, for layers of unknown kinds.

    Most networks have none, and a switch of all modules takes as long as a small step.
    """
    modules = list(network.modules())
    if any(type(module) not in (*PLAIN_MODULES, *MODE_MODULES) for module in modules):
        return [network]
    return [module for module in modules if type(module) in MODE_MODULES]


MODE_MODULES = (Dropout, BatchNorm)
PLAIN_MODULES = (
    *(Autoencoder, VariationalAutoencoder, MaskInput, nn.Sequential),
    *(Linear, TiedLinear, LayerNorm),
    *(type(make()) for make in ACTIVATIONS.values()),
)


def read(totals: Tensor, held_out: Tensor) -> tuple[list[float], list[float]]:
    """Return tensors as floats: the one time an epoch that the CPU waits for the device."""
    values = torch.cat([totals, held_out]).tolist()
    return values[: len(totals)], values[len(totals) :]


def _check_finite(loss: float, val_loss: float, epoch: int, learning_rate: float) -> None:
    if not math.isfinite(loss) or math.isinf(val_loss):
        raise ValueError(
            f"The loss is {loss} after epoch {epoch + 1} (held-out loss {val_loss}): training"
            f" diverged. The likely cause is a learning rate that is too high: try"
            f" learning_rate={learning_rate / 10:g}. Otherwise look for extreme values in X, or"
            " leave scaling='auto' on."
        )
