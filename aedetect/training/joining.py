"""Networks and objectives of several trainings, joined to those of one.

A number of each network becomes a tensor with a number for each member. So the steps of
all networks are those of one with many members.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from aedetect.corruption import Corruption, Hiding
from aedetect.networks import Autoencoder, Dropout, MemberLoop
from aedetect.networks.layers import MemberLayer
from aedetect.training.objective import Objective


def can_be_joined(network: Autoencoder, objective: Objective) -> bool:
    """Return whether layers and noise of a network may hold the members of several."""
    noise = _innermost(objective.corrupt)
    return not isinstance(network, MemberLoop) and isinstance(noise, Corruption | None)


def noise_in_common(objective: Objective) -> tuple:
    """Return a key that is equal for objectives whose noises can be joined."""
    noise = _innermost(objective.corrupt)
    return () if noise is None else (noise.noise, noise.clamp, noise.keeps_missing)


def join_networks(networks: Sequence[Autoencoder]) -> Autoencoder:
    """Return a network with all members of networks of one architecture, and their weights."""
    joint = copy.deepcopy(networks[0])
    joint.__dict__.pop("n_members", None)  # is cached
    for first, *own in zip(joint.modules(), *(n.modules() for n in networks), strict=True):
        if isinstance(first, MemberLayer):
            first.n_members *= len(networks)
        elif isinstance(first, Dropout):
            shares = [cast(Dropout, module).p for module in own]
            first.p = _of_members(shares, networks)[..., None]
    tensors = zip(*map(tensors_of, networks), strict=True)
    with torch.no_grad():
        for tensor, same in zip(tensors_of(joint), tensors, strict=True):
            tensor.data = torch.cat([t.detach() for t in same])
    return joint


def join_objectives(objectives: Sequence[Objective], networks: Sequence[Autoencoder]) -> Objective:
    """Return the objective of joined networks."""
    first = objectives[0]
    l1_activity: float | Tensor = 0.0
    if first.is_sparse:
        l1_activity = _of_members([o.l1_activity for o in objectives], networks)
    return dataclasses.replace(
        first,
        corrupt=_join_noises([o.corrupt for o in objectives], networks[0].n_members),
        l1_activity=l1_activity,
        beta=_of_members([o.beta for o in objectives], networks),
    )


def tensors_of(network: Autoencoder) -> list[Tensor]:
    """Return the weights and running statistics, each ``(n_members, ...)``."""
    return [*network.parameters(), *network.buffers()]


def _of_members(numbers: Sequence[Any], networks: Sequence[Autoencoder]) -> Tensor:
    """Return a number of each network for each of its members, ``(all members, 1)``."""
    weight = next(networks[0].parameters())
    return weight.new_tensor(numbers).repeat_interleave(networks[0].n_members)[:, None]


def _innermost(corrupt: Any) -> Any:
    """Return the noise itself, without what hides cells."""
    return corrupt.corrupt if isinstance(corrupt, Hiding) else corrupt


def _join_noises(corrupts: Sequence[Any], n_members: int) -> Any:
    """Return the noise of all members."""
    first = corrupts[0]
    if isinstance(first, Hiding):
        noise = _join_noises([_innermost(c) for c in corrupts], n_members)
        return dataclasses.replace(first, corrupt=noise)
    return None if first is None else Corruption.join(corrupts, n_members)
