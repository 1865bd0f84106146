"""Anomaly detection with autoencoders that are scikit-learn estimators."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aedetect import datasets, model_selection, plotting, scale, series
    from aedetect.conformal import ConformalDetector, Monitor
    from aedetect.estimators import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
    from aedetect.onnx import to_onnx
    from aedetect.persistence import load, save
    from aedetect.reasons import explain, repair
    from aedetect.reporting import report
    from aedetect.rows import open_rows

__version__ = "0.1.0"

__all__ = [
    "AutoencoderTransformer",
    "ConformalDetector",
    "DenoisingAutoencoder",
    "Monitor",
    "VAEDetector",
    "datasets",
    "explain",
    "load",
    "model_selection",
    "open_rows",
    "plotting",
    "repair",
    "report",
    "save",
    "scale",
    "series",
    "to_onnx",
]

_MODULES = {"datasets", "model_selection", "plotting", "scale", "series"}
_ROOMS = {  # of the names that are not in the room "estimators"
    "ConformalDetector": "conformal",
    "Monitor": "conformal",
    "explain": "reasons",
    "load": "persistence",
    "open_rows": "rows",
    "repair": "reasons",
    "report": "reporting",
    "save": "persistence",
    "to_onnx": "onnx",
}


def __getattr__(name: str) -> object:
    """Import on first use: torch takes seconds, and ``aedetect --help`` needs none of it."""
    if name in _MODULES:
        return importlib.import_module(f"aedetect.{name}")
    if name in __all__:
        room = _ROOMS.get(name, "estimators")
        return getattr(importlib.import_module(f"aedetect.{room}"), name)
    raise AttributeError(f"module 'aedetect' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
