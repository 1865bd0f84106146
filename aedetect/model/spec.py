"""The plain values that a network is built from."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from aedetect.model.stored import StateError, require, require_keys
from aedetect.networks import (
    ACTIVATIONS,
    Autoencoder,
    MemberLoop,
    VariationalAutoencoder,
    conv_autoencoder,
    dense_autoencoder,
    residual_autoencoder,
)

CHOICES: dict[str, set[str]] = {
    "kind": {"dense", "conv", "residual", "own"},
    "activation": set(ACTIVATIONS),
    "latent_activation": set(ACTIVATIONS),
    "downsample": {"stride", "maxpool"},
    "upsample": {"nearest", "transpose", "unpool"},
    "latent": {"vector", "map"},
}


@dataclass(frozen=True)
class NetworkSpec:
    """The plain values that a network is built from.

    Parameters
    ----------
    kind : {"dense", "conv", "residual", "own"}
        ``"own"`` is a network that the user has built.
    n_features : int
        Width of a row.
    latent_dim : int
        Width of one member's code; a custom network and a feature map have their own.
    hidden_layer_sizes : tuple of int
        The encoder's widths, or its channels.
    activation, latent_activation, batch_norm, dropout, tied_weights, downsample, upsample, latent
        As the estimators' parameters have them.
    image_shape : (channels, height, width) or None
        None for tables.
    takes_missing : bool
        Whether rows may hold NaN.
    is_variational : bool
        Whether the encoder gives means and log-variances.
    n_members : int
    """

    kind: str
    n_features: int
    latent_dim: int
    hidden_layer_sizes: tuple[int, ...]
    activation: str
    latent_activation: str
    batch_norm: bool
    dropout: float
    tied_weights: bool
    downsample: str
    upsample: str
    latent: str
    image_shape: tuple[int, int, int] | None
    takes_missing: bool
    is_variational: bool
    n_members: int

    def build(self, own: Autoencoder | None = None) -> Autoencoder:
        """Return the network; its weights are not set, but for those of the user's ``own``."""
        if self.kind == "own":
            if own is None:
                raise StateError("it needs a custom network")
            members = [self._finish(copy.deepcopy(own)) for _ in range(self.n_members)]
            return MemberLoop(members)
        if self.kind == "conv":
            return MemberLoop([self._finish(self._conv()) for _ in range(self.n_members)])
        return self._finish(self._dense() if self.kind == "dense" else self._residual())

    def build_shapes(self, own: Autoencoder | None = None) -> Autoencoder:
        """Return the network on PyTorch's ``meta`` device, which takes no memory and no draws."""
        with torch.device("meta"):
            return self.build(own)

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, in plain Python."""
        return {**dataclasses.asdict(self), "hidden_layer_sizes": list(self.hidden_layer_sizes)}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return the spec that :meth:`to_dict` was called on.

        Raises
        ------
        StateError
            If a value is missing, unknown, or out of its range.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        require_keys("the description of the network", values, names)
        sizes, shape = values["hidden_layer_sizes"], values["image_shape"]
        require(_are_counts(sizes), f"hidden_layer_sizes is {sizes!r:.80}")
        require(
            shape is None or (_are_counts(shape) and len(shape) == 3),
            f"image_shape is {shape!r:.80}",
        )
        image_shape = None if shape is None else tuple(shape)
        spec = cls(**{**values, "hidden_layer_sizes": tuple(sizes), "image_shape": image_shape})
        spec._check()
        return spec

    def _check(self) -> None:
        for name, choices in CHOICES.items():
            require(getattr(self, name) in choices, f"{name} is {getattr(self, name)!r:.80}")
        for name in ("n_features", "latent_dim", "n_members"):
            require(_are_counts([getattr(self, name)]), f"{name} is not a count")
        for name in ("batch_norm", "tied_weights", "takes_missing", "is_variational"):
            require(isinstance(getattr(self, name), bool), f"{name} is neither true nor false")
        require(
            isinstance(self.dropout, int | float) and 0 <= self.dropout < 1,
            f"dropout is {self.dropout!r:.80}",
        )
        if self.image_shape is not None:
            require(
                math.prod(self.image_shape) == self.n_features,
                f"image_shape={self.image_shape} has not {self.n_features} values",
            )
        require(
            self.kind != "conv" or (self.image_shape is not None and bool(self.hidden_layer_sizes)),
            "a convolutional network needs an image_shape and a layer",
        )

    def _finish(self, network: Autoencoder) -> Autoencoder:
        """Return the network, made variational if it is to be."""
        if not self.is_variational:
            return network
        return VariationalAutoencoder(network.encoder, network.decoder)

    def _dense(self) -> Autoencoder:
        return dense_autoencoder(
            self.n_features,
            self.latent_dim,
            n_members=self.n_members,
            tied_weights=self.tied_weights,
            **self._common(),
        )

    def _residual(self) -> Autoencoder:
        return residual_autoencoder(
            self.n_features, self.latent_dim, n_members=self.n_members, **self._common()
        )

    def _conv(self) -> Autoencoder:
        assert self.image_shape is not None  # checked by the estimator and by _check
        return conv_autoencoder(
            self.image_shape,
            self.latent_dim,
            downsample=self.downsample,
            upsample=self.upsample,
            latent=self.latent,
            **self._common(),
        )

    def _common(self) -> dict[str, Any]:
        return {
            "hidden_layer_sizes": self.hidden_layer_sizes,
            "activation": self.activation,
            "latent_activation": self.latent_activation,
            "batch_norm": self.batch_norm,
            "dropout": self.dropout,
            "codes_per_dim": 1 + self.is_variational,
            "mask_input": self.takes_missing,
        }


def _are_counts(values: Any) -> bool:
    return isinstance(values, Sequence) and all(
        type(value) is int and value > 0 for value in values
    )
