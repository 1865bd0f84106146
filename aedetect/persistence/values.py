"""Python values of a fixed list of types as JSON and arrays, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aedetect.persistence.container import DTYPES, Arrays, ModelFileError

TAG = "$"  # key of the type of a JSON object that is no dictionary
MAX_DEPTH = 32  # of values inside values
MAX_VALUES = 200_000  # beside the names of features and the values inside arrays


class Encoder:
    """Turns values into JSON and collects their arrays.

    Parameters
    ----------
    fallback : callable
        Encodes a value of another type, given its name, or raises.
    """

    def __init__(self, fallback: Callable[[Encoder, Any, str], Any]) -> None:
        self.arrays: Arrays = {}
        self.estimators: list[Any] = []  # that are written, in the order in which they ended
        self.network: Any = None  # of the user's own, which is not written
        self._fallback = fallback

    def encode(self, value: Any, name: str) -> Any:
        """Return the JSON of a ``value``; its arrays are kept under names that start with ``name``.

        Raises
        ------
        TypeError
            If it is of a type that a file cannot carry.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, np.generic) and value.dtype.name in DTYPES.values():
            return {
                TAG: "scalar",
                "dtype": value.dtype.name,
                "value": self.encode(value.item(), ""),
            }
        if isinstance(value, np.str_):  # as GridSearchCV sets from an array of names
            return str(value)
        encode = _ENCODERS.get(type(value))
        return encode(self, value, name) if encode else self._fallback(self, value, name)

    def _float(self, value: float, name: str) -> Any:
        return value if math.isfinite(value) else {TAG: "float", "value": str(value)}

    def _list(self, values: list, name: str) -> list:
        return [self.encode(value, f"{name}.{i}") for i, value in enumerate(values)]

    def _tuple(self, values: tuple, name: str) -> dict[str, Any]:
        return {TAG: "tuple", "values": self._list(list(values), name)}

    def _dict(self, entries: dict, name: str) -> dict[str, Any]:
        if all(type(key) is str and key != TAG for key in entries):
            prefix = f"{name}." if name else ""
            return {key: self.encode(value, prefix + key) for key, value in entries.items()}
        return {TAG: "dict", "items": self._list([list(item) for item in entries.items()], name)}

    def _array(self, array: NDArray, name: str) -> dict[str, Any]:
        if array.dtype == object and array.ndim == 1 and all(type(v) is str for v in array):
            return {TAG: "strings", "values": array.tolist()}
        if array.dtype.name not in DTYPES.values():
            raise TypeError(f"{name} is an array of {array.dtype}, which a file cannot hold.")
        while name in self.arrays:
            name += "'"
        self.arrays[name] = np.asarray(array, order="C")
        return {TAG: "array", "name": name}

    def _random_state(self, value: np.random.RandomState, name: str) -> dict[str, Any]:
        state = value.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise TypeError(f"{name} is a RandomState of {state['bit_generator']}, not of MT19937.")
        return {TAG: "RandomState", "state": self.encode(state, name)}


_ENCODERS: dict[type, Callable[[Encoder, Any, str], Any]] = {
    float: Encoder._float,
    list: Encoder._list,
    tuple: Encoder._tuple,
    dict: Encoder._dict,
    np.ndarray: Encoder._array,
    np.random.RandomState: Encoder._random_state,
}


class Decoder:
    """Turns JSON and arrays back into values; every array is used once.

    Parameters
    ----------
    arrays : dict of ndarray
        By name; those that are used are taken out.
    fallback : callable
        Decodes an object of another tag.
    """

    def __init__(self, arrays: Arrays, fallback: Callable[[Decoder, dict[str, Any]], Any]) -> None:
        self.arrays = arrays
        self.estimators: list[Any] = []
        self._fallback = fallback
        self._depth = 0
        self._n_values = 0

    def decode(self, node: Any) -> Any:
        """Return the value that a ``node`` of JSON stands for."""
        self._depth += 1
        self._n_values += 1
        if self._depth > MAX_DEPTH:
            raise ModelFileError(f"its values are nested over {MAX_DEPTH} deep")
        if self._n_values > MAX_VALUES:
            raise ModelFileError(f"its header holds over {MAX_VALUES:,} values")
        value = self._value(node)
        self._depth -= 1
        return value

    def _value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.decode(entry) for entry in node]
        if not isinstance(node, dict):
            return _finite(node)
        if TAG not in node:
            return {key: self.decode(entry) for key, entry in node.items()}
        fields = {key: entry for key, entry in node.items() if key != TAG}
        decode = _DECODERS.get(node[TAG]) if isinstance(node[TAG], str) else None
        return decode(self, **fields) if decode else self._fallback(self, node)

    def _scalar(self, dtype: str, value: Any) -> np.generic:
        if dtype not in DTYPES.values():
            raise ModelFileError(f"{dtype!r:.80} is not the dtype of a scalar")
        return np.dtype(dtype).type(self.decode(value))

    def _float(self, value: str) -> float:
        if value not in ("nan", "inf", "-inf"):
            raise ModelFileError(f"{value!r:.80} is not a number")
        return float(value)

    def _tuple(self, values: list) -> tuple:
        return tuple(self.decode(values))

    def _dict(self, items: list) -> dict:
        return dict(self.decode(items))

    def _strings(self, values: list) -> NDArray:
        if not all(isinstance(value, str) for value in values):
            raise ModelFileError("an array of strings holds something else")
        return np.array(values, dtype=object)

    def _array(self, name: str) -> NDArray:
        if name not in self.arrays:
            raise ModelFileError(f"array {name!r:.80} is missing or used twice")
        return self.arrays.pop(name)

    def _random_state(self, state: dict[str, Any]) -> np.random.RandomState:
        state = self.decode(state)
        # NumPy trusts these: it would read numbers beyond the 624 words.
        key, position = state["state"]["key"], state["state"]["pos"]
        if key.shape != (624,) or key.dtype != np.uint32 or position not in range(625):
            raise ModelFileError("the state of a RandomState is not one")
        value = np.random.RandomState(0)
        value.set_state(state)
        return value


_DECODERS: dict[str, Callable[..., Any]] = {
    "scalar": Decoder._scalar,
    "float": Decoder._float,
    "tuple": Decoder._tuple,
    "dict": Decoder._dict,
    "strings": Decoder._strings,
    "array": Decoder._array,
    "RandomState": Decoder._random_state,
}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):  # 1e999
        raise ModelFileError("a number of its header is too large")
    return value
