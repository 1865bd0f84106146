"""Sets of row numbers, one bit a row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aedetect.rows.cache import BLOCK

COUNTS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)  # of a byte


class RowSet:
    """A set of the rows of a table, empty at first.

    Parameters
    ----------
    n_rows : int
        Rows of the table.
    """

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._bits = np.zeros((-(-n_rows // BLOCK), BLOCK // 8), dtype=np.uint8)

    def add(self, numbers: NDArray[np.intp]) -> None:
        """Add rows by their numbers."""
        bytes_, bits = np.divmod(numbers, 8)
        np.bitwise_or.at(self._bits.reshape(-1), bytes_, (128 >> bits).astype(np.uint8))

    def contains(self, numbers: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of some rows are in the set."""
        bytes_, bits = np.divmod(numbers, 8)
        return (self._bits.reshape(-1)[bytes_] & (128 >> bits)) > 0

    def mask(self, block: int) -> NDArray[np.bool_]:
        """Return which rows of a block are in the set."""
        n_rows = min(BLOCK, self._n_rows - block * BLOCK)
        return np.unpackbits(self._bits[block])[:n_rows].astype(bool)

    def counts(self) -> NDArray[np.int64]:
        """Return how many rows of each block are in the set."""
        return COUNTS[self._bits].sum(axis=1, dtype=np.int64)
