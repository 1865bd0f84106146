"""What is refused, and the error that says so: the rule, the value, the remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, check_scalar, column_or_1d

from aedetect.estimators.places import PlaceError
from aedetect.networks import Autoencoder, probe
from aedetect.scoring import rows_needed

if TYPE_CHECKING:
    from aedetect.estimators.base import BaseAutoencoder

CHANNELS = (1, 3, 4)  # of grey images, colour images, and those with transparency


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


def check_unit_interval(X: NDArray) -> None:
    """Refuse values outside [0, 1], which have no cross-entropy."""
    low, high = np.fmin.reduce(X, axis=None), np.fmax.reduce(X, axis=None)  # pass over NaN
    if low < 0 or high > 1:
        row, column = first_place((X < 0) | (X > 1))
        raise PlaceError(
            f"loss='bce' needs values in [0, 1], but X runs from {low:g} to {high:g}: row {{row}}"
            f" has {X[row, column]:g} in column {{column}}. Rescale X, with MinMaxScaler(clip=True)"
            " for example, or use loss='mse'.",
            row=row,
            column=column,
        )


def is_finite(X: NDArray) -> bool:
    """Return whether a table is finite, at a glance; False where its sum overflows, too."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(X.sum()))  # much faster than a look at each value


def check_infinity(X: NDArray) -> None:
    """Refuse infinite values."""
    infinite = np.isinf(X)
    if infinite.any():
        row, column = first_place(infinite)
        raise PlaceError(
            f"Input X contains infinity: row {{row}} has {X[row, column]} in column {{column}}"
            f" (infinite values in all: {infinite.sum()}). Clip X to finite bounds, remove the"
            " rows, or put NaN there and treat the cells as missing.",
            row=row,
            column=column,
        )


def check_missing(X: NDArray, *, allowed: bool, fitting: bool) -> None:
    """Refuse NaN, or where it is allowed rows without a value, and columns in ``fit``."""
    missing = np.isnan(X)
    if not missing.any():
        return
    if not allowed:
        row, column = first_place(missing)
        raise PlaceError(
            "Input X contains NaN: row {row} has no value in column {column}. Fit with"
            " missing='mask', which trains on the cells that are there, or fill X first, with"
            " sklearn.impute.SimpleImputer in a Pipeline for example.",
            row=row,
            column=column,
        )
    rule = "of X holds NaN alone. missing='mask' needs one value in every"
    empty = missing.all(axis=1)
    if empty.any():
        raise PlaceError(f"Row {{row}} {rule} row: leave it out.", row=int(empty.argmax()))
    empty = missing.all(axis=0)
    if fitting and empty.any():
        raise PlaceError(
            f"Column {{column}} {rule} column: leave it out.", column=int(empty.argmax())
        )


def first_place(bad: NDArray[np.bool_]) -> tuple[int, int]:
    """Return row and column of the first True."""
    row, column = np.unravel_index(bad.argmax(), bad.shape)
    return int(row), int(column)


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


def check_finite(values: NDArray, what: str = "score") -> NDArray:
    """Return what rows came to, which must not hold NaN or infinity."""
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
        raise PlaceError(
            f"The {what} of row {{row}} is not finite: its values are too far from the training"
            " data for float32. Clip or remove it.",
            row=row,
        )
    return values


def as_finite(X_hat: NDArray, dtype: np.dtype) -> NDArray:
    """Return reconstructions in a type of number that must be able to hold them."""
    with np.errstate(over="ignore"):
        return check_finite(X_hat.astype(dtype, copy=False), "reconstruction")


def check_scaled(x: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return scaled training rows, of these numbers, which must not overflow."""
    if np.isinf(x).any():
        row, column = first_place(np.isinf(x))
        raise PlaceError(
            "X has a value in row {row}, column {column}, that is too large for float32 even once"
            " it is scaled. Clip it, or leave scaling='auto' on.",
            row=int(rows[row]),
            column=column,
        )
    return x


def check_one_rule(**rules: object) -> None:
    """Refuse anything but one rule for the threshold."""
    given = [name for name, rule in rules.items() if rule is not None]
    if len(given) != 1:
        raise ValueError(
            f"set_threshold needs one of {', '.join(rules)}, but it was given"
            f" {' and '.join(given) or 'none'}. Choose one."
        )


def check_fpr(fpr: float, n_rows: int) -> float:
    """Return the share of false alarms, which the rows must be enough to tell."""
    check_scalar(fpr, "fpr", Real, min_val=0, max_val=1, include_boundaries="neither")
    if n_rows < rows_needed(fpr):
        raise ValueError(
            f"fpr={fpr:g} takes {rows_needed(fpr)} normal rows, but there are {n_rows}. Raise fpr,"
            " or pass more rows as X."
        )
    return fpr


def check_labels(
    labels: tuple[ArrayLike, ArrayLike], X: ArrayLike | None
) -> tuple[ArrayLike, NDArray]:
    """Return rows and their labels, +1 and -1, of which there must be some each."""
    if X is not None:
        raise ValueError("X goes with fpr or contamination; labels=(X, y) has rows of its own.")
    if not isinstance(labels, tuple | list) or len(labels) != 2:
        raise ValueError(f"labels must be a pair (X, y), but is of type {type(labels).__name__}.")
    rows, y = labels[0], column_or_1d(labels[1])
    check_consistent_length(rows, y)
    if set(np.unique(y)) != {-1, 1}:
        raise ValueError(
            "y in labels=(X, y) must hold +1 for normal rows and -1 for anomalies, some of each,"
            f" but it holds {np.unique(y)[:5].tolist()}. Where 1 marks anomalies, use 1 - 2 * y."
        )
    return rows, y
