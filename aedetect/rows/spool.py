"""Numbers on disk, of which exact quantiles are taken."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

DIGIT = 16  # bits of a number that are told apart at a time
N_READ = 2**16  # numbers that are read at a time
SIGN = np.uint64(2**63)


class Spool:
    """A list of float64 numbers in a temporary file that takes no memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="aedetect-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._n_values = 0

    def __len__(self) -> int:
        return self._n_values

    def append(self, values: FloatArray) -> None:
        """Add numbers at the end."""
        self._file.write(np.ascontiguousarray(values, dtype=np.float64).data)
        self._n_values += len(values)

    def blocks(self) -> Iterator[FloatArray]:
        """Yield all numbers, some at a time."""
        self._file.seek(0)
        while content := self._file.read(8 * N_READ):
            yield np.frombuffer(content, dtype=np.float64)

    def smallest(self, rank: int) -> float:
        """Return the number of a rank from the smallest, which has rank 0."""
        key = np.uint64(0)
        for shift in range(64 - DIGIT, -1, -DIGIT):  # from the highest digit on
            totals = np.cumsum(self._count_digits(key, shift))
            digit = int(np.searchsorted(totals, rank, side="right"))
            rank -= int(totals[digit - 1]) if digit else 0
            key = key << np.uint64(DIGIT) | np.uint64(digit)
        return _from_key(key)

    def quantile(self, q: float) -> float:
        """Return a quantile as :func:`numpy.percentile` has it, bit for bit."""
        place = q * (len(self) - 1)
        below = int(place)
        low, high = self.smallest(below), self.smallest(min(below + 1, len(self) - 1))
        share = place - below
        rise = high - low
        return high - rise * (1 - share) if share >= 0.5 else low + rise * share

    def _count_digits(self, key: np.uint64, shift: int) -> NDArray[np.int64]:
        """Return how many numbers that begin with ``key`` have each digit behind it."""
        counts = np.zeros(2**DIGIT, dtype=np.int64)
        for block in self.blocks():
            keys = _to_keys(block) >> np.uint64(shift)
            keys = keys[keys >> np.uint64(DIGIT) == key]
            digits = (keys & np.uint64(2**DIGIT - 1)).astype(np.intp)
            counts += np.bincount(digits, minlength=2**DIGIT)
        return counts


def _to_keys(values: FloatArray) -> NDArray[np.uint64]:
    """Return whole numbers that are in the order of the values."""
    bits = (values + 0.0).view(np.uint64)  # -0 becomes 0
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def _from_key(key: np.uint64) -> float:
    bits = key & ~SIGN if key & SIGN else ~key
    return float(bits.view(np.float64))
