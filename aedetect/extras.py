"""Packages of the optional parts, which ``pip install aedetect`` leaves out."""

from __future__ import annotations

from importlib.util import find_spec

PACKAGES = {  # as in pyproject.toml; imported under these names
    "plot": ("matplotlib", "jinja2"),
    "parquet": ("pyarrow",),
    "onnx": ("onnx", "onnxscript", "skl2onnx", "onnxruntime"),
    "tensorboard": ("tensorboard",),
}


def require(extra: str, part: str) -> None:
    """Raise an ImportError with the line that installs an extra, if a package of it is missing."""
    packages = PACKAGES[extra]
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ImportError(
            f"{part} needs the extra {extra!r}, but {' and '.join(missing)} cannot be imported."
            f" Install it with: pip install {' '.join(packages)}"
        )
