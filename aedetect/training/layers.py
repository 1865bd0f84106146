"""Layers of dense networks that write into their own buffers, for one batch size.

Activations are feature-major, ``(features, rows)``, or ``(members, features, rows)`` for several
members: a product with the weights then needs no transposition, and the values of a feature lie
side by side for batch normalisation. ``backward`` gets the derivative of the loss by the layer's
output, sets those by its parameters and returns that by its input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn

from aedetect.networks import BatchNorm, Dropout, Linear
from aedetect.training.products import (
    affine,
    affine_in_rows,
    as_alone,
    empty,
    in_lines,
    multiply,
    multiply_scaled,
    square_norms,
    sum_columns,
    sum_rows,
)

aten = torch.ops.aten

Product = Callable[..., Tensor]


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

    def of_members(self, first: int, last: int, generator: Generator) -> Place:
        """Return the place of some of the members."""
        values, gradients = (
            {name: tensor[first:last] for name, tensor in tensors.items()}
            for tensors in (self.values, self.gradients)
        )
        members = () if last - first == 1 else (last - first,)
        return Place(self.name, values, gradients, (*members, self.lead[-1]), generator)


class LinearLayer:
    """``W @ x + b``."""

    def __init__(self, module: Linear | nn.Linear, place: Place) -> None:
        *members, n_rows = place.lead
        n_in, n_out = module.in_features, module.out_features
        self._weight, self._bias, self._g_weight, self._g_bias = (
            tensors[f"{place.name}.{key}"].view(*members, *shape)
            for tensors in (place.values, place.gradients)
            for key, shape in (("weight", (n_out, n_in)), ("bias", (n_out,)))
        )
        self._y = self._make_output(*members, n_rows=n_rows, n_features=n_out)
        self._g_x = self._make_input(*members, n_rows=n_rows, n_features=n_in)
        self._is_lone = not members
        self._choose_products()

    def forward(self, x: Tensor) -> Tensor:
        # The buffer of the derivative is free until ``backward`` has used x.
        self._x = x if self._is_lone else in_lines(x, self._g_x)
        return self._affine(self._bias, self._weight, self._x, out=self._y)

    def backward(self, g: Tensor, *, to_input: bool = True) -> Tensor:
        g = g if self._is_lone else in_lines(g, self._y)  # no layer needs the output any more
        self._multiply(g, self._x.mT, out=self._g_weight)
        self._sum(g, out=self._g_bias)
        return self._multiply_back(self._weight.mT, g, out=self._g_x) if to_input else g

    def _make_output(self, *members: int, n_rows: int, n_features: int) -> Tensor:
        return empty(*members, n_features, n_rows, like=self._weight)

    def _make_input(self, *members: int, n_rows: int, n_features: int) -> Tensor:
        return empty(*members, n_features, n_rows, like=self._weight)

    def _choose_products(self) -> None:
        """Set the products; for several members those that pass the trial."""
        self._affine: Product = affine
        self._multiply: Product = multiply
        self._multiply_back: Product = multiply
        self._sum: Product = sum_columns
        if self._is_lone:
            return
        w, x, y = self._weight, self._g_x, self._y
        self._affine = as_alone(affine, self._bias, w, x, out=y)
        self._multiply = as_alone(multiply, y, x.mT, out=self._g_weight)
        self._sum = as_alone(sum_columns, y, out=self._g_bias)
        self._multiply_back = as_alone(multiply, w.mT, y, out=self._g_x)


class Input(LinearLayer):
    """The first layer, whose input is a transposed batch of rows."""

    def _make_input(self, *members: int, n_rows: int, n_features: int) -> Tensor:
        return empty(*members, n_rows, n_features, like=self._weight).mT


class Output(LinearLayer):
    """The last layer, whose output is row-major, as the rows it is compared with."""

    def backward_scaled(self, g: Tensor, scale: float) -> Tensor:
        """Do as ``backward`` does for ``scale * g``, without a pass over ``g``."""
        self._multiply(g.mT, self._x.mT, out=self._g_weight, scale=scale)
        self._sum(g, out=self._g_bias).mul_(scale)
        return self._multiply_back(self._weight.mT, g.mT, out=self._g_x, scale=scale)

    def make_norms(self) -> tuple[Tensor, Product]:
        """Return a buffer, and a function of the squared norms of rows of the output."""
        norms = self._y.new_empty(self._y.shape[:-1])
        if self._is_lone:
            return norms, square_norms
        return norms, as_alone(square_norms, self._y, out=norms)

    def _make_output(self, *members: int, n_rows: int, n_features: int) -> Tensor:
        return empty(*members, n_rows, n_features, like=self._weight)

    def _choose_products(self) -> None:
        self._affine = affine_in_rows
        self._multiply = self._multiply_back = multiply_scaled
        self._sum = sum_rows
        if self._is_lone:
            return
        w, x, y = self._weight, self._g_x, self._y
        self._affine = as_alone(affine_in_rows, self._bias, w, x, out=y)
        factor = {"scale": 0.3}  # a power of two would round nothing
        self._multiply = as_alone(multiply_scaled, y.mT, x.mT, out=self._g_weight, **factor)
        self._sum = as_alone(sum_rows, y, out=self._g_bias)
        self._multiply_back = as_alone(multiply_scaled, w.mT, y.mT, out=self._g_x, **factor)


class BatchNormLayer:
    """Batch normalisation, with the running statistics of every member."""

    def __init__(self, module: BatchNorm | nn.BatchNorm1d, place: Place) -> None:
        self._momentum, self._eps = module.momentum, module.eps
        name, values, gradients = place.name, place.values, place.gradients
        self._weight, self._bias = (values[f"{name}.{key}"] for key in ("weight", "bias"))
        self._mean, self._variance = (
            values[f"{name}.{key}"].view(-1) for key in ("running_mean", "running_var")
        )
        self._gradients = [gradients[f"{name}.{key}"] for key in ("weight", "bias")]

    def forward(self, x: Tensor) -> Tensor:
        # The features of all members are the channels of one long image.
        self._x, weight = x.reshape(1, -1, x.shape[-1]), self._weight.reshape(-1)
        y, *self._statistics = aten.native_batch_norm.default(
            *(self._x, weight, self._bias.reshape(-1), self._mean, self._variance),
            *(True, self._momentum, self._eps),
        )
        return y.view(x.shape)

    def backward(self, g: Tensor) -> Tensor:
        g_x, *gradients = aten.native_batch_norm_backward.default(
            *(g.reshape(self._x.shape), self._x, self._weight.reshape(-1)),
            *(self._mean, self._variance, *self._statistics),
            *(True, self._eps, (True, True, True)),
        )
        for own, gradient in zip(self._gradients, gradients, strict=True):
            own.copy_(gradient.view(own.shape))
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
        self._draw = self.DRAW if place.generator.device.type == "cpu" else 0  # a mask at a time
        self._masks: list[Tensor] = []
        self._n_left = 1

    def begin_epoch(self, n_batches: int) -> None:
        """Drop all masks, and draw those of this many batches and no more from here."""
        self._masks.clear()
        self._n_left = n_batches

    def forward(self, x: Tensor) -> Tensor:
        if not self._masks:
            n_batches = max(1, min(self._draw // x.numel(), self._n_left))
            self._n_left -= n_batches
            self._masks = list(self._module.draw_mask(x.expand(n_batches, *x.shape)))
        self._mask = self._masks.pop()
        return x * self._mask

    def backward(self, g: Tensor) -> Tensor:
        return g.mul_(self._mask)


class Apart:
    """A layer of several networks, each of which computes its own members."""

    def __init__(self, layers: Sequence[Any], n_members: int) -> None:
        self.layers = layers
        self._n_members = n_members  # of a network

    def forward(self, x: Tensor) -> Tensor:
        return self._each("forward", x)

    def backward(self, g: Tensor) -> Tensor:
        return self._each("backward", g)

    @property
    def losses(self) -> Tensor:
        """Those of a penalty."""
        return join([layer.losses for layer in self.layers], self._n_members)

    def _each(self, method: str, x: Tensor) -> Tensor:
        parts = zip(self.layers, split(x, self._n_members), strict=True)
        return join([getattr(layer, method)(part) for layer, part in parts], self._n_members)


def split(x: Tensor, n_members: int) -> Sequence[Tensor]:
    """Return the parts of several networks in a tensor, each as its network has it alone."""
    return x.unbind() if n_members == 1 else x.split(n_members)


def join(parts: Sequence[Tensor], n_members: int) -> Tensor:
    """Return the tensor that :func:`split` splits."""
    return torch.stack(list(parts)) if n_members == 1 else torch.cat(list(parts))


class SparseCode:
    """The L1 penalty on the code."""

    def __init__(self, l1_activity: float | Tensor, share: float) -> None:
        self._l1_activity, self._slope = l1_activity, _of_entries(l1_activity * share)

    def forward(self, z: Tensor) -> Tensor:
        self._z = z
        self.losses = self._l1_activity * z.abs().sum(dim=-2)
        return z

    def backward(self, g: Tensor) -> Tensor:
        return g.add_(self._z.sign() * self._slope)


class GaussianCode:
    """A draw from the posterior, and its divergence from the prior."""

    def __init__(self, beta: float | Tensor, share: float, generator: Generator) -> None:
        self._half, self._weight = 0.5 * beta, _of_entries(beta * share)
        self._generator = generator

    def forward(self, parameters: Tensor) -> Tensor:
        self._mean, self._log_var = parameters.chunk(2, dim=-2)
        self._variance = self._log_var.exp()
        # Rows first, so that a draw does not depend on the layout.
        noise = torch.empty(self._mean.mT.shape, device=self._mean.device)
        noise.normal_(generator=self._generator)
        self._deviation = self._variance.sqrt().mul_(noise.mT)
        divergence = self._mean.square() + self._variance - 1 - self._log_var
        self.losses = self._half * divergence.sum(dim=-2)
        return self._mean + self._deviation

    def backward(self, g: Tensor) -> Tensor:
        g_mean = g + self._weight * self._mean
        g_log_var = 0.5 * (g * self._deviation + self._weight * (self._variance - 1))
        return torch.cat([g_mean, g_log_var], dim=-2)


def _of_entries(weight: float | Tensor) -> float | Tensor:
    """Return a weight, or one of each member ``(n_members, 1)``, for ``(members, size, rows)``."""
    return weight[..., None] if isinstance(weight, Tensor) else weight


LAYERS: dict[type[nn.Module], Callable[..., Any]] = {
    Linear: LinearLayer,
    nn.Linear: LinearLayer,
    BatchNorm: BatchNormLayer,
    nn.BatchNorm1d: BatchNormLayer,
    Dropout: DropoutLayer,
    **dict.fromkeys(ELEMENTWISE, ActivationLayer),
}
