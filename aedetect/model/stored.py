"""Rules for fitted values that come from a file, which may be a stranger's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike


class StateError(ValueError):
    """Stored values contradict each other or are of another kind."""


def require(holds: bool, rule: str) -> None:
    """Raise a StateError that says ``rule`` unless it holds."""
    if not holds:
        raise StateError(rule)


def require_floats(
    name: str,
    array: Any,
    shape: tuple[int, ...],
    dtype: DTypeLike = np.float64,
    *,
    positive: bool = False,
) -> None:
    """Raise a StateError unless ``array`` is of this shape and dtype, and finite."""
    require(
        isinstance(array, np.ndarray) and array.shape == shape and array.dtype == dtype,
        f"{name} is not a {np.dtype(dtype)} array of shape {shape}",
    )
    require(bool(np.isfinite(array).all()), f"{name} holds NaN or infinity")
    require(not positive or bool((array > 0).all()), f"{name} is not above 0")


def require_number(name: str, value: Any, *, above: float) -> None:
    """Raise a StateError unless ``value`` is a finite number above a limit."""
    is_number = isinstance(value, int | float | np.number) and bool(np.isfinite(value))
    require(is_number and bool(value > above), f"{name} is {value!r:.80}, not above {above:g}")


def require_keys(name: str, state: Any, keys: set[str]) -> None:
    """Raise a StateError unless ``state`` is a dictionary with these keys and no others."""
    require(isinstance(state, dict), f"{name} is not a dictionary")
    require(set(state) == keys, f"{name} has the entries {sorted(state)!r:.200}")


def writable(value: Any) -> Any:
    """Return stored values with copies of arrays that joblib has mapped as read-only.

    Arrays become tensors, and PyTorch has none that are read-only.
    """
    if isinstance(value, dict):
        return {key: writable(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [writable(entry) for entry in value]
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        return np.array(value)
    return value
