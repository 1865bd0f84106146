"""The training step of dense networks, forward and backward pass written out.

On a small network autograd spends more time on its bookkeeping than on arithmetic. Here every
result goes into a buffer that is made once, and all members take each step together, as batched
matrix products. The tests compare every gradient with autograd's, and ``benchmarks/speed.py``
shows the gain.
"""

from __future__ import annotations

import math
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
    Apart,
    DropoutLayer,
    GaussianCode,
    Input,
    Output,
    Place,
    SparseCode,
    join,
    split,
)
from aedetect.training.objective import Objective
from aedetect.training.products import round_up


class DenseStep:
    """Trains the members of dense networks side by side, without autograd.

    Every network gets the bits that it gets alone: products pass a trial (see ``products.py``),
    functions that round are computed network by network, and each has its own draws.

    Parameters
    ----------
    networks : sequence of Autoencoder
        Of one :func:`architecture`, with equally many members. Their parameters become views of
        one vector a network.
    objectives : sequence of Objective
        One a network, without a contractive penalty, and alike but for numbers.
    generators : sequence of torch.Generator
        One a network, on its device. Draws dropout and all noise.

    Attributes
    ----------
    parameters : list of Tensor of shape (n_members * size,)
        Those of each network in one vector, with its gradient, for an optimiser.
    """

    def __init__(
        self,
        networks: Sequence[Autoencoder],
        objectives: Sequence[Objective],
        generators: Sequence[Generator],
    ) -> None:
        self._holders = [_hold_members(network)[0] for network in networks]
        self._n_members = networks[0].n_members  # of a network
        self._objectives, self._generators = objectives, generators
        self._weights = _Weights(networks)
        self.parameters: Sequence[Tensor] = self._weights.vectors
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
        return 6 * sum(vector.numel() for vector in self.parameters)

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
            self._passes[n_rows] = self._allocate(n_rows)
            self._passes[n_rows].begin_epoch(self._n_batches[n_rows])
        return self._passes[n_rows].backpropagate(x)

    def _allocate(self, n_rows: int) -> _Pass:
        try:
            return self._make_pass(n_rows)
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"The device's memory does not hold the layers of a batch of {n_rows} rows. Choose"
                " a smaller batch_size, a smaller network, fewer members or device='cpu'."
            ) from error

    def _make_pass(self, n_rows: int) -> _Pass:
        n_all = len(self._holders) * self._n_members
        lead = (n_rows,) if n_all == 1 else (n_all, n_rows)
        values, gradients = self._weights.values, self._weights.gradients
        place = Place("", values, gradients, lead, self._generators[0])
        parts = [place]
        if len(self._holders) > 1:
            firsts = range(0, n_all, self._n_members)
            parts = [
                place.of_members(first, first + self._n_members, generator)
                for first, generator in zip(firsts, self._generators, strict=True)
            ]
        return _Pass(self._holders, self._objectives, place, parts)


def architecture(network: Autoencoder) -> str:
    """Return text that is equal for dense networks that :class:`DenseStep` trains side by side."""
    (holder, *_) = _hold_members(network)
    layers = [*cast(nn.Sequential, holder.encoder), *cast(nn.Sequential, holder.decoder)]
    names = ["Dropout()" if isinstance(layer, Dropout) else repr(layer) for layer in layers]
    widths = [tuple(parameter.shape) for parameter in holder.encoder.parameters()]
    return f"{type(holder).__name__} of {network.n_members}: {names}, encoder {widths}"


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
    """The weights of all members in one matrix, of which the networks' parameters become views.

    One row a member: an optimiser costs a small network a call a tensor, not the arithmetic.
    Every tensor begins a line, as ``products.py`` says.

    Attributes
    ----------
    vectors : list of Tensor of shape (n_members * n_parameters,)
        The rows of each network, with their gradients.
    values, gradients : dict of str to Tensor of shape (all members, size)
        Parameters, their gradients and, in ``values`` alone, running statistics, by name.
    """

    def __init__(self, networks: Sequence[Autoencoder]) -> None:
        holders, n_all = _all_holders(networks), sum(n.n_members for n in networks)
        parameters = _by_name([n.named_parameters() for n in holders])
        joined = {name: _join(tensors, n_all) for name, tensors in parameters.items()}
        sizes = [round_up(tensor.shape[1]) for tensor in joined.values()]
        matrix = next(iter(joined.values())).new_zeros(n_all, sum(sizes))
        slopes = torch.zeros_like(matrix)
        self.values, self.gradients = (
            {
                name: part[:, : tensor.shape[1]]
                for (name, tensor), part in zip(joined.items(), m.split(sizes, 1), strict=True)
            }
            for m in (matrix, slopes)
        )
        for name, tensor in joined.items():
            self.values[name].copy_(tensor)
        rows = zip(*(m.chunk(len(networks)) for m in (matrix, slopes)), strict=True)
        self.vectors = [_with_gradient(own.flatten(), slope.flatten()) for own, slope in rows]
        statistics = _by_name([n.named_buffers() for n in holders])
        self.values |= {name: _join(b, n_all) for name, b in statistics.items()}
        for name, tensors in (parameters | statistics).items():
            _become_views(tensors, self.values[name])


def _all_holders(networks: Iterable[Autoencoder]) -> list[Autoencoder]:
    return [holder for network in networks for holder in _hold_members(network)]


def _with_gradient(vector: Tensor, gradient: Tensor) -> Tensor:
    """Return a vector with a gradient; both are views that stay views."""
    vector = vector.requires_grad_()
    vector.grad = gradient
    return vector


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
    """The layers with their buffers for batches of one size, forward and backward.

    Parameters
    ----------
    holders : sequence of Autoencoder
        One a network, with its layers.
    objectives : sequence of Objective
    place : Place
        That of all members.
    parts : sequence of Place
        That of each network.
    """

    def __init__(
        self,
        holders: Sequence[Autoencoder],
        objectives: Sequence[Objective],
        place: Place,
        parts: Sequence[Place],
    ) -> None:
        self._objectives, self._parts, self._lead = objectives, parts, place.lead
        self._n_members = math.prod(parts[0].lead[:-1])  # of a network
        self._variational = holders[0].is_variational
        encoders = [list(cast(nn.Sequential, holder.encoder)) for holder in holders]
        decoders = [list(cast(nn.Sequential, holder.decoder)) for holder in holders]
        *_, last = [cast(Linear, decoder.pop()) for decoder in decoders]
        self._masked = isinstance(encoders[0][0], MaskInput)
        self._share = 1 / (place.lead[-1] * last.out_features)  # a row's, per feature
        self._penalties = self._make_penalties()
        self._first, *between = self._make_layers("encoder", encoders, place)
        self._layers: list[Any] = [
            *between,
            *self._penalties,
            *self._make_layers("decoder", decoders, place),
        ]
        self._output = Output(last, place._replace(name=f"decoder.{len(decoders[0])}"))
        self._losses, self._square_norms = self._output.make_norms()

    def _make_penalties(self) -> list[Any]:
        """Return the layer of the penalty on the code, if there is one."""
        pairs = list(zip(self._objectives, self._parts, strict=True))
        if self._variational:
            return self._apart([GaussianCode(o.beta, self._share, p.generator) for o, p in pairs])
        if self._objectives[0].is_sparse:
            return self._apart([SparseCode(o.l1_activity, self._share) for o, _ in pairs])
        return []

    def _make_layers(
        self, side: str, stacks: Sequence[Sequence[nn.Module]], place: Place
    ) -> list[Any]:
        """Return the layers of one side of all networks."""
        layers: list[Any] = []
        for index, modules in enumerate(zip(*stacks, strict=True)):
            name, kind = f"{side}.{index}", type(modules[0])
            if kind in (nn.Identity, MaskInput):
                continue
            if kind in EXACT:
                make = Input if side == "encoder" and not layers else LAYERS[kind]
                layers.append(make(modules[0], place._replace(name=name)))
            else:
                places = [part._replace(name=name) for part in self._parts]
                pairs = zip(modules, places, strict=True)
                layers += self._apart([LAYERS[kind](module, place) for module, place in pairs])
        return layers

    def _apart(self, layers: list[Any]) -> list[Any]:
        """Return one layer of all networks, given that of each."""
        return layers if len(layers) == 1 else [Apart(layers, self._n_members)]

    def begin_epoch(self, n_batches: int) -> None:
        for layer in self._layers:
            for own in layer.layers if isinstance(layer, Apart) else [layer]:
                if isinstance(own, DropoutLayer):
                    own.begin_epoch(n_batches)

    def backpropagate(self, x: Tensor) -> Tensor:
        """Set the gradients of rows ``(all members, batch, n_features)``; return their losses."""
        given = self._corrupt(x)
        if self._masked:
            given = MaskInput()(given)
        x = x.view(*self._lead, -1)
        h = self._first.forward(given.view(*self._lead, -1).mT)  # feature-major from here
        for layer in self._layers:
            h = layer.forward(h)
        losses, slope, factor = self._differentiate(self._output.forward(h), x)
        if self._variational and self._objectives[0].loss != "bce":
            losses, factor = losses / 2, factor / 2  # see losses.negative_log_likelihood
        for penalty in self._penalties:
            losses = losses + penalty.losses
        g = self._output.backward_scaled(slope, factor * self._share)
        for layer in reversed(self._layers):
            g = layer.backward(g)
        self._first.backward(g, to_input=False)
        return losses.view(-1, self._lead[-1])

    def _corrupt(self, x: Tensor) -> Tensor:
        """Return the rows that the networks are given: each draws noise of its own."""
        if self._objectives[0].corrupt is None:
            return x
        parts = zip(self._objectives, self._parts, x.split(self._n_members), strict=True)
        noisy = [cast(Any, o.corrupt)(part, place.generator) for o, place, part in parts]
        return noisy[0] if len(noisy) == 1 else torch.cat(noisy)

    def _differentiate(self, x_hat: Tensor, x: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return the losses of rows, and the derivative by ``x_hat`` as a tensor and a factor.

        ``x_hat`` is overwritten. The factor is left to a matrix product, where it costs nothing.
        """
        loss, missing = self._objectives[0].loss, self._objectives[0].missing
        blocks = self._objectives[0].blocks
        if loss == "mse" and not missing and blocks is None:
            residual = x_hat.sub_(x)
            return self._square_norms(residual, out=self._losses), residual, 2.0
        differentiate = _differentiate_observed if missing else _differentiate
        if len(self._parts) == 1:
            return differentiate(x_hat, x, loss, blocks)
        pairs = zip(split(x_hat, self._n_members), split(x, self._n_members), strict=True)
        losses, _, factors = zip(
            *[differentiate(*pair, loss, blocks) for pair in pairs], strict=True
        )
        return join(losses, self._n_members), x_hat, factors[0]


# Layers whose results do not depend on where a value lies among others, or that take care of it.
EXACT = (Linear, nn.Linear, nn.ReLU, nn.LeakyReLU)


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
