"""Objects on their way to workers."""

from __future__ import annotations

import pickle
from functools import lru_cache
from typing import Any


class Carried:
    """An object that is pickled once, and unpickled once in every process that uses it.

    Engines pass it on as bytes. So a model keeps arrays that can be written to, where Ray's own are
    read-only, and a worker does not build it anew for every task.

    Parameters
    ----------
    value : object
    """

    def __init__(self, value: Any) -> None:
        import cloudpickle  # of both extras; it takes classes and functions of a notebook too

        self._content: bytes = cloudpickle.dumps(value)

    @property
    def value(self) -> Any:
        """The object."""
        return _unpickle(self._content)

    def __call__(self, argument: Any) -> Any:
        """Call the object with one argument."""
        return self.value(argument)


@lru_cache(maxsize=2)
def _unpickle(content: bytes) -> Any:
    return pickle.loads(content)  # noqa: S301 - written by this program, in another process
