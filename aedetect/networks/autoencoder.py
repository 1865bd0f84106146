"""What every architecture is made of, and what can be asked of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import torch
from torch import Generator, Tensor, nn

from aedetect.networks.dropout import Dropout
from aedetect.networks.tied import TiedLinear

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


class Autoencoder(nn.Module):
    """An encoder and a decoder.

    Pass one as ``network=`` to any estimator to train an architecture of your own. The encoder
    maps a batch of rows to codes, the decoder maps codes back to rows. With ``loss="bce"`` the
    decoder returns logits.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps ``(batch, n_features)`` to ``(batch, latent_dim)``; for a
        :class:`~aedetect.VAEDetector` to ``(batch, 2 * latent_dim)``, the posterior's means
        beside its log-variances.
    decoder : torch.nn.Module
        Maps ``(batch, latent_dim)`` to ``(batch, n_features)``.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from aedetect.networks import Autoencoder
    >>> network = Autoencoder(nn.Linear(8, 2), nn.Linear(2, 8))
    >>> network(torch.zeros(5, 8)).shape
    torch.Size([5, 8])
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of ``x``, shape ``(batch, latent_dim)``."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the rows (or logits) that codes stand for, shape ``(batch, n_features)``."""
        return self.decoder(z)

    def encode_decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes and the reconstruction of ``x``."""
        z = self.encode(x)
        return z, self.decode(z)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction of ``x``, shape ``(batch, n_features)``."""
        return self.encode_decode(x)[1]

    def activations(self, x: Tensor) -> list[Tensor]:
        """Return ``x``, what each hidden layer of the encoder makes of it, and the code.

        Each is ``(batch, width)``. The hidden layers of an encoder that is no ``nn.Sequential`` are
        not known, so they are left out.
        """
        stack = self.encoder if isinstance(self.encoder, nn.Sequential) else [self.encoder]
        given, h = [], x
        for layer in stack:
            # Norms have weights too, but only vectors.
            if any(parameter.ndim > 1 for parameter in layer.parameters()):
                given.append(h.flatten(1))
            h = layer(h)
        return [x, *given[1:], self._code(h)]

    def _code(self, encoded: Tensor) -> Tensor:
        """Return the code in what the encoder returns."""
        return encoded


class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose encoder gives a diagonal Gaussian over codes.

    Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014. The code of a row is the mean
    of its posterior, so that everything but training is deterministic.
    """

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and the log-variances of q(z | x), each ``(batch, latent_dim)``."""
        parameters = self.encoder(x)
        if parameters.shape[1] % 2:
            raise ValueError(
                "The encoder of a variational autoencoder returns means beside as many"
                f" log-variances, but its output has {parameters.shape[1]} columns."
            )
        mean, log_var = parameters.chunk(2, dim=1)
        return mean, log_var

    def _code(self, encoded: Tensor) -> Tensor:
        return encoded.chunk(2, dim=1)[0]

    def encode(self, x: Tensor) -> Tensor:
        """Return the posterior means of ``x``, shape ``(batch, latent_dim)``."""
        return self.posterior(x)[0]


def hidden_block(
    layer: nn.Module, norm: nn.Module | None, activation: str, dropout: float
) -> list[nn.Module]:
    """Return a layer followed by what is asked of: norm, activation and dropout."""
    block = [layer] if norm is None else [layer, norm]
    block.append(ACTIVATIONS[activation]())
    if dropout:
        block.append(Dropout(dropout))
    return block


@torch.no_grad()
def initialize(network: nn.Module, generator: Generator) -> None:
    """Draw the starting weights of ``network`` from ``generator``, in place.

    Weights and biases are uniform in +-1/sqrt(fan_in), PyTorch's own default (LeCun et al.,
    "Efficient BackProp", 1998), drawn here because PyTorch's layers draw theirs from the global
    generator.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for parameter in module.parameters(recurse=False):
                parameter.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, TiedLinear):
            bound = 1 / math.sqrt(module.in_features)
            module.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
            module.reset_parameters()  # constants: no draw


def summarize(network: Autoencoder, n_features: int) -> pd.DataFrame:
    """Return one row a layer.

    Parameters
    ----------
    network : Autoencoder
    n_features : int
        Width of a row.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``layer`` (name and class), ``output_shape`` (without the batch), ``parameters``
        (with the running statistics of batch normalisation) and ``trained`` (without).
    """
    rows: list[tuple[str, tuple[int, ...], int, int]] = []

    def record(name: str, layer: nn.Module, output: Tensor) -> None:
        trained = sum(parameter.numel() for parameter in layer.parameters())
        fixed = sum(buffer.numel() for buffer in layer.buffers() if buffer.is_floating_point())
        shape = tuple(output.shape[1:])
        rows.append((f"{name} ({type(layer).__name__})", shape, trained + fixed, trained))

    handles = [
        layer.register_forward_hook(lambda layer, _, output, name=name: record(name, layer, output))
        for name, layer in network.named_modules()
        if not any(layer.children())
    ]
    try:
        probe(network, n_features)
    finally:
        for handle in handles:
            handle.remove()
    return pd.DataFrame(rows, columns=["layer", "output_shape", "parameters", "trained"])


@torch.no_grad()
def probe(network: Autoencoder, n_features: int, value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the code and the reconstruction of one row of a value, to learn their shapes."""
    network.eval()
    parameter = next(network.parameters(), torch.empty(0))
    row = torch.full((1, n_features), value, dtype=parameter.dtype, device=parameter.device)
    z = network.encode(row)
    return z, network.decode(z)
