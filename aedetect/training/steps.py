"""The training step of any network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from aedetect.networks import (
    Autoencoder,
    BatchNorm,
    Dropout,
    LayerNorm,
    Linear,
    MemberLoop,
    TiedLinear,
)
from aedetect.training.dense import DenseStep
from aedetect.training.memory import BatchSplitter
from aedetect.training.objective import Objective


class Step(Protocol):
    """Turns a batch into gradients."""

    parameters: Sequence[Tensor]  # of all members, for the optimiser
    shared_work: int  # multiplications and additions of a batch from which threads share it

    def count_work(self, x: Tensor) -> int:
        """Return the multiplications and additions of one row ``(1, n_features)``, all members."""

    def begin_epoch(self, batch_sizes: Sequence[int]) -> None:
        """Drop earlier draws and plan those of an epoch, given the rows of each of its batches."""

    def backpropagate(self, x: Tensor) -> Tensor:
        """Set the gradients of a batch in the parameters and return its losses.

        Parameters
        ----------
        x : Tensor of shape (n_members, batch, n_features)

        Returns
        -------
        losses : Tensor of shape (n_members, batch), or sums of them (n_members, 1)
            The gradients are those of the mean loss of each member, per feature, so that a
            learning rate suits every width. The minimum is that of the loss itself.
        """


class AutogradStep:
    """Has autograd compute the gradients of any network.

    A batch that the device's memory does not hold is computed in parts. The gradients differ in
    their last bits then, and batch normalisation takes each part by itself.

    Parameters
    ----------
    network : Autoencoder
    objective : Objective
    generator : torch.Generator
        Draws all noise.
    compile : bool
        Whether PyTorch compiles the network.
    """

    def __init__(
        self, network: Autoencoder, objective: Objective, generator: Generator, *, compile: bool
    ) -> None:
        self._original = network
        self._network = _compiled(network) if compile else network
        self._n_members = network.n_members
        self._objective, self._generator = objective, generator
        self.parameters: Sequence[Tensor] = list(network.parameters())
        self._own_generators = _give_generators(network)
        normalizes = any(isinstance(m, _BatchNorm | BatchNorm) for m in network.modules())
        self._splitter = BatchSplitter(smallest=2 if normalizes else 1)  # one row has no variance

    # Autograd's many small operations make threads meet some four times as often as DenseStep does.
    shared_work = 2**29

    @torch.no_grad()
    def count_work(self, x: Tensor) -> int:
        """Return the multiplications and additions of one row, as :class:`Step` says.

        A convolution applies its weights to every pixel, so they are counted as they are done.
        """
        self._original.eval()  # nothing is drawn, no statistics change
        n_products = count_products(self._original, x if self._n_members == 1 else x[None])
        self._original.train()
        # Forward, backward by the input, backward by the weights, each with as many additions.
        return 6 * n_products

    def begin_epoch(self, batch_sizes: Sequence[int]) -> None:
        """Begin anew the draws of members that lie apart; all others are used at once."""
        if self._own_generators:
            shape, device = (len(self._own_generators),), self._generator.device
            seeds = torch.randint(2**62, shape, generator=self._generator, device=device)
            for generator, seed in zip(self._own_generators, seeds.tolist(), strict=True):
                generator.manual_seed(seed)

    def backpropagate(self, x: Tensor) -> Tensor:
        """Set the gradients and return the losses, as :class:`Step` says."""
        rows = x if self._n_members > 1 else x[0]
        losses = self._splitter.compute(lambda n: self._accumulate(rows, n), x.shape[1])
        return losses.view(self._n_members, -1)

    def _accumulate(self, rows: Tensor, n_parts: int) -> Tensor:
        """Add up the gradients of the parts of a batch ``(..., batch, n_features)``."""
        for parameter in self.parameters:
            parameter.grad = None
        share = 1 / (rows.shape[-2] * rows.shape[-1])
        losses = [self._differentiate(part, share) for part in rows.tensor_split(n_parts, dim=-2)]
        return torch.cat(losses, dim=-1)

    def _differentiate(self, rows: Tensor, share: float) -> Tensor:
        losses = self._objective(self._network, rows, self._generator)
        losses.backward(torch.full_like(losses, share))
        return losses.detach()


def _give_generators(network: Autoencoder) -> list[Generator]:
    """Give each member that lies apart a generator for its dropout, and return them.

    Its draws do not depend on how many members share its device.
    """
    generators = []
    if isinstance(network, MemberLoop):
        for member, device in zip(network.members, network.devices, strict=False):
            dropouts = [module for module in member.modules() if isinstance(module, Dropout)]
            if dropouts:
                generators.append(Generator(device=device))
            for module in dropouts:
                module.generator = generators[-1]
    return generators


def count_products(network: nn.Module, x: Tensor) -> int:
    """Return the multiplications by weights that a pass of ``x`` through a network takes.

    PyTorch's own counter imports its compiler, which takes longer than a small fit.
    """
    counts: list[int] = []

    def count(layer: nn.Module, given: tuple[Tensor, ...], output: Any) -> None:
        first = output if isinstance(output, Tensor) else output[0]
        counts.append(_products_of(layer, given[0], first))

    layers = [m for m in network.modules() if any(True for _ in m.parameters(recurse=False))]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        network(x)
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts)


def _products_of(layer: nn.Module, x: Tensor, y: Tensor) -> int:
    match layer:
        case Linear() | TiedLinear() | nn.Linear():
            return y.numel() * layer.in_features
        case _ConvTransposeNd():
            return x.numel() * layer.weight[0].numel()
        case _ConvNd():
            return y.numel() * layer.weight[0].numel()
        case BatchNorm() | LayerNorm():
            return 0
        case _:  # of a user's own: each weight is used at every position of the output
            n_weights = sum(p.numel() for p in layer.parameters(recurse=False) if p.ndim > 1)
            return n_weights * y.numel() // max(1, y.shape[-1])


def _compiled(network: Autoencoder) -> Autoencoder:
    """Return a twin that shares the parameters but compiles its passes."""
    twin = copy.copy(network)
    if isinstance(network, MemberLoop):
        members = [_compiled(cast(Autoencoder, member)) for member in network.members]
        twin._modules = {"members": nn.ModuleList(members)}
    else:
        stacks = network.named_children()
        twin._modules = {name: cast(nn.Module, torch.compile(stack)) for name, stack in stacks}
    return twin


def make_step(
    network: Autoencoder,
    objective: Objective,
    generator: Generator,
    *,
    precision: str,
    compile: bool,
) -> Step:
    """Return the fastest step that can train the network."""
    plain = precision == "float32" and not compile
    if plain and DenseStep.accepts(network, objective):
        return DenseStep([network], [objective], [generator])
    return AutogradStep(network, objective, generator, compile=compile)
