"""The one training loop, the one inference loop, devices and seeds."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.overrides import TorchFunctionMode

from aedetect.networks import Dropout

# Rows of every inference batch: matrix products round differently at other sizes, so all are
# padded to this one. A multiple of the vector width, so that no row falls into a scalar remainder.
INFERENCE_BATCH = 32

MIN_HELD_OUT = 128  # rows whose loss an epoch is judged by

# row_loss(network, x, generator) -> losses of shape (batch,)
RowLoss = Callable[[Any, Tensor, Generator], Tensor]


class Epoch(NamedTuple):
    """What one pass over the training rows came to."""

    loss: float  # mean over rows of the training loss
    val_loss: float  # the same on the held-out rows; NaN where there are none
    learning_rate: float  # of the last step
    seconds: float


class Watcher(Protocol):
    """Sees training from outside."""

    def on_epoch_begin(self) -> None:
        """Learn that an epoch begins."""

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
    network: nn.Module,
    row_loss: RowLoss,
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
    generator: Generator,
    watcher: Watcher,
) -> None:
    """Train ``network`` in place, and leave it in eval mode with its best weights.

    Parameters
    ----------
    network : torch.nn.Module
        On the device of ``x``.
    row_loss : callable
        ``row_loss(network, x, generator) -> loss`` of shape ``(batch,)``.
    x, x_val : Tensor of shape (n_rows, n_features)
        Training and held-out rows. With held-out rows the weights of the epoch with the lowest
        held-out loss are kept, without them those of the last epoch.
    optimizer, schedule : str
        Keys of ``OPTIMIZERS`` and ``SCHEDULES``.
    learning_rate, weight_decay : float
    batch_size, max_epochs : int
    patience : int
        Epochs without a lower held-out loss after which training stops.
    generator : torch.Generator
        Draws the order of rows and all noise.
    watcher : Watcher
        Told of the beginning and the end of every epoch.

    Raises
    ------
    ValueError
        If a loss is not finite.
    """
    lend_generator(network, generator)
    # Channels last halves the time of convolutions with few channels; other layers do not care.
    network.to(memory_format=torch.channels_last)
    optim = OPTIMIZERS[optimizer](network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    n_steps = max_epochs * len(_batch_bounds(len(x), batch_size))
    step = 0
    best_loss, best_weights, best_epoch = math.inf, None, -1
    for epoch in range(max_epochs):
        watcher.on_epoch_begin()
        started = time.perf_counter()
        network.train()
        total = torch.zeros((), device=x.device)
        for rows in _shuffled_batches(len(x), batch_size, generator):
            rate = learning_rate * SCHEDULES[schedule](step / n_steps)
            for group in optim.param_groups:
                group["lr"] = rate
            losses = row_loss(network, x[rows], generator)  # (batch,)
            optim.zero_grad()
            # Per feature, so that a learning rate suits every width; the minimum is the same.
            (losses.mean() / x.shape[1]).backward()
            optim.step()
            total += losses.detach().sum()
            step += 1
        network.eval()
        loss, val_loss = _read(total / len(x), _held_out_loss(network, row_loss, x_val))
        _check_finite(loss, val_loss, epoch, learning_rate)
        if val_loss < best_loss:
            best_loss, best_epoch = val_loss, epoch
            best_weights = copy.deepcopy(network.state_dict())  # state_dict() aliases live weights
        stop = watcher.on_epoch_end(Epoch(loss, val_loss, rate, time.perf_counter() - started))
        if stop or (len(x_val) and epoch - best_epoch >= patience):
            break
    if best_weights is not None:
        network.load_state_dict(best_weights)
    network.to(memory_format=torch.contiguous_format)
    lend_generator(network, None)


def _batch_bounds(n_rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Return the first and past-the-last row of every batch; a lone last row joins its neighbour.

    Batch normalisation has no variance to divide by in a batch of one.
    """
    starts = list(range(0, n_rows, batch_size))
    if len(starts) > 1 and n_rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))


def _shuffled_batches(n_rows: int, batch_size: int, generator: Generator) -> Iterator[Tensor]:
    order = torch.randperm(n_rows, generator=generator, device=generator.device)
    for first, last in _batch_bounds(n_rows, batch_size):
        yield order[first:last]


@torch.no_grad()
def _held_out_loss(network: nn.Module, row_loss: RowLoss, x_val: Tensor) -> Tensor:
    """Return the mean loss of the held-out rows, NaN where there are none."""
    if not len(x_val):
        return torch.full((), math.nan, device=x_val.device)
    generator = make_generator(0, x_val.device)  # the same noise every epoch: losses compare
    repeats = math.ceil(MIN_HELD_OUT / len(x_val))  # a few rows meet several draws of the noise
    losses = [row_loss(network, x, generator) for x in x_val.repeat(repeats, 1).split(4096)]
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


def make_generator(seed: int, device: torch.device) -> Generator:
    """Return a generator on ``device`` that starts from ``seed``."""
    return Generator(device=device).manual_seed(seed)


def lend_generator(network: nn.Module, generator: Generator | None) -> None:
    """Let the dropout layers of ``network`` draw from ``generator``; None takes it back."""
    for module in network.modules():
        if isinstance(module, Dropout):
            module.generator = generator


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


@torch.no_grad()
def infer(
    function: Callable[[Tensor], Tensor],
    x: NDArray[np.float32],
    device: torch.device,
) -> NDArray:
    """Return ``function`` of every row, computed in fixed-size, zero-padded batches.

    The result of a row is the same bits whatever rows come with it.

    Parameters
    ----------
    function : callable
        Maps a tensor ``(INFERENCE_BATCH, n_columns)`` to one whose rows depend on its own row
        alone.
    x : ndarray of shape (n_rows, n_columns), float32
    device : torch.device

    Returns
    -------
    result : ndarray of shape (n_rows, ...)
    """
    batches = torch.from_numpy(x).split(INFERENCE_BATCH)
    with _RowStable():
        outputs = [function(_padded(batch).to(device)).cpu() for batch in batches]
    return torch.cat(outputs)[: len(x)].numpy()


class _RowStable(TorchFunctionMode):
    """Makes the last bits of a row independent of its place in the batch, on a CPU.

    A row-major matrix product may sum a row in another order where its memory is aligned otherwise
    (seen with MKL for 1 to 11 outputs more than a multiple of 16), so ``x @ W.T + b`` is computed
    as ``(W @ x.T + b).T``: the vector lanes run along the batch, and all rows are alike. And an
    elementwise function that threads divide among them computes what is left over of a thread's
    share one by one, with other rounding, so it gets pieces that no thread shares. Being a mode,
    this holds for networks of the user's own too.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is F.linear and args[0].ndim == 2:
            return _feature_major_linear(*args, **(kwargs or {}))
        if func in _ROUNDED and args[0].numel() > UNSHARED and args[0].device.type == "cpu":
            return _piecewise(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


# Elementwise functions whose vector code rounds otherwise than their scalar code.
_ROUNDED = {
    *(F.gelu, F.silu, F.elu, F.selu, F.mish, F.softplus, F.binary_cross_entropy_with_logits),
    *(torch.sigmoid, torch.tanh, torch.exp, torch.erf),
}
UNSHARED = 8192  # values that PyTorch leaves to one thread; a multiple of the vector width


def _feature_major_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if bias is None:
        return torch.mm(weight, x.T).T
    return torch.addmm(bias[:, None], weight, x.T).T


def _piecewise(func: Callable[..., Tensor], args: tuple, kwargs: dict[str, Any]) -> Tensor:
    pieces = (
        arg.reshape(-1).split(UNSHARED) if isinstance(arg, Tensor) else itertools.repeat(arg)
        for arg in args
    )
    results = [func(*piece, **kwargs) for piece in zip(*pieces, strict=False)]
    return torch.cat(results).view(args[0].shape)


def _padded(batch: Tensor) -> Tensor:
    missing = INFERENCE_BATCH - len(batch)
    return F.pad(batch, (0, 0, 0, missing)) if missing else batch
