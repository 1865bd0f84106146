"""Computation of a batch in parts, if the device's memory cannot hold it whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


class BatchSplitter:
    """Divides batches into parts, twice as many each time that memory runs out.

    Parameters
    ----------
    smallest : int, default=1
        Fewest rows of a part.
    """

    def __init__(self, smallest: int = 1) -> None:
        self._smallest = smallest
        self._number = 1

    def compute(self, function: Callable[[int], T], n_rows: int) -> T:
        """Return ``function(n_parts)`` for a batch of ``n_rows``.

        Raises
        ------
        MemoryError
            If the device cannot hold even the smallest parts.
        """
        while True:
            most = max(1, n_rows // self._smallest)
            number = min(self._number, most)
            try:
                return function(number)
            except torch.OutOfMemoryError:
                pass  # the error's traceback holds all activations: leave it first
            self._double(number, most, n_rows)

    def _double(self, number: int, most: int, n_rows: int) -> None:
        if number == most:
            raise MemoryError(
                f"The device's memory does not hold {-(-n_rows // number)} row(s) on their way"
                " through the network. Choose a smaller network, fewer members or device='cpu'."
            )
        self._number = min(2 * number, most)
        warnings.warn(
            f"The device's memory does not hold a batch of {n_rows} rows: each is computed in"
            f" {self._number} parts from here, which is slower. A smaller batch_size avoids that.",
            stacklevel=2,
        )
