"""Layers that hold the weights of several members, and the blocks made of layers.

Every layer takes rows ``(batch, n)`` for one member and ``(n_members, batch, n)`` for any number.
Rows ``(1, batch, n)`` are taken by every member.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from aedetect.networks.dropout import Dropout

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def hidden_block(
    layer: nn.Module, norm: nn.Module | None, activation: str, dropout: float
) -> list[nn.Module]:
    """Return a layer, then its norm if there is one, its activation, and dropout if it is not 0."""
    block = [layer] if norm is None else [layer, norm]
    block.append(ACTIVATIONS[activation]())
    if dropout:
        block.append(Dropout(dropout))
    return block


class MemberLayer(nn.Module):
    """A layer with weights of its own for each of ``n_members``, along their first dimension."""

    n_members: int

    def reset_parameters(self) -> None:
        """Draw the weights of all members from PyTorch's global generator."""
        for index in range(self.n_members):
            self.reset_member(index, None)

    def reset_member(self, index: int, generator: Generator | None) -> None:
        """Draw the weights of one member."""
        raise NotImplementedError


class Linear(MemberLayer):
    """A linear layer for each member.

    Parameters
    ----------
    in_features, out_features : int
    n_members : int, default=1

    Attributes
    ----------
    weight : torch.nn.Parameter of shape (n_members, out_features, in_features)
    bias : torch.nn.Parameter of shape (n_members, out_features)
    """

    def __init__(self, in_features: int, out_features: int, n_members: int = 1) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.n_members = n_members
        self.weight = nn.Parameter(torch.empty(n_members, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(n_members, out_features))
        self.reset_parameters()

    @torch.no_grad()
    def reset_member(self, index: int, generator: Generator | None) -> None:
        """Draw weights and biases of one member, uniform in +-1/sqrt(in_features)."""
        bound = 1 / math.sqrt(self.in_features)
        for parameter in (self.weight, self.bias):
            parameter[index].uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x @ W.T + b`` of each member, shape ``(..., batch, out_features)``."""
        return _affine(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows inside the parentheses."""
        return f"{self.in_features}, {self.out_features}, n_members={self.n_members}"


class TiedLinear(MemberLayer):
    """A linear layer whose weight is the transpose of another one's; only its bias is its own.

    Parameters
    ----------
    source : Linear
        The layer whose weight is used.
    out_features : int
        How many of the source's inputs it restores, the first ones: all but a mask.
    """

    def __init__(self, source: Linear, out_features: int) -> None:
        super().__init__()
        self._source = (source,)  # in a tuple: its weight must not be registered twice
        self.in_features, self.out_features = source.out_features, out_features
        self.n_members = source.n_members
        self.bias = nn.Parameter(torch.empty(self.n_members, self.out_features))
        self.reset_parameters()

    @torch.no_grad()
    def reset_member(self, index: int, generator: Generator | None) -> None:
        """Draw the biases of one member, uniform in +-1/sqrt(in_features)."""
        bound = 1 / math.sqrt(self.in_features)
        self.bias[index].uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x @ W + b`` of each member, with ``W`` the weight of the source."""
        return _affine(x, self._source[0].weight[..., : self.out_features].mT, self.bias)


class BatchNorm(MemberLayer):
    """Batch normalisation for each member, with its own running statistics.

    Parameters
    ----------
    num_features : int
    n_members : int, default=1

    Attributes
    ----------
    weight, bias : torch.nn.Parameter of shape (n_members, num_features)
    running_mean, running_var : Tensor of shape (n_members, num_features)
    """

    eps = 1e-5
    momentum = 0.1

    def __init__(self, num_features: int, n_members: int = 1) -> None:
        super().__init__()
        self.num_features, self.n_members = num_features, n_members
        shape = n_members, num_features
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.empty(shape))
        self.register_buffer("running_var", torch.empty(shape))
        self.reset_parameters()

    @torch.no_grad()
    def reset_member(self, index: int, generator: Generator | None) -> None:
        """Set the weights and statistics of one member to constants; nothing is drawn."""
        for ones in (self.weight, self.running_var):
            ones[index].fill_(1.0)
        for zeros in (self.bias, self.running_mean):
            zeros[index].fill_(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalised over the batch, or by the running statistics in eval mode."""
        if x.ndim == 2:
            return self._normalize(x)
        n_rows = x.shape[1]
        # The features of all members are the channels of one batch.
        channels = x.expand(self.n_members, -1, -1).transpose(0, 1).reshape(n_rows, -1)
        return self._normalize(channels).view(n_rows, self.n_members, -1).transpose(0, 1)

    def _normalize(self, channels: Tensor) -> Tensor:
        return F.batch_norm(
            channels,
            self.running_mean.view(-1),
            self.running_var.view(-1),
            self.weight.reshape(-1),  # members may lie apart in memory
            self.bias.reshape(-1),
            self.training,
            self.momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        """Return what ``repr`` shows inside the parentheses."""
        return f"{self.num_features}, n_members={self.n_members}"


class LayerNorm(MemberLayer):
    """Layer normalisation for each member.

    Parameters
    ----------
    num_features : int
    n_members : int, default=1

    Attributes
    ----------
    weight, bias : torch.nn.Parameter of shape (n_members, num_features)
    """

    def __init__(self, num_features: int, n_members: int = 1) -> None:
        super().__init__()
        self.num_features, self.n_members = num_features, n_members
        self.weight = nn.Parameter(torch.empty(n_members, num_features))
        self.bias = nn.Parameter(torch.empty(n_members, num_features))
        self.reset_parameters()

    @torch.no_grad()
    def reset_member(self, index: int, generator: Generator | None) -> None:
        """Set the weights of one member to constants; nothing is drawn."""
        self.weight[index].fill_(1.0)
        self.bias[index].fill_(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalised over its features."""
        shape = (self.num_features,)
        if self.n_members == 1:
            return F.layer_norm(x, shape, self.weight.squeeze(0), self.bias.squeeze(0))
        return F.layer_norm(x, shape) * self.weight[:, None] + self.bias[:, None]

    def extra_repr(self) -> str:
        """Return what ``repr`` shows inside the parentheses."""
        return f"{self.num_features}, n_members={self.n_members}"


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``x @ weight.mT + bias`` of each member."""
    if len(weight) == 1:
        return F.linear(x, weight.squeeze(0), bias.squeeze(0))
    return torch.baddbmm(bias[:, None], x.expand(len(weight), -1, -1), weight.mT)
