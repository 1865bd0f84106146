"""Optimisers of several networks, each with a learning rate and a weight decay of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aedetect.training.optimizers import make_optimizer

State = dict[str, Tensor]  # of an optimiser, for one vector of weights


class GroupedRates:
    """Updates the networks of one rate and weight decay together.

    Every network gets the bits that it gets alone.

    Parameters
    ----------
    name : str
        Key of ``OPTIMIZERS``.
    vectors : sequence of Tensor
        The weights of each network.
    decays : sequence of float
        The weight decay of each network.
    states : sequence of dict
        Those that :attr:`states` had for these networks; empty ones at the start.
    """

    def __init__(
        self,
        name: str,
        vectors: Sequence[Tensor],
        decays: Sequence[float],
        states: Sequence[State],
    ) -> None:
        self._vectors, self._decays = vectors, decays
        self._optimizer = make_optimizer(name, vectors, learning_rate=0.0, weight_decay=0.0)
        self._optimizer.state.update(
            {vector: state for vector, state in zip(vectors, states, strict=True) if state}
        )
        self.param_groups: list[dict[str, Any]] = [{"lr": [0.0] * len(vectors)}]

    @property
    def states(self) -> list[State]:
        """The state of each network."""
        return [self._optimizer.state[vector] for vector in self._vectors]

    def step(self) -> None:
        """Update all weights."""
        alike: dict[tuple[float, float], list[Tensor]] = {}
        rates = self.param_groups[0]["lr"]
        for vector, rate, decay in zip(self._vectors, rates, self._decays, strict=True):
            alike.setdefault((rate, decay), []).append(vector)
        options = self._optimizer.param_groups[0]
        self._optimizer.param_groups = [
            {**options, "params": vectors, "lr": rate, "weight_decay": decay}
            for (rate, decay), vectors in alike.items()
        ]
        self._optimizer.step()


class StackedRates:
    """Updates the networks of one vector by kernels that all of them share.

    The step of each optimiser is its learning rate times a vector that does not depend on it. So
    one optimiser computes that vector, at the rate 1, and each network is moved by its own rate.

    Parameters
    ----------
    name : str
        Key of ``OPTIMIZERS``.
    vector : Tensor of shape (n_networks * size,)
        The weights, with their gradient.
    decays : sequence of float
        The weight decay of each network.
    capturable : bool
        Whether a CUDA graph is to hold the step.
    state : dict
        As :meth:`state_of` returns it; an empty one at the start.
    """

    def __init__(
        self,
        name: str,
        vector: Tensor,
        decays: Sequence[float],
        *,
        capturable: bool,
        state: State,
    ) -> None:
        n_networks = len(decays)
        assert vector.grad is not None
        self._weights = vector.detach().view(n_networks, -1)
        self._slopes = vector.grad.view(n_networks, -1)
        self._decays = vector.new_tensor(decays)[:, None] if any(decays) else None
        self._is_decoupled = name == "adamw"
        self._change = torch.zeros_like(vector)  # by which a rate of 1 would move the weights
        self._change.grad = vector.grad
        self._optimizer = make_optimizer(
            name, [self._change], learning_rate=1.0, weight_decay=0.0, capturable=capturable
        )
        if state:
            self._optimizer.state[self._change] = state
        holds = self._optimizer.param_groups[0].get("capturable", False)
        self.param_groups: list[dict[str, Any]] = [
            {"lr": vector.new_zeros(n_networks, 1), "capturable": holds}
        ]

    def state_of(self, rows: Tensor) -> State:
        """Return the state of some of the networks, given their numbers."""
        return {
            name: value.view(len(self._weights), -1)[rows].flatten() if value.ndim else value
            for name, value in self._optimizer.state[self._change].items()
        }

    @torch.no_grad()
    def step(self) -> None:
        """Update all weights."""
        rates = self.param_groups[0]["lr"]
        if self._decays is not None and self._is_decoupled:
            self._weights.mul_(1 - rates * self._decays)
        elif self._decays is not None:
            self._slopes.addcmul_(self._weights, self._decays)
        self._change.zero_()
        self._optimizer.step()
        self._weights.addcmul_(self._change.view_as(self._weights), rates)
