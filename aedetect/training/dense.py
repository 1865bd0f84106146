"""The training step of dense networks, forward and backward pass written out.

On a small network autograd spends more time on its bookkeeping than on arithmetic. Here every
result goes into a buffer that is made once, and several networks of one shape take each step
together, as batched matrix products. The tests compare every gradient with autograd's, and
``benchmarks/speed.py`` shows what it gains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from aedetect.losses import FEATURE_ERRORS
from aedetect.networks import (
    ACTIVATIONS,
    Autoencoder,
    Dropout,
    MaskInput,
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
    """Trains dense autoencoders of one shape side by side, without autograd.

    Parameters
    ----------
    networks : sequence of Autoencoder
        The members, on the CPU. Their parameters become views of one vector.
    objective : Objective
        Without a contractive penalty.
    generator : torch.Generator
        Draws dropout and all noise.
    """

    def __init__(
        self, networks: Sequence[Autoencoder], objective: Objective, generator: Generator
    ) -> None:
        self._networks = networks
        self._objective = objective
        self._generator = generator
        flat, self._values, self._gradients = _stack(networks)
        self.parameters: Sequence[Tensor] = [flat]
        self._passes: dict[int, _Pass] = {}  # by rows a member; the last batch may be shorter
        self._n_batches: Counter[int] = Counter()  # of an epoch, by rows a member

    # Two threads lose more time meeting than they save in smaller steps: the break-even lies
    # between 85 and 160 million multiplications and additions on a machine of two cores.
    shared_work = 2**27

    @staticmethod
    def accepts(networks: Sequence[Autoencoder], objective: Objective) -> bool:
        """Return whether these networks can be trained on this objective here."""
        network = networks[0]
        encoder, decoder = network.encoder, network.decoder
        if (
            objective.contractive
            or type(network) not in (Autoencoder, VariationalAutoencoder)
            or not isinstance(encoder, nn.Sequential)
            or not isinstance(decoder, nn.Sequential)
        ):
            return False
        layers = [*encoder, *decoder]
        if isinstance(layers[0], MaskInput):  # the one place where a mask is known
            del layers[0]
        n_parameters = sum(len(list(layer.parameters())) for layer in layers)
        return (
            isinstance(layers[0], nn.Linear)
            and isinstance(decoder[-1], nn.Linear)
            and all(_is_known(layer) for layer in layers)
            and len(list(network.parameters())) == n_parameters  # none is shared
        )

    def count_work(self, x: Tensor) -> int:
        """Return the multiplications and additions for one row, as :class:`Step` says."""
        # Two a weight and pass: forward, backward by the input, backward by the weights.
        return 6 * sum(parameter.numel() for parameter in self.parameters)

    def begin_epoch(self, batch_sizes: Sequence[int]) -> None:
        """Plan what is drawn ahead, as :class:`Step` says."""
        self._n_batches = Counter(batch_sizes)
        for n_rows, batch in self._passes.items():
            batch.begin_epoch(self._n_batches[n_rows])

    @torch.no_grad()
    def backpropagate(self, x: Tensor) -> Tensor:
        """Set the gradients for a batch ``(n_members * rows, n_features)``; return its losses."""
        n_rows = len(x) // len(self._networks)
        if n_rows not in self._passes:
            lead = (n_rows,) if len(self._networks) == 1 else (len(self._networks), n_rows)
            place = Place("", self._values, self._gradients, lead, self._generator)
            self._passes[n_rows] = _Pass(self._networks[0], self._objective, place)
            self._passes[n_rows].begin_epoch(self._n_batches[n_rows])
        return self._passes[n_rows].backpropagate(x)


def _is_known(layer: nn.Module) -> bool:
    """Return whether a layer is one that ``dense_autoencoder`` could have made."""
    trained = all(
        p.requires_grad and p.dtype == torch.float32 and p.device.type == "cpu"
        for p in layer.parameters()
    )
    if not trained or layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:
        return False
    if isinstance(layer, nn.BatchNorm1d):
        return layer.affine and layer.track_running_stats and layer.momentum is not None
    if type(layer) is nn.Linear:
        return layer.bias is not None
    # The text tells the slope of a leaky ReLU and the like.
    return type(layer) is Dropout or repr(layer) in KNOWN_ACTIVATIONS


KNOWN_ACTIVATIONS = {repr(make()) for make in ACTIVATIONS.values()}


def _stack(
    networks: Sequence[Autoencoder],
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Return all parameters in one vector; their values and their gradients, by name, as views.

    One vector because an optimiser costs a small network a call a tensor, not the arithmetic. The
    members' own parameters and running statistics become views too.
    """
    states = [{**dict(n.named_parameters()), **dict(n.named_buffers())} for n in networks]
    values = {key: torch.stack([s[key].detach() for s in states]) for key in states[0]}
    trained = [key for key, _ in networks[0].named_parameters()]
    sizes = [values[key].numel() for key in trained]
    flat = torch.cat([values[key].flatten() for key in trained]).requires_grad_()
    flat.grad = torch.zeros_like(flat)
    gradients = {}
    parts = zip(trained, flat.detach().split(sizes), flat.grad.split(sizes), strict=True)
    for key, value, gradient in parts:
        shape = values[key].shape
        values[key], gradients[key] = value.view(shape), gradient.view(shape)
    for member, state in enumerate(states):
        for key, tensor in state.items():
            tensor.data = values[key][member]
    return flat, values, gradients


class _Pass:
    """The layers with their buffers for batches of one size, and the way there and back."""

    def __init__(self, network: Autoencoder, objective: Objective, place: Place) -> None:
        self._objective, self._place = objective, place
        self._variational = isinstance(network, VariationalAutoencoder)
        encoder = cast(nn.Sequential, network.encoder)
        decoder = cast(nn.Sequential, network.decoder)
        hidden, last = list(decoder)[:-1], cast(nn.Linear, decoder[-1])
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
        losses, slope, factor = differentiate(self._output.forward(h), x, loss)
        if self._variational and loss != "bce":
            losses, factor = losses / 2, factor / 2  # see losses.negative_log_likelihood
        for penalty in self._penalties:
            losses = losses + penalty.losses
        g = self._output.backward_scaled(slope, factor * self._share)
        for layer in reversed(self._layers):
            g = layer.backward(g)
        self._first.backward(g, to_input=False)
        return losses.flatten()


def _make_layers(side: str, modules: Iterable[nn.Module], place: Place) -> list[Any]:
    return [
        LAYERS[type(module)](module, place._replace(name=f"{side}.{index}"))
        for index, module in enumerate(modules)
        if not isinstance(module, nn.Identity | MaskInput)
    ]


def _differentiate(x_hat: Tensor, x: Tensor, loss: str) -> tuple[Tensor, Tensor, float]:
    """Return the losses of rows, and the derivative by ``x_hat`` as a tensor and a factor.

    ``x_hat`` is overwritten. The factor is left to a matrix product, where it costs nothing.
    """
    if loss == "mse":
        residual = x_hat.sub_(x)
        return torch.linalg.vecdot(residual, residual), residual, 2.0
    losses = FEATURE_ERRORS[loss](x_hat, x).sum(dim=-1)
    if loss == "bce":
        return losses, x_hat.sigmoid_().sub_(x), 1.0
    return losses, x_hat.sub_(x).clamp_(-1, 1), 2.0


def _differentiate_observed(x_hat: Tensor, x: Tensor, loss: str) -> tuple[Tensor, Tensor, float]:
    """Return the same for rows with missing cells, as ``losses.observed_loss`` has it."""
    missing = x.isnan()
    # Restored without error: a logit of -1e4 is the probability 0 in float32.
    x_hat.masked_fill_(missing, -1e4 if loss == "bce" else 0.0)
    losses, slope, factor = _differentiate(x_hat, x.masked_fill(missing, 0.0), loss)
    weight = x.shape[-1] / (x.shape[-1] - missing.sum(dim=-1)).clamp_min(1)
    return losses * weight, slope.mul_(weight[..., None]), factor
