"""Architectures: x -> z -> x_hat. They know no device, no optimiser and no noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Generator, Tensor, nn

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

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction of ``x``, shape ``(batch, n_features)``."""
        return self.decode(self.encode(x))


class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose encoder gives a diagonal Gaussian over codes.

    Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014. The code of a row is the mean
    of its posterior, so that everything but training is deterministic.
    """

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and the log-variances of q(z | x), each ``(batch, latent_dim)``."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        return mean, log_var

    def encode(self, x: Tensor) -> Tensor:
        """Return the posterior means of ``x``, shape ``(batch, latent_dim)``."""
        return self.posterior(x)[0]


class Dropout(nn.Module):
    """Dropout that draws from a generator of its own, never from PyTorch's global one.

    Parameters
    ----------
    p : float
        Share of activations set to zero while training; the rest is scaled by ``1 / (1 - p)``.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: Generator | None = None  # lent by the training loop

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with a share ``p`` of its entries dropped, or ``x`` itself in eval mode."""
        if not self.training:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * keep.div_(1 - self.p)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows inside the parentheses."""
        return f"p={self.p}"


def dense_autoencoder(
    n_features: int,
    latent_dim: int,
    *,
    hidden_layer_sizes: Sequence[int],
    activation: str,
    latent_activation: str,
    batch_norm: bool,
    dropout: float,
    codes_per_dim: int = 1,
) -> Autoencoder:
    """Return a fully connected encoder and its mirror image.

    Parameters
    ----------
    n_features, latent_dim : int
        Width of a row and of its code.
    hidden_layer_sizes : sequence of int
        The encoder's widths before the code; the decoder has them in reverse.
    activation, latent_activation : str
        Keys of ``ACTIVATIONS``, after each hidden layer and after the code.
    batch_norm : bool
        Whether each hidden layer is normalised before its activation.
    dropout : float
        Share of hidden activations dropped while training.
    codes_per_dim : int, default=1
        Encoder outputs a latent dimension: 2 for a VAE (mean and log-variance).

    Returns
    -------
    network : Autoencoder
    """
    widths = [n_features, *hidden_layer_sizes]

    def hidden(widths: Sequence[int]) -> list[nn.Module]:
        blocks = (
            _hidden_block(n_in, n_out, activation, batch_norm, dropout)
            for n_in, n_out in itertools.pairwise(widths)
        )
        return list(itertools.chain.from_iterable(blocks))

    encoder = nn.Sequential(
        *hidden(widths),
        nn.Linear(widths[-1], codes_per_dim * latent_dim),
        ACTIVATIONS[latent_activation](),
    )
    decoder = nn.Sequential(
        *hidden([latent_dim, *reversed(hidden_layer_sizes)]),
        nn.Linear(widths[1] if hidden_layer_sizes else latent_dim, n_features),
    )
    return Autoencoder(encoder, decoder)


def _hidden_block(
    n_in: int, n_out: int, activation: str, batch_norm: bool, dropout: float
) -> list[nn.Module]:
    block: list[nn.Module] = [nn.Linear(n_in, n_out)]
    if batch_norm:
        block.append(nn.BatchNorm1d(n_out))
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
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            for parameter in module.parameters(recurse=False):
                parameter.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm1d):
            module.reset_parameters()  # constants: no draw


def summarize(network: Autoencoder, n_features: int) -> pd.DataFrame:
    """Return one row a layer: its name, the shape of its output for one row, its parameters.

    Parameters
    ----------
    network : Autoencoder
    n_features : int
        Width of a row.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``layer``, ``output_shape`` (without the batch) and ``parameters``.
    """
    rows: list[tuple[str, tuple[int, ...], int]] = []

    def record(name: str, layer: nn.Module, output: Tensor) -> None:
        size = sum(parameter.numel() for parameter in layer.parameters())
        rows.append((f"{name} ({type(layer).__name__})", tuple(output.shape[1:]), size))

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
    return pd.DataFrame(rows, columns=["layer", "output_shape", "parameters"])


@torch.no_grad()
def probe(network: Autoencoder, n_features: int) -> tuple[Tensor, Tensor]:
    """Return the code and the reconstruction of one zero row, to learn their shapes."""
    network.eval()
    parameter = next(network.parameters(), torch.empty(0))
    z = network.encode(torch.zeros(1, n_features, dtype=parameter.dtype, device=parameter.device))
    return z, network.decode(z)
