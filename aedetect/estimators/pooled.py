"""Training rows that do not fit into memory together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.estimators.defaults import count_held_out
from aedetect.estimators.splitting import Split, draw_seed
from aedetect.estimators.tables import check_scaled
from aedetect.model import Columns, infer, row_blocks
from aedetect.places import rows_of
from aedetect.rows import (
    Plan,
    Reader,
    RowSet,
    Spool,
    count_blocks,
    fits_one_pool,
    memory_needed,
    pool_blocks,
)
from aedetect.rows.cache import BLOCK
from aedetect.rows.plan import MIN_BLOCKS
from aedetect.scoring import Detector, FloatArray
from aedetect.scoring.density import N_SITES, WIDE_SHARE, fit_sites
from aedetect.scoring.detector import N_REFERENCE
from aedetect.training import move

MAX_HELD_OUT = 100_000  # rows


def pooled_rows(X: NDArray | Reader, width: int, n_members: int) -> PooledRows | None:
    """Return the rows in pools, if they are on disk and do not fit into memory together."""
    if not isinstance(X, Reader) or fits_one_pool(len(X), X.rows.memory, width, n_members):
        return None
    return PooledRows(X, width, n_members)


class PooledRows:
    """Rows of which training reads a pool of blocks at a time.

    Parameters
    ----------
    reader : Reader
    width : int
        Entries of the network's rows.
    n_members : int
        Networks of the ensemble, each of which has an order of the rows.
    """

    def __init__(self, reader: Reader, width: int, n_members: int) -> None:
        rows = reader.rows
        n_blocks = count_blocks(len(rows))
        size = min(pool_blocks(rows.memory, width, n_members), n_blocks)
        if size < min(MIN_BLOCKS, n_blocks):
            needed = memory_needed(n_blocks, width, n_members)
            raise ValueError(
                f"memory={rows.memory} holds {size} blocks of {BLOCK} rows, but training mixes all"
                f" {n_blocks} or at least {MIN_BLOCKS} of them. Open the rows with"
                f" memory='{math.ceil(needed / 1e6)}MB' or more."
            )
        self._reader = reader
        self._n_blocks, self._size = n_blocks, size
        self._left_out = RowSet(len(rows))  # held out, or taken for anomalies

    def describe(self) -> dict[str, str]:
        """Return what the weights depend on beside the rows, for the identity of a checkpoint."""
        return {"pools": f"{self._size} of {self._n_blocks} blocks"}

    def split(self, validation_fraction: float, random_state: np.random.RandomState) -> Split:
        """Draw the held-out rows, and some of those that the network is fitted to."""
        n_rows, pool_rows = len(self._reader), self._size * BLOCK
        n_held_out = min(
            count_held_out(n_rows, validation_fraction),
            MAX_HELD_OUT,
            int(pool_rows * validation_fraction),
        )
        n_drawn = min(n_held_out + 2 * N_REFERENCE, n_rows)  # some may be taken for anomalies
        drawn = np.random.default_rng(draw_seed(random_state)).choice(
            n_rows, n_drawn, replace=False
        )
        self._plan = Plan(self._n_blocks, self._size, draw_seed(random_state))
        self._left_out.add(drawn[:n_held_out])
        return Split(drawn[:n_held_out], drawn[n_held_out:])

    def without_anomalies(
        self, split: Split, share: float, columns: Columns, tamed: NDArray[np.bool_]
    ) -> Split:
        """Leave a share of the rows out, the furthest from the others; return the split."""
        spread = Spool()
        for values in spread_of(self._reader, np.concatenate(split), columns, tamed):
            spread.append(values)
        n_kept = max(2, len(spread) - round(share * len(spread)))
        limit, first = spread.smallest(n_kept - 1), 0
        n_at_limit = n_kept - sum(int((values < limit).sum()) for values in spread.blocks())
        anomalies = RowSet(len(spread))
        for values in spread.blocks():
            at_limit = values == limit
            kept = (values < limit) | (at_limit & (at_limit.cumsum() <= n_at_limit))
            n_at_limit -= int(at_limit.sum())
            anomalies.add(first + np.flatnonzero(~kept))
            self._left_out.add(first + np.flatnonzero(~kept))
            first += len(values)
        return Split(*(rows[~anomalies.contains(rows)] for rows in split))

    def scaled(
        self, split: Split, columns: Columns, tamed: NDArray[np.bool_], device: torch.device
    ) -> tuple[Tensor, DiskPools]:
        """Return the scaled held-out rows, and the pools of all that are not left out."""
        rows = split.held_out
        held_out = check_scaled(
            scale_rows(columns, self._reader, rows, tamed), rows, columns.sources
        )
        pools = DiskPools(self._reader, self._plan, self._left_out, columns, tamed, device)
        return move(torch.from_numpy(held_out), device), pools

    def with_threshold(
        self, detector: Detector, contamination: float | Literal["auto"]
    ) -> Detector:
        """Return the detector with the threshold of a share of all rows."""
        if contamination == "auto":
            return detector
        scores = Spool()
        for block in row_blocks(*self._reader.shape):
            with rows_of(range(block.start, block.stop)):
                scores.append(detector.score_samples(self._reader[block]))
        return detector.with_offset(scores.quantile(contamination))


class DiskPools:
    """Scaled training rows on disk, of which a pool is in memory.

    Parameters
    ----------
    reader : Reader
    plan : Plan
    left_out : RowSet
        Rows that are not trained on.
    columns : Columns
    tamed : ndarray of shape (n_features,), bool
        Columns in which wild cells are tamed.
    device : torch.device
        Where to put the pool.
    """

    def __init__(
        self,
        reader: Reader,
        plan: Plan,
        left_out: RowSet,
        columns: Columns,
        tamed: NDArray[np.bool_],
        device: torch.device,
    ) -> None:
        self.plan = plan
        self._reader, self._left_out = reader, left_out
        self._columns, self._tamed, self._device = columns, tamed, device
        sizes = np.full(plan.n_blocks, BLOCK)
        sizes[-1] = len(reader) - (plan.n_blocks - 1) * BLOCK
        self._counts = sizes - left_out.counts()
        self._memory: Tensor | None = None  # of a pool, filled again by every epoch

    def __len__(self) -> int:
        """Return the number of rows in a pass over all blocks."""
        return int(self._counts.sum())

    def count(self, epoch: int) -> int:
        """Return the number of rows of an epoch."""
        return int(self._counts[self.plan.pool(epoch)].sum())

    def load(self, epoch: int) -> Tensor:
        """Return the rows of an epoch, until the next call."""
        if self._memory is None:
            self._memory = torch.empty(self.plan.size * BLOCK, self._columns.width)
        n_rows = 0
        for block in self.plan.pool(epoch).tolist():
            x = self._read(block)
            self._memory.numpy()[n_rows : n_rows + len(x)] = x
            n_rows += len(x)
        return move(self._memory[:n_rows], self._device)

    def bounds(self) -> Tensor:
        """Return minima and maxima of all rows, ``(2, n_features)``; NaN without any cell."""
        low = high = np.full(self._columns.width, np.nan, dtype=np.float32)
        for block in range(self.plan.n_blocks):
            x = self._read(block)
            if len(x):
                low = np.fmin(low, np.fmin.reduce(x, axis=0))
                high = np.fmax(high, np.fmax.reduce(x, axis=0))
        return torch.from_numpy(np.stack([low, high]))

    def _read(self, block: int) -> NDArray[np.float32]:
        """Return the scaled rows of a block that are trained on."""
        first = block * BLOCK
        x = self._columns.apply(self._reader[first : first + BLOCK], tamed=self._tamed)
        numbers = np.arange(first, first + len(x))
        left_out = self._left_out.mask(block)
        x, numbers = (x[~left_out], numbers[~left_out]) if left_out.any() else (x, numbers)
        return check_scaled(x, numbers, self._columns.sources)


def scale_rows(
    columns: Columns, X: NDArray | Reader, rows: NDArray[np.intp], tamed: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return scaled training rows in the order of their numbers; from disk, read in its order."""
    if not isinstance(X, Reader):
        return columns.apply(X, rows, tamed)
    order = np.argsort(rows)
    x = np.empty((len(rows), columns.width), dtype=np.float32)
    for block in row_blocks(*x.shape):
        places = order[block]
        x[places] = columns.apply(X[rows[places]], tamed=tamed)
    return x


def spread_of(
    X: NDArray | Reader, order: NDArray[np.intp], columns: Columns, tamed: NDArray[np.bool_]
) -> Iterator[FloatArray]:
    """Yield how far each row lies from the others, some rows at a time.

    The squared distance to the nearest three tenths of the first 250 rows in ``order``, which is a
    random one: less local than the score, so larger clumps of anomalies are far off. Missing cells
    count as 0, the mean of a scaled column.
    """
    first = order[:N_SITES]
    x = np.nan_to_num(scale_rows(columns, X, first, tamed), nan=0.0)
    sites = fit_sites(x, WIDE_SHARE)
    own = sites.of_rows(x)
    known: dict = {}
    for block in row_blocks(*X.shape):
        x = np.nan_to_num(columns.apply(X[block], tamed=tamed), nan=0.0)
        values = infer(sites, x, name="spread", known=known)
        inside = (first >= block.start) & (first < block.stop)
        values[first[inside] - block.start] = own[inside]
        yield values
