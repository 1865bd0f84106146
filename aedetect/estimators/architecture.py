"""From an estimator's parameters to its network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aedetect.estimators.checks import check_image
from aedetect.estimators.defaults import resolve_latent_dim, resolve_layer_sizes
from aedetect.networks import (
    Autoencoder,
    conv_autoencoder,
    dense_autoencoder,
    residual_autoencoder,
)

if TYPE_CHECKING:
    from aedetect.estimators.base import BaseAutoencoder

BUILDERS: dict[str, Callable[..., Autoencoder]] = {
    "dense": dense_autoencoder,
    "conv": conv_autoencoder,
    "residual": residual_autoencoder,
}


def make_blueprint(estimator: BaseAutoencoder, codes_per_dim: int) -> dict[str, Any]:
    """Return what the network is built of, in plain Python.

    It is kept beside the weights, so that a fitted estimator is restored as it was trained even
    where its parameters have been set anew since.
    """
    kind = str(estimator.network)
    blueprint: dict[str, Any] = {
        "kind": kind,
        "latent_dim": resolve_latent_dim(estimator.latent_dim, estimator.n_features_in_),
        "hidden_layer_sizes": [
            int(size)
            for size in resolve_layer_sizes(
                estimator.hidden_layer_sizes, kind, estimator.image_shape
            )
        ],
        "activation": estimator.activation,
        "latent_activation": estimator.latent_activation,
        "batch_norm": estimator.batch_norm,
        "dropout": estimator.dropout,
        "codes_per_dim": codes_per_dim,
        "mask_input": estimator.missing == "mask",
    }
    if kind == "conv":
        image_shape = check_image(estimator.image_shape, estimator.n_features_in_)
        keys = ("downsample", "upsample", "latent")
        choices = {key: getattr(estimator, key) for key in keys}
        return {**blueprint, "image_shape": image_shape, **choices}
    blueprint["n_features"] = estimator.n_features_in_
    if kind == "dense":
        blueprint["tied_weights"] = estimator.tied_weights
    return blueprint


def build(blueprint: dict[str, Any]) -> Autoencoder:
    """Return the network of a blueprint; its weights are not set."""
    arguments = dict(blueprint)
    return BUILDERS[arguments.pop("kind")](**arguments)
