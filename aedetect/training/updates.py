"""Updates of the weights: the gradients of a batch, and the optimiser's step.

On a GPU a small update is hundreds of kernels, and the CPU takes longer to start them than the GPU
to run them. A CUDA graph starts all of them at once. It replays what was done to fixed addresses,
so batches are copied to a buffer, and the learning rate is a tensor.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from aedetect.training.dense import DenseStep
from aedetect.training.steps import Step

Rate = float | Sequence[float] | Tensor  # of all weights, or of each network

EAGER = 10  # updates with batches of one size before they are captured, which takes as long


class Update(Protocol):
    """Updates the weights by a batch."""

    def begin_epoch(self, batch_sizes: Sequence[int]) -> None:
        """Prepare an epoch, given the rows of each of its batches."""

    def __call__(self, x: Tensor, rate: Rate, totals: Tensor) -> None:
        """Take a step at a learning rate; add each member's losses to ``totals`` (n_members,)."""


class Mover(Protocol):
    """An optimiser: PyTorch's, or one of several networks."""

    param_groups: list[dict[str, Any]]  # "lr" is set before every step

    def step(self) -> Any:
        """Update the weights by their gradients."""


def make_update(step: Step, optimizer: Mover, generators: Sequence[Generator]) -> Update:
    """Return the fastest update there is.

    Parameters
    ----------
    step : Step
    optimizer : Mover
        In the state that it begins with.
    generators : sequence of torch.Generator
        Those that the step draws from.
    """
    if is_capturable(step) and all(group.get("capturable") for group in optimizer.param_groups):
        return CapturedUpdate(step, optimizer, generators)
    return PlainUpdate(step, optimizer)


def is_capturable(step: Step) -> bool:
    """Return whether a CUDA graph can hold the step: its buffers stay where they are."""
    return isinstance(step, DenseStep) and step.parameters[0].device.type == "cuda"


class PlainUpdate:
    """Calls the step and the optimiser, one after the other."""

    def __init__(self, step: Step, optimizer: Mover) -> None:
        self._step, self._optimizer = step, optimizer

    def begin_epoch(self, batch_sizes: Sequence[int]) -> None:
        """Prepare an epoch, as :class:`Update` says."""
        self._step.begin_epoch(batch_sizes)

    def __call__(self, x: Tensor, rate: Rate, totals: Tensor) -> None:
        """Take a step, as :class:`Update` says."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        losses = self._step.backpropagate(x)
        self._optimizer.step()
        totals += losses.sum(dim=-1)  # of each member


class Graph(Protocol):
    """A captured function."""

    def replay(self) -> None:
        """Run the captured function again, on the memory that it was captured with."""


class CudaGraph:
    """A function captured in a CUDA graph. Capture runs no kernel.

    Parameters
    ----------
    function : callable
    generators : sequence of torch.Generator
        Those that the function draws from; every replay draws anew.
    device : torch.device
        Where the function computes.
    """

    def __init__(
        self,
        function: Callable[[], None],
        generators: Sequence[Generator],
        device: torch.device,
    ) -> None:
        self._graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self._graph.register_generator_state(generator)
        stream = _stream_of(device, threading.get_ident())
        with (
            torch.cuda.device(device),
            torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"),
        ):
            function()

    def replay(self) -> None:
        """Run the kernels."""
        self._graph.replay()


@functools.cache
def _stream_of(device: torch.device, thread: int) -> torch.cuda.Stream:
    """Return the stream on which a thread captures: each keeps memory for its products.

    PyTorch's own one is of the device that was the first to capture.
    """
    return torch.cuda.Stream(device)


class CapturedUpdate:
    """Captures updates after some with batches of that size, and replays them.

    Parameters
    ----------
    step : Step
        With buffers that stay where they are.
    optimizer : Mover
        Whose step can be captured, and whose learning rate may be a tensor.
    generators : sequence of torch.Generator
        Those that the step draws from.
    capture : callable, default=CudaGraph
        Takes a function, the generators and the device; returns a Graph.
    """

    def __init__(
        self,
        step: Step,
        optimizer: Mover,
        generators: Sequence[Generator],
        capture: Callable[
            [Callable[[], None], Sequence[Generator], torch.device], Graph
        ] = CudaGraph,
    ) -> None:
        self._step, self._optimizer, self._generators = step, optimizer, generators
        self._capture: Any = capture
        rate = optimizer.param_groups[0]["lr"]
        if not isinstance(rate, Tensor):  # one of each network
            rate = torch.zeros((), device=step.parameters[0].device)
        self._rate = rate
        for group in optimizer.param_groups:
            group["lr"] = self._rate
        self._sizes: dict[int, _Size] = {}

    def begin_epoch(self, batch_sizes: Sequence[int]) -> None:
        """Prepare an epoch, as :class:`Update` says; the step drops buffers of other sizes."""
        self._sizes = {n: size for n, size in self._sizes.items() if n in set(batch_sizes)}
        self._step.begin_epoch(batch_sizes)

    def __call__(self, x: Tensor, rate: Rate, totals: Tensor) -> None:
        """Take a step, as :class:`Update` says."""
        n_rows = x.shape[1]
        size = self._sizes.setdefault(n_rows, _Size(x))
        size.x.copy_(x)
        if isinstance(rate, Tensor):
            self._rate.copy_(rate)
        else:
            self._rate.fill_(rate)  # type: ignore[arg-type]
        if size.graph is None and size.n_updates >= EAGER:
            size.graph = self._try_to_capture(size)
        if size.graph is None:
            self._update(size)
            size.n_updates += 1
        else:
            size.graph.replay()
        totals += size.losses

    def _update(self, size: _Size) -> None:
        losses = self._step.backpropagate(size.x)
        self._optimizer.step()
        torch.sum(losses, dim=-1, out=size.losses)

    def _try_to_capture(self, size: _Size) -> Graph | None:
        if self._capture is None:
            return None
        try:
            return self._capture(lambda: self._update(size), self._generators, self._rate.device)
        except RuntimeError as error:
            self._capture = None
            warnings.warn(
                f"The steps of training cannot be captured in a CUDA graph: {error}. They are taken"
                " one kernel at a time, which is slower.",
                stacklevel=2,
            )
            return None


class _Size:
    """The buffers of batches of one size, which stay where they are."""

    def __init__(self, x: Tensor) -> None:
        self.x = torch.empty_like(x, memory_format=torch.contiguous_format)
        self.losses = x.new_zeros(len(x))  # the sum over rows, of each member
        self.n_updates = 0
        self.graph: Graph | None = None
