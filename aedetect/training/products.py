"""Products and sums of dense layers, of which every member gets the bits that it gets alone.

Each function takes tensors of one member, or of several in a first dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

# Floats. Products round otherwise where their operands begin elsewhere in a line of the cache (64
# bytes), so every member of a tensor begins a line.
LINE = 16
N_TRIALS = 8  # few values of one may be rounded alike in spite of another order of the sums


def round_up(size: int) -> int:
    """Return the next multiple of ``LINE``."""
    return -(-size // LINE) * LINE


def empty(*shape: int, like: Tensor) -> Tensor:
    """Return an uninitialised tensor ``(rows, columns)``, or one with the members before them."""
    *members, n_rows, n_columns = shape
    if not members:
        return like.new_empty(shape)
    size = n_rows * n_columns
    storage = like.new_empty(*members, round_up(size))
    return storage[:, :size].view(*shape)


def in_lines(x: Tensor, buffer: Tensor) -> Tensor:
    """Return ``x`` if its members lie in memory as those of ``buffer``, else a copy in there."""
    return x if x.stride() == buffer.stride() else buffer.copy_(x)


def affine(bias: Tensor, weight: Tensor, x: Tensor, *, out: Tensor) -> Tensor:
    """Return ``weight @ x + bias``, with the rows of a batch in columns."""
    add = torch.addmm if x.ndim == 2 else torch.baddbmm
    return add(bias[..., None], weight, x, out=out)


def affine_in_rows(bias: Tensor, weight: Tensor, x: Tensor, *, out: Tensor) -> Tensor:
    """Return the transpose of :func:`affine`: a row for each row of the batch."""
    add = torch.addmm if x.ndim == 2 else torch.baddbmm
    return add(bias[..., None, :], x.mT, weight.mT, out=out)


def multiply(a: Tensor, b: Tensor, *, out: Tensor) -> Tensor:
    """Return ``a @ b``."""
    return (torch.mm if a.ndim == 2 else torch.bmm)(a, b, out=out)


def multiply_scaled(a: Tensor, b: Tensor, *, out: Tensor, scale: float) -> Tensor:
    """Return ``scale * a @ b``."""
    add = torch.addmm if a.ndim == 2 else torch.baddbmm
    return add(out, a, b, beta=0, alpha=scale, out=out)


def sum_columns(g: Tensor, *, out: Tensor) -> Tensor:
    """Return the sum of the columns."""
    return torch.sum(g, dim=-1, out=out)


def sum_rows(g: Tensor, *, out: Tensor) -> Tensor:
    """Return the sum of the rows."""
    return torch.sum(g, dim=-2, out=out)


def square_norms(x: Tensor, *, out: Tensor) -> Tensor:
    """Return the squared norms of the rows."""
    return torch.linalg.vecdot(x, x, out=out)


def as_alone(
    function: Callable[..., Tensor], *sample: Tensor, out: Tensor, **options: Any
) -> Callable[..., Tensor]:
    """Return a function that gives every member the bits that it gets alone.

    Libraries multiply several matrices by other routines than one. Some shapes round otherwise
    then, on some processors, and the weights of a member would depend on its neighbours.

    Parameters
    ----------
    function : callable
        Takes ``(*tensors, out=..., **options)`` of one member or of several.
    *sample : Tensor
        Tensors with the shapes and the strides to come; the trials draw values of their own.
    out : Tensor
        Is overwritten.
    **options : Any
        Passed on.

    Returns
    -------
    function : callable
        ``function``, or one that calls it for one member after the other, if the trial shows a
        difference.
    """

    def one_by_one(*tensors: Tensor, out: Tensor, **options: Any) -> Tensor:
        for *parts, own in zip(*(t.unbind() for t in tensors), out.unbind(), strict=True):
            function(*parts, out=own, **options)
        return out

    # Threads divide several products otherwise than one. Only networks so small that they are
    # trained on one thread have to equal lone ones.
    if out.device.type != "cpu" or torch.get_num_threads() > 1:
        return function
    generator = torch.Generator().manual_seed(0)
    for _ in range(N_TRIALS):
        drawn = [_drawn_like(tensor, generator) for tensor in sample]
        together = function(*drawn, out=out, **options).clone()
        if not torch.equal(together, one_by_one(*drawn, out=out, **options)):
            return one_by_one
    return function


def _drawn_like(tensor: Tensor, generator: Generator) -> Tensor:
    """Return normal values with the shape and the strides of a tensor."""
    drawn = torch.empty_strided(tensor.shape, tensor.stride())
    return drawn.copy_(torch.empty(tensor.shape).normal_(generator=generator))
