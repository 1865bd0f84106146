"""Layers of dense networks that write into their own buffers, for one batch size.

Activations are feature-major, ``(features, rows)``, or ``(members, features, rows)`` for several
members: a product with the weights then needs no transposition, and the values of a feature lie
side by side for batch normalisation. ``backward`` gets the derivative of the loss by the layer's
output, sets those by its parameters and returns that by its input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn

from aedetect.networks import BatchNorm, Dropout, Linear

aten = torch.ops.aten


class Layer(Protocol):
    """One layer of all members. ``backward`` may overwrite its argument."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output."""

    def backward(self, g: Tensor) -> Tensor:
        """Return the derivative by the input."""


class Place(NamedTuple):
    """A layer's weights and the shape of its batches."""

    name: str  # of the module
    # Parameters and running statistics, and gradients, by name, each (members, size).
    values: dict[str, Tensor]
    gradients: dict[str, Tensor]
    # (rows,) or (members, rows): ``mm`` is faster than ``bmm`` for a single member.
    lead: tuple[int, ...]
    generator: Generator


class LinearLayer:
    """``W @ x + b``."""

    def __init__(self, module: Linear | nn.Linear, place: Place) -> None:
        *members, n_rows = place.lead
        self._multiply = torch.bmm if members else torch.mm
        self._multiply_add = torch.baddbmm if members else torch.addmm
        n_in, n_out = module.in_features, module.out_features
        self._weight, self._bias, self._g_weight, self._g_bias = (
            tensors[f"{place.name}.{key}"].view(*members, *shape)
            for tensors in (place.values, place.gradients)
            for key, shape in (("weight", (n_out, n_in)), ("bias", (n_out,)))
        )
        self._y = self._weight.new_empty(*members, n_out, n_rows)
        self._g_x = self._weight.new_empty(*members, n_in, n_rows)

    def forward(self, x: Tensor) -> Tensor:
        self._x = x
        return self._multiply_add(self._bias[..., None], self._weight, x, out=self._y)

    def backward(self, g: Tensor, *, to_input: bool = True) -> Tensor:
        self._multiply(g, self._x.mT, out=self._g_weight)
        torch.sum(g, dim=-1, out=self._g_bias)
        return self._multiply(self._weight.mT, g, out=self._g_x) if to_input else g


class Output(LinearLayer):
    """The last layer, whose output is row-major, as the rows it is compared with."""

    def __init__(self, module: Linear | nn.Linear, place: Place) -> None:
        super().__init__(module, place)
        self._y = self._weight.new_empty(*place.lead, module.out_features)

    def forward(self, x: Tensor) -> Tensor:
        self._x = x
        bias = self._bias[..., None, :]
        return self._multiply_add(bias, x.mT, self._weight.mT, out=self._y)

    def backward_scaled(self, g: Tensor, scale: float) -> Tensor:
        """Do as ``backward`` does for ``scale * g``, without a pass over ``g``."""
        product = {"beta": 0, "alpha": scale}
        self._multiply_add(self._g_weight, g.mT, self._x.mT, **product, out=self._g_weight)
        torch.sum(g, dim=-2, out=self._g_bias).mul_(scale)
        return self._multiply_add(self._g_x, self._weight.mT, g.mT, **product, out=self._g_x)


class BatchNormLayer:
    """Batch normalisation, with the running statistics of every member."""

    def __init__(self, module: BatchNorm | nn.BatchNorm1d, place: Place) -> None:
        self._momentum, self._eps = module.momentum, module.eps
        name, values, gradients = place.name, place.values, place.gradients
        self._weight, self._bias, self._mean, self._variance = (
            values[f"{name}.{key}"].view(-1)
            for key in ("weight", "bias", "running_mean", "running_var")
        )
        self._gradients = [gradients[f"{name}.{key}"].view(-1) for key in ("weight", "bias")]

    def forward(self, x: Tensor) -> Tensor:
        # The features of all members are the channels of one long image.
        self._x = x.view(1, -1, x.shape[-1])
        y, *self._statistics = aten.native_batch_norm.default(
            *(self._x, self._weight, self._bias, self._mean, self._variance),
            *(True, self._momentum, self._eps),
        )
        return y.view(x.shape)

    def backward(self, g: Tensor) -> Tensor:
        g_x, *gradients = aten.native_batch_norm_backward.default(
            g.view(self._x.shape),
            *(self._x, self._weight, self._mean, self._variance, *self._statistics),
            *(True, self._eps, (True, True, True)),
        )
        for own, gradient in zip(self._gradients, gradients, strict=True):
            own.copy_(gradient)
        return g_x.view(g.shape)


class ActivationLayer:
    """An elementwise function, and the kernel that autograd uses for its derivative."""

    def __init__(self, module: nn.Module, place: Place) -> None:
        self._function, self._derivative, self._by_output = ELEMENTWISE[type(module)]

    def forward(self, x: Tensor) -> Tensor:
        y = self._function(x)
        self._known = y if self._by_output else x
        return y

    def backward(self, g: Tensor) -> Tensor:
        return self._derivative(g, self._known)


# Function, derivative, and whether the derivative is computed from the output or the input.
ELEMENTWISE: dict[type[nn.Module], tuple[Callable[..., Tensor], Callable[..., Tensor], bool]] = {
    nn.ReLU: (
        torch.relu_,
        lambda g, y: aten.threshold_backward.grad_input(g, y, 0, grad_input=g),
        True,
    ),
    nn.LeakyReLU: (
        lambda x: aten.leaky_relu_.default(x, 0.1),
        lambda g, y: aten.leaky_relu_backward.grad_input(g, y, 0.1, True, grad_input=g),
        True,
    ),
    nn.ELU: (
        aten.elu_.default,
        lambda g, y: aten.elu_backward.grad_input(g, 1.0, 1.0, 1.0, True, y, grad_input=g),
        True,
    ),
    nn.GELU: (
        aten.gelu.default,
        lambda g, x: aten.gelu_backward.grad_input(g, x, grad_input=g),
        False,
    ),
    nn.SiLU: (
        aten.silu.default,
        lambda g, x: aten.silu_backward.grad_input(g, x, grad_input=g),
        False,
    ),
    nn.Tanh: (
        torch.tanh_,
        lambda g, y: aten.tanh_backward.grad_input(g, y, grad_input=g),
        True,
    ),
    nn.Sigmoid: (
        torch.sigmoid_,
        lambda g, y: aten.sigmoid_backward.grad_input(g, y, grad_input=g),
        True,
    ),
}


class DropoutLayer:
    """Dropout with a fresh mask for every batch, drawn for several batches at a time."""

    DRAW = 2**16  # entries: a draw costs a small layer more than its entries do

    def __init__(self, module: Dropout, place: Place) -> None:
        self._module = module
        self._masks: list[Tensor] = []
        self._n_left = 1

    def begin_epoch(self, n_batches: int) -> None:
        """Drop all masks, and draw those of this many batches and no more from here."""
        self._masks.clear()
        self._n_left = n_batches

    def forward(self, x: Tensor) -> Tensor:
        if not self._masks:
            n_batches = max(1, min(self.DRAW // x.numel(), self._n_left))
            self._n_left -= n_batches
            self._masks = list(self._module.draw_mask(x.expand(n_batches, *x.shape)))
        self._mask = self._masks.pop()
        return x * self._mask

    def backward(self, g: Tensor) -> Tensor:
        return g.mul_(self._mask)


class SparseCode:
    """The L1 penalty on the code."""

    def __init__(self, l1_activity: float, share: float) -> None:
        self._l1_activity, self._share = l1_activity, share

    def forward(self, z: Tensor) -> Tensor:
        self._z = z
        self.losses = self._l1_activity * z.abs().sum(dim=-2)
        return z

    def backward(self, g: Tensor) -> Tensor:
        return g.add_(self._z.sign(), alpha=self._l1_activity * self._share)


class GaussianCode:
    """A draw from the posterior, and its divergence from the prior."""

    def __init__(self, beta: float, share: float, generator: Generator) -> None:
        self._beta, self._share, self._generator = beta, share, generator

    def forward(self, parameters: Tensor) -> Tensor:
        self._mean, self._log_var = parameters.chunk(2, dim=-2)
        self._variance = self._log_var.exp()
        # Rows first, so that a draw does not depend on the layout.
        noise = torch.empty(self._mean.mT.shape, device=self._mean.device)
        noise.normal_(generator=self._generator)
        self._deviation = self._variance.sqrt().mul_(noise.mT)
        divergence = self._mean.square() + self._variance - 1 - self._log_var
        self.losses = 0.5 * self._beta * divergence.sum(dim=-2)
        return self._mean + self._deviation

    def backward(self, g: Tensor) -> Tensor:
        weight = self._beta * self._share
        g_mean = g + weight * self._mean
        g_log_var = 0.5 * (g * self._deviation + weight * (self._variance - 1))
        return torch.cat([g_mean, g_log_var], dim=-2)


LAYERS: dict[type[nn.Module], Callable[..., Any]] = {
    Linear: LinearLayer,
    nn.Linear: LinearLayer,
    BatchNorm: BatchNormLayer,
    nn.BatchNorm1d: BatchNormLayer,
    Dropout: DropoutLayer,
    **dict.fromkeys(ELEMENTWISE, ActivationLayer),
}
