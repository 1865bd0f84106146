"""Fully connected networks: plain, and residual ones for tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from aedetect.networks.autoencoder import Autoencoder
from aedetect.networks.dropout import Dropout
from aedetect.networks.layers import (
    ACTIVATIONS,
    BatchNorm,
    LayerNorm,
    Linear,
    TiedLinear,
    hidden_block,
)
from aedetect.networks.mask import MaskInput


def dense_autoencoder(
    n_features: int,
    latent_dim: int,
    *,
    hidden_layer_sizes: Sequence[int],
    activation: str,
    latent_activation: str,
    batch_norm: bool,
    dropout: float,
    tied_weights: bool = False,
    codes_per_dim: int = 1,
    mask_input: bool = False,
    n_members: int = 1,
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
    tied_weights : bool, default=False
        Whether the decoder's weights are the encoder's, transposed.
    codes_per_dim : int, default=1
        Encoder outputs a latent dimension: 2 for a VAE (mean and log-variance).
    mask_input : bool, default=False
        Whether rows may have missing cells: the encoder begins with :class:`MaskInput`.
    n_members : int, default=1
        How many sets of weights every layer holds.

    Returns
    -------
    network : Autoencoder
    """
    widths = [(1 + mask_input) * n_features, *hidden_layer_sizes]
    downs = _linear_layers(widths, n_members)
    code = Linear(widths[-1], codes_per_dim * latent_dim, n_members)
    if tied_weights:
        restored = (*reversed(hidden_layer_sizes), n_features)
        pairs = zip((code, *reversed(downs)), restored, strict=True)
        ups: Sequence[Linear | TiedLinear] = [TiedLinear(layer, width) for layer, width in pairs]
    else:
        ups = _linear_layers([latent_dim, *reversed(hidden_layer_sizes), n_features], n_members)

    def hidden(layers: Sequence[Linear | TiedLinear]) -> list[nn.Module]:
        modules: list[nn.Module] = []
        for layer in layers:
            norm = BatchNorm(layer.out_features, n_members) if batch_norm else None
            modules += hidden_block(layer, norm, activation, dropout)
        return modules

    entry = [MaskInput()] if mask_input else []
    encoder = nn.Sequential(*entry, *hidden(downs), code, ACTIVATIONS[latent_activation]())
    return Autoencoder(encoder, nn.Sequential(*hidden(ups[:-1]), ups[-1]))


def _linear_layers(widths: Sequence[int], n_members: int) -> list[Linear]:
    """Return the layers that lead from each width to the next."""
    return [Linear(n_in, n_out, n_members) for n_in, n_out in itertools.pairwise(widths)]


class ResidualBlock(nn.Module):
    """Adds a residual to its input: norm, linear layer, activation, dropout, linear layer.

    The pre-norm block of Gorishniy et al., "Revisiting deep learning models for tabular data",
    NeurIPS 2021, section 3.2.

    Parameters
    ----------
    width : int
        Features in and out.
    activation : str
        Key of ``ACTIVATIONS``.
    batch_norm : bool
        Whether to normalise over the batch instead of over the features.
    dropout : float
        Share of activations dropped while training.
    n_members : int, default=1
    """

    def __init__(
        self, width: int, activation: str, batch_norm: bool, dropout: float, n_members: int = 1
    ) -> None:
        super().__init__()
        self.norm = (BatchNorm if batch_norm else LayerNorm)(width, n_members)
        self.inner = Linear(width, width, n_members)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = Dropout(dropout)
        self.outer = Linear(width, width, n_members)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` plus its residual, of equal shape."""
        return x + self.outer(self.dropout(self.activation(self.inner(self.norm(x)))))


def residual_autoencoder(
    n_features: int,
    latent_dim: int,
    *,
    hidden_layer_sizes: Sequence[int],
    activation: str,
    latent_activation: str,
    batch_norm: bool,
    dropout: float,
    codes_per_dim: int = 1,
    mask_input: bool = False,
    n_members: int = 1,
) -> Autoencoder:
    """Return an encoder of one residual block a hidden size, and its mirror image.

    The parameters are those of :func:`dense_autoencoder`. A linear map leads from each width to
    the next, and a norm and an activation come before the last map of either side.
    """

    def stack(n_in: int, widths: Sequence[int], n_out: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, width in itertools.pairwise([n_in, *widths]):
            layers += [
                Linear(before, width, n_members),
                ResidualBlock(width, activation, batch_norm, dropout, n_members),
            ]
        last = widths[-1] if widths else n_in
        if widths:
            norm = (BatchNorm if batch_norm else LayerNorm)(last, n_members)
            layers += [norm, ACTIVATIONS[activation]()]
        return nn.Sequential(*layers, Linear(last, n_out, n_members))

    n_inputs = (1 + mask_input) * n_features
    encoder = stack(n_inputs, hidden_layer_sizes, codes_per_dim * latent_dim)
    if mask_input:
        encoder.insert(0, MaskInput())
    encoder.append(ACTIVATIONS[latent_activation]())
    return Autoencoder(encoder, stack(latent_dim, list(reversed(hidden_layer_sizes)), n_features))
