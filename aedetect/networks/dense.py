"""Fully connected networks: plain, and residual ones for tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from aedetect.networks.autoencoder import ACTIVATIONS, Autoencoder, hidden_block
from aedetect.networks.dropout import Dropout
from aedetect.networks.mask import MaskInput
from aedetect.networks.tied import TiedLinear


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

    Returns
    -------
    network : Autoencoder
    """
    widths = [(1 + mask_input) * n_features, *hidden_layer_sizes]
    downs = [nn.Linear(n_in, n_out) for n_in, n_out in itertools.pairwise(widths)]
    code = nn.Linear(widths[-1], codes_per_dim * latent_dim)
    if tied_weights:
        ups: Sequence[nn.Linear | TiedLinear] = [
            TiedLinear(layer, n_out)
            for layer, n_out in zip(
                (code, *reversed(downs)), (*reversed(hidden_layer_sizes), n_features), strict=True
            )
        ]
    else:
        up_widths = [latent_dim, *reversed(hidden_layer_sizes), n_features]
        ups = [nn.Linear(n_in, n_out) for n_in, n_out in itertools.pairwise(up_widths)]

    def hidden(layers: Sequence[nn.Linear | TiedLinear]) -> list[nn.Module]:
        blocks = (
            hidden_block(
                layer,
                nn.BatchNorm1d(layer.out_features) if batch_norm else None,
                activation,
                dropout,
            )
            for layer in layers
        )
        return list(itertools.chain.from_iterable(blocks))

    entry = [MaskInput()] if mask_input else []
    encoder = nn.Sequential(*entry, *hidden(downs), code, ACTIVATIONS[latent_activation]())
    return Autoencoder(encoder, nn.Sequential(*hidden(ups[:-1]), ups[-1]))


class ResidualBlock(nn.Module):
    """Adds to its input what a small network makes of the normalised input.

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
    """

    def __init__(self, width: int, activation: str, batch_norm: bool, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width) if batch_norm else nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = Dropout(dropout)
        self.outer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` plus its residual, of the same shape."""
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
) -> Autoencoder:
    """Return an encoder of one residual block a hidden size, and its mirror image.

    The parameters are those of :func:`dense_autoencoder`. A linear map leads from each width to
    the next, and a norm and an activation come before the last map of either side.
    """

    def stack(n_in: int, widths: Sequence[int], n_out: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, width in itertools.pairwise([n_in, *widths]):
            layers += [
                nn.Linear(before, width),
                ResidualBlock(width, activation, batch_norm, dropout),
            ]
        last = widths[-1] if widths else n_in
        if widths:
            norm = nn.BatchNorm1d(last) if batch_norm else nn.LayerNorm(last)
            layers += [norm, ACTIVATIONS[activation]()]
        return nn.Sequential(*layers, nn.Linear(last, n_out))

    n_inputs = (1 + mask_input) * n_features
    encoder = stack(n_inputs, hidden_layer_sizes, codes_per_dim * latent_dim)
    if mask_input:
        encoder.insert(0, MaskInput())
    encoder.append(ACTIVATIONS[latent_activation]())
    return Autoencoder(encoder, stack(latent_dim, list(reversed(hidden_layer_sizes)), n_features))
