"""The starting weights of a network."""

from __future__ import annotations

import math

import torch
from torch import Generator, nn

from aedetect.networks.autoencoder import Autoencoder
from aedetect.networks.layers import MemberLayer
from aedetect.networks.members import MemberLoop


def initialize(network: Autoencoder, generator: Generator) -> None:
    """Draw the starting weights of ``network`` from ``generator``, in place, member by member.

    Weights and biases are uniform in +-1/sqrt(fan_in), PyTorch's own default (LeCun et al.,
    "Efficient BackProp", 1998), drawn here because PyTorch's layers draw theirs from the global
    generator.
    """
    if isinstance(network, MemberLoop):
        for member in network.members:
            initialize(member, generator)  # type: ignore[arg-type]
        return
    for index in range(network.n_members):
        for module in network.modules():
            _initialize_layer(module, index, generator)


@torch.no_grad()
def _initialize_layer(module: nn.Module, index: int, generator: Generator) -> None:
    if isinstance(module, MemberLayer):
        module.reset_member(index, generator)
    elif isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        bound = 1 / math.sqrt(module.weight[0].numel())
        for parameter in module.parameters(recurse=False):
            parameter.uniform_(-bound, bound, generator=generator)
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()  # constants: no draw
