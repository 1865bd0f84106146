"""The training step of dense networks, forward and backward pass written out.

On a small network autograd spends more time on its bookkeeping than on arithmetic. Here every
result goes into a buffer that is made once, and all members take each step together, as batched
matrix products. The tests compare every gradient with autograd's, and ``benchmarks/speed.py``
shows the gain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from aedetect.blocks import Blocks
from aedetect.losses import FEATURE_ERRORS, weight_of_observed
from aedetect.networks import (
    ACTIVATIONS,
    Autoencoder,
    BatchNorm,
    Dropout,
    Linear,
    MaskInput,
    MemberLoop,
    VariationalAutoencoder,
)
from aedetect.training.layers import (
    LAYERS,
    DropoutLayer,
    GaussianCode,
    Layer,
    Output,
    Place,
    SparseCode,
)
from aedetect.training.objective import Objective


class DenseStep:
    """Trains the members of a dense network side by side, without autograd.

    Parameters
    ----------
    network : Autoencoder
        Its parameters become views of one vector.
    objective : Objective
        Without a contractive penalty.
    generator : torch.Generator
        On the network's device. Draws dropout and all noise.
    """

    def __init__(self, network: Autoencoder, objective: Objective, generator: Generator) -> None:
        self._member = _hold_members(network)[0]
        self._n_members = network.n_members
        self._objective = objective
        self._generator = generator
        self._weights = _Weights(network)
        self.parameters: Sequence[Tensor] = [self._weights.vector]
        self._passes: dict[int, _Pass] = {}  # by rows a member; the last batch may be shorter
        self._n_batches: Counter[int] = Counter()  # of an epoch, by rows a member

    # Two threads lose more time meeting than they save in smaller steps: the break-even lies
    # between 85 and 160 million multiplications and additions on a machine of two cores.
    shared_work = 2**27

    @staticmethod
    def accepts(network: Autoencoder, objective: Objective) -> bool:
        """Return whether this step can train a network on an objective."""
        member = _hold_members(network)[0]
        encoder, decoder = member._modules.get("encoder"), member._modules.get("decoder")
        if (
            objective.contractive
            or type(member) not in (Autoencoder, VariationalAutoencoder)
            or not isinstance(encoder, nn.Sequential)
            or not isinstance(decoder, nn.Sequential)
        ):
            return False
        layers = [*encoder, *decoder]
        if isinstance(layers[0], MaskInput):  # the one place where a mask is known
            del layers[0]
        n_parameters = sum(len(list(layer.parameters())) for layer in layers)
        return (
            isinstance(layers[0], LINEAR)
            and isinstance(decoder[-1], LINEAR)
            and all(_is_known(layer) for layer in layers)
            and len(list(member.parameters())) == n_parameters  # none is shared
        )

    def count_work(self, x: Tensor) -> int:
        """Return the multiplications and additions of one row, as :class:`Step` says."""
        # Two a weight and pass: forward, backward by the input, backward by the weights.
        return 6 * self._weights.vector.numel()

    def begin_epoch(self, batch_sizes: Sequence[int]) -> None:
        """Plan the draws of an epoch, as :class:`Step` says."""
        self._n_batches = Counter(batch_sizes)
        # Pools differ in their number of rows, and so in their last batch.
        self._passes = {n: batch for n, batch in self._passes.items() if n in self._n_batches}
        for n_rows, batch in self._passes.items():
            batch.begin_epoch(self._n_batches[n_rows])

    @torch.no_grad()
    def backpropagate(self, x: Tensor) -> Tensor:
        """Set the gradients and return the losses, as :class:`Step` says."""
        n_rows = x.shape[1]
        if n_rows not in self._passes:
            lead = (n_rows,) if self._n_members == 1 else (self._n_members, n_rows)
            values, gradients = self._weights.values, self._weights.gradients
            place = Place("", values, gradients, lead, self._generator)
            self._passes[n_rows] = _Pass(self._member, self._objective, place)
            self._passes[n_rows].begin_epoch(self._n_batches[n_rows])
        return self._passes[n_rows].backpropagate(x)


def _hold_members(network: Autoencoder) -> list[Autoencoder]:
    """Return the networks that hold the members' weights: one each, or one for all."""
    if isinstance(network, MemberLoop):
        return [cast(Autoencoder, member) for member in network.members]
    return [network]


LINEAR = (Linear, nn.Linear)
KNOWN_ACTIVATIONS = {repr(make()) for make in ACTIVATIONS.values()}


def _is_known(layer: nn.Module) -> bool:
    """Return whether :data:`LAYERS` has the layer's passes."""
    trained = all(p.requires_grad and p.dtype == torch.float32 for p in layer.parameters())
    if not trained or layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:
        return False
    if isinstance(layer, nn.BatchNorm1d):
        return layer.affine and layer.track_running_stats and layer.momentum is not None
    if type(layer) is nn.Linear:
        return layer.bias is not None
    # The text tells the slope of a leaky ReLU and the like.
    return type(layer) in (Linear, BatchNorm, Dropout) or repr(layer) in KNOWN_ACTIVATIONS


class _Weights:
    """The weights of all members in one vector, of which the network's parameters become views.

    One vector because an optimiser costs a small network a call a tensor, not the arithmetic. The
    members lie side by side in each tensor, not in the vector: batched products are slower into
    memory with gaps.

    Attributes
    ----------
    vector : Tensor of shape (n_members * n_parameters,)
        With its gradient.
    values, gradients : dict of str to Tensor of shape (n_members, size)
        Parameters, their gradients and, in ``values`` alone, running statistics, by name.
    """

    def __init__(self, network: Autoencoder) -> None:
        holders, n_members = _hold_members(network), network.n_members
        parameters = _by_name([n.named_parameters() for n in holders])
        parts = [_join(tensors, n_members).flatten() for tensors in parameters.values()]
        self.vector = torch.cat(parts).requires_grad_()
        self.vector.grad = torch.zeros_like(self.vector)
        sizes = [len(part) for part in parts]
        self.values, self.gradients = (
            {
                name: part.view(n_members, -1)
                for name, part in zip(parameters, vector.split(sizes), strict=True)
            }
            for vector in (self.vector.detach(), self.vector.grad)
        )
        statistics = _by_name([n.named_buffers() for n in holders])
        self.values |= {name: _join(b, n_members) for name, b in statistics.items()}
        for name, tensors in (parameters | statistics).items():
            _become_views(tensors, self.values[name])


def _by_name(named: Iterable[Iterator[tuple[str, Tensor]]]) -> dict[str, list[Tensor]]:
    """Return the tensors of floats of several networks, those of one name together."""
    tensors: dict[str, list[Tensor]] = {}
    for pairs in named:
        for name, tensor in pairs:
            if tensor.is_floating_point():
                tensors.setdefault(name, []).append(tensor)
    return tensors


def _join(tensors: Sequence[Tensor], n_members: int) -> Tensor:
    """Return the values of tensors that together hold all members, ``(n_members, size)``."""
    n_held = n_members // len(tensors)
    return torch.cat([tensor.detach().reshape(n_held, -1) for tensor in tensors])


def _become_views(tensors: Sequence[Tensor], values: Tensor) -> None:
    """Let tensors that together hold all members be views of ``values`` ``(n_members, size)``."""
    parts = values.split(len(values) // len(tensors))
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.data = part.view(tensor.shape)


class _Pass:
    """The layers with their buffers for batches of one size, forward and backward."""

    def __init__(self, network: Autoencoder, objective: Objective, place: Place) -> None:
        self._objective, self._place = objective, place
        self._variational = network.is_variational
        encoder = cast(nn.Sequential, network.encoder)
        decoder = cast(nn.Sequential, network.decoder)
        hidden, last = list(decoder)[:-1], cast(Linear, decoder[-1])
        self._share = 1 / (place.lead[-1] * last.out_features)  # a row's, per feature
        self._penalties: list[GaussianCode | SparseCode] = []
        if self._variational:
            self._penalties.append(GaussianCode(objective.beta, self._share, place.generator))
        elif objective.l1_activity:
            self._penalties.append(SparseCode(objective.l1_activity, self._share))
        self._masked = isinstance(encoder[0], MaskInput)
        self._first, *between = _make_layers("encoder", encoder, place)
        self._layers: list[Layer] = [
            *between,
            *self._penalties,
            *_make_layers("decoder", hidden, place),
        ]
        self._output = Output(last, place._replace(name=f"decoder.{len(hidden)}"))

    def begin_epoch(self, n_batches: int) -> None:
        for layer in self._layers:
            if isinstance(layer, DropoutLayer):
                layer.begin_epoch(n_batches)

    def backpropagate(self, x: Tensor) -> Tensor:
        """Set the gradients of rows ``(n_members, batch, n_features)``; return their losses."""
        corrupt, loss = self._objective.corrupt, self._objective.loss
        given = x if corrupt is None else corrupt(x, self._place.generator)
        if self._masked:
            given = MaskInput()(given)
        lead = self._place.lead
        x = x.view(*lead, -1)
        h = self._first.forward(given.view(*lead, -1).mT)  # feature-major from here
        for layer in self._layers:
            h = layer.forward(h)
        differentiate = _differentiate_observed if self._objective.missing else _differentiate
        blocks = self._objective.blocks
        losses, slope, factor = differentiate(self._output.forward(h), x, loss, blocks)
        if self._variational and loss != "bce":
            losses, factor = losses / 2, factor / 2  # see losses.negative_log_likelihood
        for penalty in self._penalties:
            losses = losses + penalty.losses
        g = self._output.backward_scaled(slope, factor * self._share)
        for layer in reversed(self._layers):
            g = layer.backward(g)
        self._first.backward(g, to_input=False)
        return losses.view(-1, lead[-1])


def _make_layers(side: str, modules: Iterable[nn.Module], place: Place) -> list[Any]:
    return [
        LAYERS[type(module)](module, place._replace(name=f"{side}.{index}"))
        for index, module in enumerate(modules)
        if not isinstance(module, nn.Identity | MaskInput)
    ]


def _differentiate(
    x_hat: Tensor, x: Tensor, loss: str, blocks: Blocks | None
) -> tuple[Tensor, Tensor, float]:
    """Return the losses of rows, and the derivative by ``x_hat`` as a tensor and a factor.

    ``x_hat`` is overwritten. The factor is left to a matrix product, where it costs nothing.
    """
    if blocks is not None:
        return _differentiate_blocks(x_hat, x, loss, blocks)
    if loss == "mse":
        residual = x_hat.sub_(x)
        return torch.linalg.vecdot(residual, residual), residual, 2.0
    losses = FEATURE_ERRORS[loss](x_hat, x).sum(dim=-1)
    if loss == "bce":
        return losses, x_hat.sigmoid_().sub_(x), 1.0
    return losses, x_hat.sub_(x).clamp_(-1, 1), 2.0


def _differentiate_blocks(
    x_hat: Tensor, x: Tensor, loss: str, blocks: Blocks
) -> tuple[Tensor, Tensor, float]:
    """Do as :func:`_differentiate` for rows with blocks."""
    n = blocks.n_numbers
    losses, _, factor = _differentiate(x_hat[..., :n], x[..., :n], loss, None)
    losses_of_blocks, slope = blocks.losses_and_slope(x_hat[..., n:], x[..., n:])
    x_hat[..., n:] = slope.div_(factor)
    return losses + losses_of_blocks, x_hat, factor


def _differentiate_observed(
    x_hat: Tensor, x: Tensor, loss: str, blocks: Blocks | None
) -> tuple[Tensor, Tensor, float]:
    """Do as :func:`_differentiate` for rows with missing cells, see ``losses.observed_loss``."""
    missing = x.isnan()
    n = x.shape[-1] if blocks is None else blocks.n_numbers
    # Restored without error: a logit of -1e4 is the probability 0 in float32.
    x_hat[..., :n].masked_fill_(missing[..., :n], -1e4 if loss == "bce" else 0.0)
    x = x.masked_fill(missing, 0.0)
    if blocks is None:
        losses, slope, factor = _differentiate(x_hat, x, loss, None)
    else:
        of_missing = blocks.errors(x_hat[..., n:], x[..., n:]) * missing[..., n:]
        losses, slope, factor = _differentiate(x_hat, x, loss, blocks)
        losses = losses - of_missing.sum(dim=-1)
        slope = slope.masked_fill_(missing, 0.0)
    weight = weight_of_observed(missing, blocks)
    return losses * weight, slope.mul_(weight[..., None]), factor
