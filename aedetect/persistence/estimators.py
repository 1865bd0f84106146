"""Estimators as JSON, and their description from JSON alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aedetect
from aedetect.persistence.container import ModelFileError
from aedetect.persistence.values import TAG, Encoder

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

CLASSES = (
    *("AutoencoderTransformer", "DenoisingAutoencoder", "VAEDetector"),
    *("ConformalDetector", "Monitor"),
)
CUSTOM = {TAG: "network"}  # stands for a network of the user's own
NOT_KEPT = {"_skl_callbacks", "_own_network"}  # attributes that are code
PLACES = {"checkpoint"}  # parameters that name a path to write to; a file may set none


def class_of(name: Any) -> type[BaseEstimator]:
    """Return the class of a name."""
    return getattr(aedetect, check_class_name(name))


def check_class_name(name: Any) -> str:
    """Return ``name``, which must be one of ``CLASSES``."""
    if name not in CLASSES:
        raise ModelFileError(f"its class {name!r:.80} is none of {', '.join(CLASSES)}")
    return name


def encode_estimator(encoder: Encoder, value: Any, name: str) -> dict[str, Any]:
    """Return the JSON of an estimator of this package; others are refused.

    One that is written already, such as a prefit detector, is referred to by its number.
    """
    _check_class(value, name)
    for number, known in enumerate(encoder.estimators):
        if known is value:
            return {TAG: "same", "number": number}
    value._validate_params()
    parameters = value.get_params(deep=False)
    made_by_init = vars(type(value)(**parameters)).keys()
    fitted = {
        key: entry
        for key, entry in sorted(value.__getstate__().items())
        if key not in made_by_init and key not in NOT_KEPT
    }
    node = {
        TAG: "estimator",
        "class": type(value).__name__,
        "parameters": _encode_parameters(encoder, parameters, name),
        "fitted": encoder.encode(fitted, name),
    }
    encoder.estimators.append(value)
    return node


def _encode_parameters(encoder: Encoder, parameters: dict[str, Any], name: str) -> dict[str, Any]:
    parameters = {key: entry for key, entry in parameters.items() if key not in PLACES}
    if "device" in parameters:
        parameters["device"] = str(parameters["device"])
    if isinstance(parameters.get("network", ""), str):
        return encoder.encode(parameters, name)
    encoder.network = parameters["network"]
    return {**encoder.encode({**parameters, "network": ""}, name), "network": CUSTOM}


def _check_class(value: Any, name: str) -> None:
    kind = type(value).__name__
    if kind not in CLASSES or class_of(kind) is not type(value):
        raise TypeError(
            f"{name or 'estimator'} is a {type(value).__module__}.{type(value).__qualname__}, which"
            f" aedetect.save cannot write. It takes {', '.join(CLASSES)}, arrays and plain Python."
            " Use skops.io.dump, and skops.io.load with aedetect.persistence.SKOPS_TRUSTED."
        )


def describe(node: dict[str, Any]) -> dict[str, Any]:
    """Return the class, the parameters and the columns in the JSON of an estimator."""
    # A Monitor has no columns of its own: they are those of its detector.
    fitted = node["parameters"].get("detector", node)["fitted"]
    names = fitted.get("feature_names_in_")
    return {
        "class": check_class_name(node["class"]),
        "parameters": {key: _plain(entry) for key, entry in node["parameters"].items()},
        "n_features": fitted.get("n_features_in_"),
        "feature_names": None if names is None else list(names["values"]),
    }


def _plain(node: Any) -> Any:
    """Return a parameter in plain Python: its value, or the name of its kind."""
    if isinstance(node, list):
        return [_plain(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    if TAG not in node:
        return {key: _plain(entry) for key, entry in node.items()}
    if node[TAG] == "tuple":
        return tuple(_plain(node["values"]))
    if node[TAG] == "estimator":
        return node["class"]
    return node["value"] if "value" in node else node[TAG]
