"""Parameters of the detector, versions of the software, and the date."""

from __future__ import annotations

import inspect
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple

import aedetect
from aedetect.reporting.subject import Subject

PACKAGES = ("torch", "scikit-learn", "numpy", "scipy", "pandas", "matplotlib")


class Parameter(NamedTuple):
    """A parameter of the detector."""

    name: str
    value: str
    is_default: bool


def list_parameters(subject: Subject) -> list[Parameter]:
    """Return the parameters of the detector, with changed ones first."""
    defaults = inspect.signature(type(subject.detector)).parameters
    parameters = [
        Parameter(name, repr(value), repr(value) == repr(defaults[name].default))
        for name, value in subject.detector.get_params(deep=False).items()
    ]
    return sorted(parameters, key=lambda parameter: parameter.is_default)


def list_versions() -> list[tuple[str, str]]:
    """Return the versions of the packages, and the time."""
    return [
        ("aedetect", aedetect.__version__),
        ("Python", platform.python_version()),
        *((package, version(package)) for package in PACKAGES),
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
