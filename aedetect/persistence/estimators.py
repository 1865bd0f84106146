"""Estimators as JSON, and their description from JSON alone."""

from __future__ import annotations

import math
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
CUSTOM = {TAG: "network"}  # stands for a custom network
NOT_KEPT = {"_skl_callbacks", "_own_network", "_place"}  # code, and a device
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
        parameters["device"] = _names_of(parameters["device"])
    if isinstance(parameters.get("network", ""), str):
        return encoder.encode(parameters, name)
    encoder.network = parameters["network"]
    return {**encoder.encode({**parameters, "network": ""}, name), "network": CUSTOM}


def _names_of(device: Any) -> str | list[str]:
    return list(map(str, device)) if isinstance(device, list | tuple) else str(device)


def _check_class(value: Any, name: str) -> None:
    kind = type(value).__name__
    if kind not in CLASSES or class_of(kind) is not type(value):
        raise TypeError(
            f"{name or 'estimator'} is a {type(value).__module__}.{type(value).__qualname__}, which"
            f" aedetect.save cannot write. It takes {', '.join(CLASSES)}, arrays and plain Python."
            " Use skops.io.dump, and skops.io.load with aedetect.persistence.SKOPS_TRUSTED."
        )


def describe(node: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """Return the class, the parameters, the columns and the decision in the JSON of an estimator.

    ``table`` holds the shapes of its arrays by name.
    """
    # A Monitor has no columns of its own: they are those of its detector.
    watched = node["parameters"].get("detector", node)
    fitted, inner = watched["fitted"], _with_detector(watched)
    detector = inner["fitted"].get("detector_") or {}
    names = fitted.get("feature_names_in_")
    calibration = _calibration(watched, table)
    return {
        "class": check_class_name(node["class"]),
        "parameters": {key: _plain(entry) for key, entry in node["parameters"].items()},
        "estimator": check_class_name(inner["class"]),
        "n_features": fitted.get("n_features_in_"),
        "feature_names": None if names is None else list(names["values"]),
        "levels": _levels(detector, None if names is None else names["values"]),
        "threshold": _number(detector.get("offset") if calibration is None else fitted["offset_"]),
        "calibration": calibration,
    }


def _with_detector(node: dict[str, Any]) -> dict[str, Any]:
    """Return the estimator itself, or the first one inside that holds a fitted detector."""
    fitted = node["fitted"]
    if "calibration_scores_" not in fitted:
        return node
    inside = (fitted.get("estimator_"), *fitted["estimators_"], node["parameters"].get("estimator"))
    return next(entry for entry in inside if entry and entry[TAG] == "estimator")


def _levels(detector: dict[str, Any], names: list[str] | None) -> dict[str, list[Any]]:
    """Return the levels of each categorical column by its name, x0, x1 and so on if it has none."""
    coding = detector.get("model", {}).get("columns", {}).get("coding")
    if coding is None:
        return {}
    named = [f"x{column}" if names is None else names[column] for column in coding["columns"]]
    levels = [_plain(entry["levels"]) for entry in coding["categories"]]
    return dict(zip(named, levels, strict=True))


def _calibration(node: dict[str, Any], table: dict[str, Any]) -> dict[str, Any] | None:
    """Return the number of calibration rows, and the share of false alarms that they bound."""
    fitted = node["fitted"]
    if "calibration_scores_" not in fitted:
        return None
    n_rows = table[fitted["calibration_scores_"]["name"]]["shape"][0]
    rank, block_size = fitted["_rank"], fitted.get("_block_size", 1)
    return {
        "n_rows": n_rows,
        "n_detectors": len(fitted["estimators_"]),
        "block_size": block_size,
        "false_alarms": rank and (rank - 1 + block_size) / (n_rows + block_size),
    }


def _number(node: Any) -> float | None:
    """Return a number of JSON; None for one that is missing or not finite."""
    number = float("nan") if node is None else float(_plain(node))
    return number if math.isfinite(number) else None


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
