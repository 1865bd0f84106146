"""Anomaly detection with autoencoders that are scikit-learn estimators."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aedetect import datasets, plotting
    from aedetect.estimators import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
    from aedetect.onnx import to_onnx

__version__ = "0.1.0"

__all__ = [
    "AutoencoderTransformer",
    "DenoisingAutoencoder",
    "VAEDetector",
    "datasets",
    "plotting",
    "to_onnx",
]

_MODULES = {"datasets", "plotting"}
_HOMES = {"to_onnx": "aedetect.onnx"}  # of the names that are no estimators


def __getattr__(name: str) -> object:
    """Import on first use: torch takes seconds, and ``aedetect --help`` needs none of it."""
    if name in _MODULES:
        return importlib.import_module(f"aedetect.{name}")
    if name in __all__:
        return getattr(importlib.import_module(_HOMES.get(name, "aedetect.estimators")), name)
    raise AttributeError(f"module 'aedetect' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
