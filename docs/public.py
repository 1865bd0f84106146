"""The names that the reference lists. The tests compare them with the page ``api.md``."""

from __future__ import annotations

import importlib
import inspect

MODULES = (
    "aedetect",
    "aedetect.conformal",
    "aedetect.datasets",
    "aedetect.model_selection",
    "aedetect.networks",
    "aedetect.persistence",
    "aedetect.plotting",
    "aedetect.rows",
    "aedetect.scale",
    "aedetect.series",
    "aedetect.tracking",
)
# From PyTorch come dozens of methods that nobody calls on these classes.
DOCUMENTED_PACKAGES = ("aedetect", "sklearn")
ROUTING = ("get_metadata_routing", "_request")  # scikit-learn's own pages explain these


def public_names() -> set[str]:
    """Return the public names, without ``aedetect.`` in front and each once."""
    names = set()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        prefix = module_name.removeprefix("aedetect").lstrip(".")
        for name in module.__all__:
            if inspect.ismodule(getattr(module, name)) or (prefix and name in _top()):
                continue
            names.add(f"{prefix}.{name}" if prefix else name)
    return names


def methods_of(module: str, name: str) -> list[str]:
    """Return the public methods of a class that this package or scikit-learn defines."""
    cls = getattr(importlib.import_module(module), name)
    return [
        method
        for method, value in inspect.getmembers(cls, callable)
        if not method.startswith("_")
        and not method.endswith(ROUTING)
        and (getattr(value, "__module__", None) or "").startswith(DOCUMENTED_PACKAGES)
    ]


def _top() -> list[str]:
    return importlib.import_module("aedetect").__all__
