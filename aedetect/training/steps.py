"""The training step of any network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from aedetect.networks import Autoencoder
from aedetect.training.dense import DenseStep
from aedetect.training.memory import Parts
from aedetect.training.objective import Objective


class Step(Protocol):
    """Turns a batch into gradients."""

    parameters: Sequence[Tensor]  # of all networks, for the optimiser
    shared_work: int  # multiplications and additions of a batch from which threads share it

    def count_work(self, x: Tensor) -> int:
        """Return the multiplications and additions that a row ``(1, n_features)`` takes."""

    def begin_epoch(self, batch_sizes: Sequence[int]) -> None:
        """Learn the rows of each batch of an epoch, which uses no draws of the one before."""

    def backpropagate(self, x: Tensor) -> Tensor:
        """Leave the gradients of a batch in the parameters and return its losses.

        Parameters
        ----------
        x : Tensor of shape (n_networks * batch, n_features)
            The rows of the first network, then those of the second, and so on.

        Returns
        -------
        losses : Tensor of shape (n_networks * batch,)
            In no certain order. The gradients are those of the mean loss of each network, per
            feature, so that a learning rate suits every width; the minimum is the same.
        """


class AutogradStep:
    """Has autograd find the gradients, whatever the networks are.

    A batch that the device's memory does not hold is computed in parts. The gradients are the same
    but for their last bits, and for batch normalisation, which takes each part by itself.

    Parameters
    ----------
    networks : sequence of Autoencoder
    objective : Objective
    generator : torch.Generator
        Draws all noise.
    compile : bool
        Whether PyTorch compiles them.
    """

    def __init__(
        self,
        networks: Sequence[Autoencoder],
        objective: Objective,
        generator: Generator,
        *,
        compile: bool,
    ) -> None:
        self._originals = networks
        self._networks = [_compiled(n) for n in networks] if compile else networks
        self._objective, self._generator = objective, generator
        self.parameters: Sequence[Tensor] = [
            p for network in networks for p in network.parameters()
        ]
        normalizes = any(isinstance(m, _BatchNorm) for n in networks for m in n.modules())
        self._parts = Parts(smallest=2 if normalizes else 1)  # one row has no variance

    # Autograd's many small operations make threads meet some four times as often as DenseStep does.
    shared_work = 2**29

    @torch.no_grad()
    def count_work(self, x: Tensor) -> int:
        """Return the multiplications and additions for one row, as :class:`Step` says.

        A convolution applies its weights to every pixel, so they are counted as they are done.
        """
        network = self._originals[0].eval()  # nothing is drawn, no statistics change
        with FlopCounterMode(display=False) as counter:
            network(x)
        network.train()
        # Forward, backward by the input, backward by the weights.
        return 3 * counter.get_total_flops() * len(self._originals)

    def begin_epoch(self, batch_sizes: Sequence[int]) -> None:
        """Do nothing: all draws are used at once."""

    def backpropagate(self, x: Tensor) -> Tensor:
        """Set the gradients and return the losses, as :class:`Step` says."""
        rows = x.view(len(self._networks), -1, x.shape[1])
        return self._parts.compute(lambda n_parts: self._accumulate(rows, n_parts), rows.shape[1])

    def _accumulate(self, rows: Tensor, n_parts: int) -> Tensor:
        """Add up the gradients of the parts of a batch ``(n_networks, batch, n_features)``."""
        for parameter in self.parameters:
            parameter.grad = None
        share = len(rows) / rows.numel()
        losses = [self._differentiate(part, share) for part in rows.tensor_split(n_parts, dim=1)]
        return torch.cat(losses)

    def _differentiate(self, rows: Tensor, share: float) -> Tensor:
        pairs = zip(self._networks, rows, strict=True)
        losses = torch.cat([self._objective(n, x, self._generator) for n, x in pairs])
        losses.backward(torch.full_like(losses, share))
        return losses.detach()


def _compiled(network: Autoencoder) -> Autoencoder:
    """Return a twin that shares the parameters but compiles its passes."""
    twin = copy.copy(network)
    stacks = network.named_children()
    twin._modules = {name: cast(nn.Module, torch.compile(stack)) for name, stack in stacks}
    return twin


def make_step(
    networks: Sequence[Autoencoder],
    objective: Objective,
    generator: Generator,
    *,
    precision: str,
    compile: bool,
) -> Step:
    """Return the fastest step that fits the networks."""
    plain = precision == "float32" and not compile
    if plain and DenseStep.accepts(networks, objective):
        return DenseStep(networks, objective, generator)
    return AutogradStep(networks, objective, generator, compile=compile)
