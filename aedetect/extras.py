"""Packages of the optional parts, which ``pip install aedetect`` leaves out."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

PACKAGES = {  # as in pyproject.toml; without what is in brackets, they are imported as named
    "plot": ("matplotlib", "jinja2"),
    "parquet": ("pyarrow",),
    "onnx": ("onnx", "onnxscript", "skl2onnx", "onnxruntime"),
    "tensorboard": ("tensorboard",),
    "ray": ("ray[data,train]", "aiohttp", "cloudpickle"),
    "dask": ("dask[dataframe,distributed]", "cloudpickle"),
}


def require(extra: str, part: str) -> None:
    """Raise an ImportError with the line that installs an extra, if a package of it is missing."""
    packages = PACKAGES[extra]
    names = [package.partition("[")[0] for package in packages]
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        line = " ".join(f"'{package}'" if "[" in package else package for package in packages)
        raise ImportError(
            f"{part} needs the extra {extra!r}, but {' and '.join(missing)} cannot be imported."
            f" Install it with: pip install {line}"
        )


def import_extra(module: str, extra: str, part: str) -> Any:
    """Return a module of an extra that has no types."""
    require(extra, part)
    return importlib.import_module(module)
