"""Convolutional networks for images of any size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aedetect.networks.autoencoder import Autoencoder, Trace
from aedetect.networks.layers import ACTIVATIONS, hidden_block
from aedetect.networks.mask import MaskInput

Size = tuple[int, int]  # height, width


def conv_autoencoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    hidden_layer_sizes: Sequence[int],
    activation: str,
    latent_activation: str,
    batch_norm: bool,
    dropout: float,
    downsample: str,
    upsample: str,
    latent: str,
    codes_per_dim: int = 1,
    mask_input: bool = False,
) -> Autoencoder:
    """Return an encoder of 3x3 convolutions that halve the image repeatedly, and its mirror image.

    Parameters
    ----------
    image_shape : (channels, height, width)
        A row holds the image in this order.
    latent_dim : int
        Width of the code; not used for ``latent="map"``.
    hidden_layer_sizes : sequence of int
        The encoder's channels; the decoder has them in reverse.
    activation, latent_activation, batch_norm, dropout, codes_per_dim, mask_input
        As in :func:`~aedetect.networks.dense_autoencoder`; layers that keep the image's size are
        not normalised.
    downsample : {"stride", "maxpool"}
        How the image is halved: by a stride of 2, or by the maximum of 2x2 pixels.
    upsample : {"nearest", "transpose", "unpool"}
        How it is doubled: by repeating pixels before the next convolution, by a transposed
        convolution of stride 2, or by putting each value where the maximum was found (Zeiler &
        Fergus, ECCV 2014). A code does not hold these places, so ``decode`` takes the first of
        the 2x2 pixels; only ``forward`` has the places.
    latent : {"vector", "map"}
        A ``"map"`` is halved after each convolution, and its last feature map, flattened, is the
        code. A ``"vector"`` is halved between them, and a dense layer makes the code.

    Returns
    -------
    network : Autoencoder
    """
    channels, *size = image_shape
    n_halvings = len(hidden_layer_sizes) - (latent == "vector")
    sizes = _sizes((size[0], size[1]), n_halvings)
    map_shape = (hidden_layer_sizes[-1], *sizes[-1])
    encoder: list[nn.Module] = [nn.Unflatten(1, image_shape)]
    if mask_input:
        encoder.append(MaskInput())
    inputs = (1 + mask_input) * channels
    for level, (n_in, n_out) in enumerate(itertools.pairwise([inputs, *hidden_layer_sizes])):
        halved = level < n_halvings
        stride = 2 if halved and downsample == "stride" else 1
        norm = nn.BatchNorm2d(n_out) if batch_norm and halved else None
        layer = nn.Conv2d(n_in, n_out, 3, stride, padding=1)
        encoder += hidden_block(layer, norm, activation, dropout)
        if halved and downsample == "maxpool":
            encoder.append(MaxPool(2, ceil_mode=True))
    encoder.append(nn.Flatten())
    decoder: list[nn.Module] = []
    if latent == "vector":
        width = math.prod(map_shape)
        encoder.append(nn.Linear(width, codes_per_dim * latent_dim))
        decoder += hidden_block(nn.Linear(latent_dim, width), None, activation, dropout)
    encoder.append(ACTIVATIONS[latent_activation]())
    decoder.append(nn.Unflatten(1, map_shape))
    widths = list(reversed(hidden_layer_sizes))
    if upsample == "transpose":
        decoder += _transposed(widths, sizes, activation, batch_norm, dropout)
    elif upsample == "unpool" and latent == "vector":
        # Unpooling needs the channels that were pooled: each convolution comes one level earlier.
        outputs = [*widths[1:], widths[-1]]
        decoder += _resized(widths[0], outputs, sizes, activation, batch_norm, dropout, upsample)
    else:
        decoder += _resized(widths[0], widths, sizes, activation, batch_norm, dropout, upsample)
    decoder += [nn.Conv2d(widths[-1], channels, 3, padding=1), nn.Flatten()]
    kind = UnpoolingAutoencoder if upsample == "unpool" else Autoencoder
    return kind(nn.Sequential(*encoder), nn.Sequential(*decoder))


def _sizes(size: Size, n_halvings: int) -> list[Size]:
    """Return the image's size before each halving and after the last; odd sizes round up."""
    sizes = [size]
    for _ in range(n_halvings):
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes


def _resized(
    channels: int,
    outputs: Sequence[int],
    sizes: Sequence[Size],
    activation: str,
    batch_norm: bool,
    dropout: float,
    upsample: str,
) -> list[nn.Module]:
    """Return convolutions, each followed by a doubling until the image has its full size."""
    larger = list(reversed(sizes[:-1]))
    layers: list[nn.Module] = []
    for level, (n_in, n_out) in enumerate(itertools.pairwise([channels, *outputs])):
        doubled = level < len(larger)
        norm = nn.BatchNorm2d(n_out) if batch_norm and doubled else None
        layers += hidden_block(nn.Conv2d(n_in, n_out, 3, padding=1), norm, activation, dropout)
        if doubled:
            nearest = upsample == "nearest"
            layers.append(nn.Upsample(larger[level]) if nearest else Unpool(larger[level]))
    return layers


def _transposed(
    widths: Sequence[int],
    sizes: Sequence[Size],
    activation: str,
    batch_norm: bool,
    dropout: float,
) -> list[nn.Module]:
    """Return one convolution, and a transposed one for each doubling."""
    steps = list(itertools.pairwise(reversed(sizes)))
    layers = hidden_block(nn.Conv2d(widths[0], widths[0], 3, padding=1), None, activation, dropout)
    outputs = [*widths[1:], widths[-1]]
    for n_in, n_out, (small, large) in zip(widths, outputs, steps, strict=False):
        # A stride of 2 leads from n to 2n - 1 pixels; the missing row or column is added.
        added = (large[0] - 2 * small[0] + 1, large[1] - 2 * small[1] + 1)
        layer = nn.ConvTranspose2d(n_in, n_out, 3, stride=2, padding=1, output_padding=added)
        norm = nn.BatchNorm2d(n_out) if batch_norm else None
        layers += hidden_block(layer, norm, activation, dropout)
    return layers


class MaxPool(nn.MaxPool2d):
    """Max-pooling that can also return the places of the maxima."""

    def pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maxima and their places in the flattened image."""
        return nn.functional.max_pool2d(
            x, self.kernel_size, ceil_mode=self.ceil_mode, return_indices=True
        )


class Unpool(nn.Module):
    """Spreads pixels over an image of twice the size, zeros between them.

    Parameters
    ----------
    size : (height, width)
        Of the larger image.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """Return the larger image; without ``places`` each value goes to its first pixel."""
        height, width = self.size
        if places is None:
            rows = torch.arange(0, height, 2, device=x.device)
            columns = torch.arange(0, width, 2, device=x.device)
            places = (rows[:, None] * width + columns).expand(x.shape)
        larger = x.new_zeros(*x.shape[:2], height * width)
        return larger.scatter(2, places.flatten(2), x.flatten(2)).unflatten(2, self.size)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows inside the parentheses."""
        return f"size={self.size}"


class UnpoolingAutoencoder(Autoencoder):
    """An autoencoder whose decoder puts values where the encoder found the maxima."""

    encoder: nn.Sequential
    decoder: nn.Sequential

    def encode_decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes, and the reconstruction with every value at its maximum's place."""
        places: list[Tensor] = []
        z = x
        for layer in self.encoder:
            z = _pool(layer, z, places)
        return z, self._unpool(z, places)

    def trace(self, x: Tensor) -> Trace:
        """Return the activations, and the reconstruction as :meth:`encode_decode` returns it."""
        places: list[Tensor] = []
        activations = self._follow(x, lambda layer, h: _pool(layer, h, places))
        return Trace(activations, self._unpool(activations[-1], places))

    def _unpool(self, z: Tensor, places: list[Tensor]) -> Tensor:
        for layer in self.decoder:
            z = layer(z, places.pop()) if isinstance(layer, Unpool) else layer(z)
        return z


def _pool(layer: nn.Module, x: Tensor, places: list[Tensor]) -> Tensor:
    """Return the layer's output; of a pooling layer, append the places of the maxima."""
    if not isinstance(layer, MaxPool):
        return layer(x)
    maxima, found = layer.pool(x)
    places.append(found)
    return maxima
