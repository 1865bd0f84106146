"""Everything that changes while a network is trained, to store it and to continue from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from aedetect.networks import Autoencoder, MemberLoop

State = dict[str, Tensor]


class Epoch(NamedTuple):
    """The result of one pass over the training rows."""

    loss: float  # mean over rows of the training loss
    val_loss: float  # mean over the held-out rows; NaN where there are none
    learning_rate: float  # of the last step
    seconds: float


class Best:
    """The weights of the epoch with a member's lowest held-out loss.

    Parameters
    ----------
    network : Autoencoder
    index : int
        Number of the member.
    """

    def __init__(self, network: Autoencoder, index: int) -> None:
        is_loop = isinstance(network, MemberLoop)
        holder = network.members[index] if isinstance(network, MemberLoop) else network
        self._held = list(_tensors_of(holder))  # once: it takes longer than a small copy
        self._index, self._is_part = index, not is_loop and network.n_members > 1
        self.loss, self.epoch = math.inf, -1
        self.weights: State | None = None

    def note(self, loss: float, epoch: int) -> bool:
        """Note the loss if it is the lowest so far; return whether it is."""
        is_best = loss < self.loss
        if is_best:
            self.loss, self.epoch = loss, epoch
        return is_best

    def copies(self) -> list[tuple[Tensor, Tensor]]:
        """Return tensors for the present weights to be copied to, each with these weights."""
        tensors = [(name, tensor.detach()) for name, tensor in self._tensors()]
        if self.weights is None:
            # A deep copy of a view would copy the vector behind it, which holds all members.
            self.weights = {name: tensor.clone() for name, tensor in tensors}
        return [(self.weights[name], tensor) for name, tensor in tensors]

    @torch.no_grad()
    def restore(self) -> None:
        """Set the member's weights to those that were kept, if any were."""
        if self.weights is not None:
            for name, tensor in self._tensors():
                tensor.copy_(self.weights[name])

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the member's weights and running statistics, which alias the network's."""
        for name, tensor in self._held:
            yield name, tensor[self._index] if self._is_part else tensor


class Run:
    """The state of a training.

    Parameters
    ----------
    network : Autoencoder
    optimizer : torch.optim.Optimizer or None
        None for a training that no other continues.
    generators : sequence of torch.Generator
        All generators that training draws from.
    """

    def __init__(
        self,
        network: Autoencoder,
        optimizer: torch.optim.Optimizer | None,
        generators: Sequence[Generator],
    ) -> None:
        self._network = network
        self._optimizer = optimizer
        self._generators = generators
        self.best = [Best(network, index) for index in range(network.n_members)]
        self.epochs: list[Epoch] = []
        self.stopped = False  # by a callback
        self.interrupted = False  # in the middle of an epoch

    def is_over(self, max_epochs: int, patience: int | None) -> bool:
        """Return whether no epoch is left, or none of the last ``patience`` was the best."""
        n_epochs = len(self.epochs)
        idle = n_epochs - 1 - max(record.epoch for record in self.best)
        exhausted = patience is not None and n_epochs > 0 and idle >= patience
        return self.stopped or n_epochs >= max_epochs or exhausted

    def add(self, epoch: Epoch, val_losses: Sequence[float]) -> list[Best]:
        """Append an epoch; return the records of the members whose held-out loss is their lowest.

        :func:`keep` keeps their weights.
        """
        members = zip(self.best, val_losses, strict=True)
        n_before = len(self.epochs)
        self.epochs.append(epoch)
        return [record for record, loss in members if record.note(loss, n_before)]

    def restore_best(self) -> None:
        """Set every member's weights to those of its best epoch, if any was kept."""
        for record in self.best:
            record.restore()

    def state_dict(self) -> State:
        """Return a copy of everything, on the CPU, for :meth:`load_state_dict`."""
        state = {
            **self.continuation(),
            "epochs": torch.tensor(self.epochs, dtype=torch.float64).view(-1, len(Epoch._fields)),
            "best_losses": torch.tensor([r.loss for r in self.best], dtype=torch.float64),
            "best_epochs": torch.tensor([r.epoch for r in self.best]),
            "stopped": torch.tensor(self.stopped),
        }
        for name, tensor in _tensors_of(self._network):
            state[f"weights.{name}"] = _copy(tensor)
        for index, record in enumerate(self.best):
            for name, tensor in (record.weights or {}).items():
                state[f"best.{index}.{name}"] = _copy(tensor)
        return state

    @torch.no_grad()
    def load_state_dict(self, state: State) -> None:
        """Set everything to what :meth:`state_dict` has returned."""
        self.continue_from(state)
        self.epochs = [Epoch(*row) for row in state["epochs"].tolist()]
        self.stopped = bool(state["stopped"])
        for name, tensor in _tensors_of(self._network):
            tensor.copy_(state[f"weights.{name}"])  # in place: it may be a view
        for index, record in enumerate(self.best):
            record.loss = float(state["best_losses"][index])
            record.epoch = int(state["best_epochs"][index])
            kept = _below(f"best.{index}.", state)
            record.weights = {name: tensor.clone() for name, tensor in kept.items()} or None

    def continuation(self) -> State:
        """Return copies of the optimiser's and the generators' states, for another run."""
        state = {f"generator.{i}": g.get_state() for i, g in enumerate(self._generators)}
        for index, parameter in enumerate(self._parameters):
            assert self._optimizer is not None  # it has parameters
            for key, value in self._optimizer.state.get(parameter, {}).items():
                if value is not None:  # momentum before the first step
                    state[f"optimizer.{index}.{key}"] = _copy(value)
        return state

    @torch.no_grad()
    def continue_from(self, state: State) -> None:
        """Set the optimiser and the generators to what :meth:`continuation` has returned.

        The optimiser begins anew if the state is that of another step, which holds the weights in
        tensors of other shapes: a fused optimiser would write beyond them.
        """
        for index, generator in enumerate(self._generators):
            generator.set_state(state[f"generator.{index}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for index, parameter in enumerate(self._parameters):
            for key, value in _below(f"optimizer.{index}.", state).items():
                if value.shape == parameter.shape:  # in the parameter's order of memory
                    value = torch.empty_like(parameter).copy_(value)
                elif value.ndim:
                    return
                moments.setdefault(index, {})[key] = value
        assert self._optimizer is not None
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})

    @property
    def _parameters(self) -> list[Tensor]:
        if self._optimizer is None:
            return []
        return [p for group in self._optimizer.param_groups for p in group["params"]]


def keep(records: Iterable[Best]) -> None:
    """Keep the present weights of members, on a GPU in a few kernels."""
    pairs = list(itertools.chain(*[record.copies() for record in records]))
    if pairs:
        torch._foreach_copy_([kept for kept, _ in pairs], [present for _, present in pairs])


def _tensors_of(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _below(prefix: str, state: State) -> State:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
