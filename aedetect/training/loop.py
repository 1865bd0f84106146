"""The one training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from aedetect.networks import Autoencoder, Dropout
from aedetect.training.checkpoint import Checkpoint
from aedetect.training.devices import limit_threads, make_generator, set_precision
from aedetect.training.memory import Parts
from aedetect.training.objective import Objective
from aedetect.training.state import Epoch, Run, State
from aedetect.training.steps import make_step

MIN_HELD_OUT = 128  # rows whose loss an epoch is judged by


class Watcher(Protocol):
    """Sees training from outside."""

    def on_resume(self, epochs: Sequence[Epoch]) -> None:
        """Learn of the epochs that an earlier process has done."""

    def on_epoch_begin(self) -> None:
        """Learn that an epoch begins."""

    def on_step_end(self) -> bool:
        """Learn that a step is done; return True to leave training in the midst of its epoch."""

    def on_epoch_end(self, epoch: Epoch) -> bool:
        """Learn what an epoch came to; return True to stop training after it."""


# `fused` updates all parameters in one kernel, which is most of a small network's step on a CPU.
# Adadelta and RMSprop have no such kernel, and Adagrad's is not on every device.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": lambda parameters, **options: torch.optim.Adam(parameters, fused=True, **options),
    "adamw": lambda parameters, **options: torch.optim.AdamW(parameters, fused=True, **options),
    "sgd": lambda parameters, **options: torch.optim.SGD(
        parameters, momentum=0.9, nesterov=True, fused=True, **options
    ),
    "adagrad": lambda parameters, **options: torch.optim.Adagrad(parameters, **options),
    "adadelta": lambda parameters, **options: torch.optim.Adadelta(
        parameters, foreach=True, **options
    ),
    "rmsprop": lambda parameters, **options: torch.optim.RMSprop(
        parameters, foreach=True, **options
    ),
}

# Share of the learning rate at a share of the run. "onecycle": Smith, "Super-convergence", 2018.
# Differs from Smith: the momentum stays as it is, and the descent follows a cosine.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "onecycle": lambda progress: (
        min(1.0, 0.01 + 10 * progress) * 0.5 * (1 + math.cos(math.pi * progress))
    ),
}


def train(
    networks: Sequence[Autoencoder],
    objective: Objective,
    x: Tensor,
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
    """Train networks of one shape side by side, in place, and leave them with their best weights.

    Parameters
    ----------
    networks : sequence of Autoencoder
        Each gets its own order of rows and its own noise.
    objective : Objective
        What each of them minimises.
    x, x_val : Tensor of shape (n_rows, n_features)
        Training and held-out rows, on any device. With held-out rows each network keeps its
        weights of the epoch with its lowest held-out loss, without them those of the last epoch.
    optimizer, schedule : str
        Keys of ``OPTIMIZERS`` and ``SCHEDULES``.
    learning_rate, weight_decay : float
    batch_size, max_epochs : int
    patience : int
        Epochs without a lower held-out loss of any network after which training stops.
    precision : str
        One of ``PRECISIONS``.
    compile : bool
        Whether PyTorch compiles the networks.
    generator : torch.Generator
        On the device of the networks. Draws the order of rows and all noise.
    watcher : Watcher
        Told of the beginning and the end of every epoch, and of every step.
    global_generators : sequence of torch.Generator, default=()
        What else the networks draw from.
    continuation : dict of str to Tensor or None, default=None
        ``Run.continuation()`` of an earlier training of these networks, with this optimiser.
    checkpoint : Checkpoint or None, default=None
        Training goes on from its state, bit for bit, and keeps its own there after each epoch.

    Returns
    -------
    run : Run
        Where training has ended.

    Raises
    ------
    ValueError
        If a loss is not finite.
    MemoryError
        If the device cannot hold even single rows.
    """
    _prepare(networks, generator)
    step = make_step(networks, objective, generator, precision=precision, compile=compile)
    optim = OPTIMIZERS[optimizer](step.parameters, lr=learning_rate, weight_decay=weight_decay)
    run = Run(networks, optim, [generator, *global_generators])
    if continuation is not None:
        run.continue_from(continuation)
    if checkpoint is not None:
        _resume(run, checkpoint, watcher)
    batch_sizes = [last - first for first, last in _batch_bounds(len(x), batch_size)]
    n_batches = len(batch_sizes)
    work = step.count_work(x[:1].to(generator.device)) * batch_size
    # A few held-out rows meet several draws of the noise.
    x_val = x_val.repeat(math.ceil(MIN_HELD_OUT / max(1, len(x_val))), 1)
    parts = Parts()
    while not run.is_over(max_epochs, patience if len(x_val) else None):
        watcher.on_epoch_begin()
        step.begin_epoch(batch_sizes)
        started = time.perf_counter()
        total = torch.zeros((), device=generator.device)
        n_done = len(run.epochs) * n_batches
        with set_precision(precision, generator.device), limit_threads(work, step.shared_work):
            for rows in _shuffled_batches(len(x), batch_size, len(networks), generator):
                rate = learning_rate * SCHEDULES[schedule](n_done / (max_epochs * n_batches))
                for group in optim.param_groups:
                    group["lr"] = rate
                losses = step.backpropagate(_take(x, rows))
                optim.step()
                total += losses.sum()
                n_done += 1
                run.interrupted = watcher.on_step_end()
                if run.interrupted:
                    break
            if run.interrupted:
                break
            held_out = [
                _held_out_loss(n, objective, x_val, generator.device, parts) for n in networks
            ]
        loss, *val_losses = _read(total / (len(x) * len(networks)), *held_out)
        val_loss = sum(val_losses) / len(val_losses)
        _check_finite(loss, val_loss, len(run.epochs), learning_rate)
        for record, value in zip(run.best, val_losses, strict=True):
            record.update(value, len(run.epochs))
        run.epochs.append(Epoch(loss, val_loss, rate, time.perf_counter() - started))
        run.stopped = watcher.on_epoch_end(run.epochs[-1])
        if checkpoint is not None:
            checkpoint.keep(run.state_dict())
    if checkpoint is not None and run.interrupted:
        checkpoint.write()
    for record in run.best:
        record.restore()
    _release(networks)
    return run


def _resume(run: Run, checkpoint: Checkpoint, watcher: Watcher) -> None:
    """Go on from where the checkpoint stands, or begin it."""
    if checkpoint.state is None:
        checkpoint.keep(run.state_dict())
    else:
        run.load_state_dict(checkpoint.state)
        watcher.on_resume(run.epochs)


def _prepare(networks: Sequence[nn.Module], generator: Generator) -> None:
    for network in networks:
        # Channels last halves the time of convolutions with few channels.
        network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, Dropout):
                module.generator = generator


def _release(networks: Sequence[nn.Module]) -> None:
    for network in networks:
        network.zero_grad()
        network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, Dropout):
                module.generator = None


def _batch_bounds(n_rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Return the first and past-the-last row of every batch; a lone last row joins its neighbour.

    Batch normalisation has no variance to divide by in a batch of one.
    """
    starts = list(range(0, n_rows, batch_size))
    if len(starts) > 1 and n_rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))


def _shuffled_batches(
    n_rows: int, batch_size: int, n_networks: int, generator: Generator
) -> Iterator[Tensor]:
    """Yield row numbers ``(n_networks * batch,)``: each network has an order of its own."""
    orders = torch.stack(
        [
            torch.randperm(n_rows, generator=generator, device=generator.device)
            for _ in range(n_networks)
        ]
    )
    for first, last in _batch_bounds(n_rows, batch_size):
        yield orders[:, first:last].reshape(-1)


def _take(x: Tensor, rows: Tensor) -> Tensor:
    """Return rows of ``x`` on the device of their numbers."""
    return x.index_select(0, rows.to(x.device)).to(rows.device, non_blocking=True)


@torch.no_grad()
def _held_out_loss(
    network: Autoencoder, objective: Objective, x_val: Tensor, device: torch.device, parts: Parts
) -> Tensor:
    """Return the mean loss of the held-out rows, NaN where there are none."""
    if not len(x_val):
        return torch.full((), math.nan, device=device)
    network.eval()
    mean = parts.compute(
        lambda n_parts: _mean_loss(network, objective, x_val, device, 4096 // n_parts), 4096
    )
    network.train()
    return mean


def _mean_loss(
    network: Autoencoder, objective: Objective, x_val: Tensor, device: torch.device, n_rows: int
) -> Tensor:
    generator = make_generator(0, device)  # the same noise every epoch: losses compare
    losses = [objective(network, x.to(device), generator) for x in x_val.split(n_rows)]
    return torch.cat(losses).mean()


def _read(*values: Tensor) -> list[float]:
    """Return tensors as floats: the one time an epoch that the CPU waits for the device."""
    return torch.stack(values).tolist()


def _check_finite(loss: float, val_loss: float, epoch: int, learning_rate: float) -> None:
    if not math.isfinite(loss) or math.isinf(val_loss):
        raise ValueError(
            f"The loss is {loss} after epoch {epoch + 1} (held-out loss {val_loss}): training"
            f" diverged. The likely cause is a learning rate that is too high: try"
            f" learning_rate={learning_rate / 10:g}. Otherwise look for extreme values in X, or"
            " leave scaling='auto' on."
        )
