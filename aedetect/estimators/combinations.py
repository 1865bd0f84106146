"""Parameters that contradict each other, the data, or the weights to go on with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Literal

import numpy as np

from aedetect.networks import Autoencoder, probe
from aedetect.scoring import SCORES

if TYPE_CHECKING:
    from aedetect.estimators.base import BaseAutoencoder

CHANNELS = (1, 3, 4)  # of grey images, colour images, and those with transparency


def check_combinations(estimator: BaseAutoencoder, n_features: int, has_categories: bool) -> None:
    """Refuse parameters that are in range one by one but contradict each other or the data."""
    network = estimator.network
    if has_categories and (network == "conv" or estimator.image_shape is not None):
        raise ValueError(
            "X has categorical columns, but network='conv' and image_shape take pixels, which are"
            " numbers. Pass an array of numbers, or categorical_features=None."
        )
    check_layer_sizes(estimator.hidden_layer_sizes)
    if network == "conv" or estimator.image_shape is not None:
        check_image(estimator.image_shape, n_features)
    if network == "conv":
        check_conv(estimator)
    check_shift(estimator.max_shift, estimator.image_shape)
    if has_categories and estimator.anomaly_score == "relative":
        raise ValueError(
            "anomaly_score='relative' divides by the contrast of an image, but X has categorical"
            " columns. Use another score."
        )
    if estimator.compile and estimator.upsample == "unpool" and network == "conv":
        raise ValueError(
            "compile=True cannot be used with upsample='unpool', whose decoder takes more than"
            " a code. Use another upsample, or compile=False."
        )
    if estimator.tied_weights and network != "dense":
        raise ValueError(
            f"tied_weights=True needs network='dense', but it is {network!r}: only the"
            " weights of dense layers can be transposed."
        )
    score = estimator.anomaly_score
    if score != "auto" and SCORES[score].needs_variational and not estimator._is_variational:
        raise ValueError(
            f"anomaly_score={score!r} needs a VAEDetector, but this is a"
            f" {type(estimator).__name__}. Choose another score."
        )


def check_layer_sizes(hidden_layer_sizes: Sequence[int] | str) -> None:
    """Refuse sizes that are not positive integers."""
    if isinstance(hidden_layer_sizes, str):  # "auto"
        return
    for size in hidden_layer_sizes:
        if not isinstance(size, Integral) or size < 1:
            raise ValueError(
                "hidden_layer_sizes must hold integers of at least 1, but it is"
                f" {hidden_layer_sizes!r}."
            )


def check_image(image_shape: Sequence[int] | None, n_features: int) -> tuple[int, int, int]:
    """Return the image shape, which must hold the values of a row."""
    if image_shape is None:
        raise ValueError(
            "network='conv' needs image_shape=(channels, height, width), but it is None."
        )
    shape = tuple(np.asarray(image_shape).tolist())
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(f"image_shape must hold integers of at least 1, but it is {shape}.")
    n_values = math.prod(shape)
    if len(shape) != 3:
        grey = f", such as (1, {shape[0]}, {shape[1]}) for grey images" if len(shape) == 2 else ""
        raise ValueError(
            f"image_shape={shape} must hold three numbers: (channels, height, width){grey}."
        )
    if n_values != n_features:
        raise ValueError(
            f"image_shape={shape} has {n_values} values, but X has {n_features} features. Pass"
            " (channels, height, width)."
        )
    _check_channels_first(shape)
    return shape


def _check_channels_first(shape: tuple[int, int, int]) -> None:
    """Refuse what is (height, width, channels) in all likelihood."""
    height, width, channels = shape
    if channels in CHANNELS and min(height, width) > max(CHANNELS):
        turned = (channels, height, width)
        rows = (
            " X is good as it is."
            if channels == 1
            else f" Bring the rows into this order, with X.reshape(-1, {height}, {width},"
            f" {channels}).transpose(0, 3, 1, 2).reshape(len(X), -1)."
        )
        raise ValueError(
            f"image_shape={shape} must be (channels, height, width), but it looks like (height,"
            f" width, channels). Pass {turned}.{rows} If there are {height} channels indeed, swap"
            f" height and width: ({height}, {channels}, {width})."
        )


def check_shift(max_shift: int | Literal["auto"], image_shape: Sequence[int] | None) -> None:
    """Refuse to shift rows of a table, or images by as much as their height or width."""
    if max_shift == "auto" or max_shift == 0:
        return
    if image_shape is None:
        raise ValueError(
            f"max_shift={max_shift} moves images, but without image_shape rows are those of a"
            " table, whose columns have no neighbours. Pass image_shape=(channels, height, width),"
            " or leave max_shift='auto'."
        )
    height, width = tuple(image_shape)[1:]
    limit = min((size for size in (height, width) if size > 1), default=1)
    if max_shift >= limit:
        raise ValueError(
            f"max_shift={max_shift} moves images of {height} x {width} pixels out of sight. It must"
            f" be less than {limit}."
        )


def check_conv(estimator: BaseAutoencoder) -> None:
    """Refuse parameters of a convolutional network that contradict each other."""
    sizes = estimator.hidden_layer_sizes
    if len(sizes) == 0:
        raise ValueError("hidden_layer_sizes=() leaves network='conv' without a convolution.")
    if estimator.upsample == "unpool" and estimator.downsample != "maxpool":
        raise ValueError(
            "upsample='unpool' puts values where the maxima were, so it needs"
            f" downsample='maxpool', but it is {estimator.downsample!r}."
        )
    if estimator.latent == "map" and estimator.latent_dim != "auto":
        raise ValueError(
            f"latent_dim={estimator.latent_dim} contradicts latent='map', whose code is the last"
            " feature map. Leave latent_dim='auto', or change the last of hidden_layer_sizes."
        )


def check_same_network(before: dict[str, str], now: dict[str, str]) -> None:
    """Refuse to go on with weights that the parameters no longer describe."""
    for name, value in now.items():
        if before[name] != value:
            raise ValueError(
                f"Training goes on with the network as it is, but {name} was {before[name]} and is"
                f" now {value}. Set it back, or begin anew: fit with warm_start=False."
            )


def check_shapes(network: Autoencoder, n_features: int) -> int:
    """Return the width of the codes, once the network's shapes are known to fit the rows."""
    z, x_hat = probe(network, n_features)
    if z.ndim != 2 or x_hat.shape != (1, n_features):
        raise ValueError(
            f"network must map a row of {n_features} features to a code of one dimension and back,"
            f" but its code has shape {tuple(z.shape[1:])} and its output"
            f" {tuple(x_hat.shape[1:])}. Flatten inside the encoder or the decoder."
        )
    return z.shape[1]


def check_takes_missing(network: Autoencoder, n_features: int) -> None:
    """Refuse a network that makes NaN of rows with missing cells."""
    if not probe(network, n_features, value=math.nan)[1].isfinite().all():
        raise ValueError(
            "missing='mask' needs a network that takes rows with NaN, but this one turns them into"
            " NaN. Begin its encoder with aedetect.networks.MaskInput(), which passes"
            f" 2 * {n_features} values on: the row with zeros for NaN, and the mask."
        )
