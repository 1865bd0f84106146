"""Which blocks of rows make the pool of an epoch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aedetect.rows.cache import BLOCK, CELL

MIN_BLOCKS = 100  # of a pool: fewer do not mix rows that are sorted
NUMBERS = 32  # bytes of row numbers that go with a row of a pool
ORDER = 16  # bytes that a member's order of the rows takes for each


class Plan(NamedTuple):
    """Pools of blocks, one an epoch: a function of its fields and the epoch alone.

    The blocks of all passes over the rows, each in an order of its own, are dealt out one pool
    after the other. So every block is drawn once before any is drawn again.
    """

    n_blocks: int
    size: int  # blocks of a pool, at most n_blocks
    seed: int

    @property
    def n_pools(self) -> int:
        """Number of pools that hold each block once or more."""
        return -(-self.n_blocks // self.size)

    def pool(self, epoch: int) -> NDArray[np.intp]:
        """Return the numbers of the blocks of an epoch in ascending order."""
        number, start = divmod(epoch * self.size, self.n_blocks)
        blocks = self._order(number)[start:]
        if len(blocks) < self.size:
            blocks = np.concatenate([blocks, self._order(number + 1)])
        return np.sort(blocks[: self.size])

    def _order(self, number: int) -> NDArray[np.intp]:
        """Return the order of the blocks in one pass."""
        return np.random.default_rng([self.seed, number]).permutation(self.n_blocks)


def count_blocks(n_rows: int) -> int:
    """Return the number of blocks, of which the last may be short."""
    return -(-n_rows // BLOCK)


def pool_blocks(memory: int, n_columns: int, n_members: int) -> int:
    """Return how many blocks fit into some bytes of memory, their row numbers included."""
    return memory // (BLOCK * _row_bytes(n_columns, n_members))


def fits_one_pool(n_rows: int, memory: int, n_columns: int, n_members: int) -> bool:
    """Return whether all rows fit into some bytes of memory."""
    return n_rows * _row_bytes(n_columns, n_members) <= memory


def memory_needed(n_blocks: int, n_columns: int, n_members: int) -> int:
    """Return the bytes of the smallest pool of a table."""
    return min(MIN_BLOCKS, n_blocks) * BLOCK * _row_bytes(n_columns, n_members)


def _row_bytes(n_columns: int, n_members: int) -> int:
    return CELL * n_columns + NUMBERS + ORDER * n_members
