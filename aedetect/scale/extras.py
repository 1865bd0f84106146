"""Libraries that are imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any


def import_extra(module: str, extra: str) -> Any:
    """Return a module that comes with one of this package's extras.

    Raises
    ------
    ImportError
        If it is not installed; the error names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"This needs {module.partition('.')[0]}: pip install 'aedetect[{extra}]'."
        ) from error
