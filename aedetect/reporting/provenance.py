"""Where a page comes from: parameters, versions, date."""

from __future__ import annotations

import inspect
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, NamedTuple

import aedetect
from aedetect.reporting.subject import Subject

PACKAGES = ("torch", "scikit-learn", "numpy", "scipy", "pandas", "matplotlib")


class Parameter(NamedTuple):
    """A parameter of the detector."""

    name: str
    value: str
    is_default: bool


def list_parameters(subject: Subject) -> list[Parameter]:
    """Return the parameters of the detector, those that were changed first."""
    defaults = inspect.signature(type(subject.detector)).parameters
    parameters = [
        Parameter(name, repr(value), _is_default(value, defaults[name].default))
        for name, value in subject.detector.get_params(deep=False).items()
    ]
    return sorted(parameters, key=lambda parameter: parameter.is_default)


def _is_default(value: Any, default: Any) -> bool:
    return repr(value) == repr(default)


def list_versions() -> list[tuple[str, str]]:
    """Return the versions of what made the page, and when."""
    return [
        ("aedetect", aedetect.__version__),
        ("Python", platform.python_version()),
        *((package, version(package)) for package in PACKAGES),
        ("made", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
