"""Running sums at some earlier rows, in constant memory.

After n rows the sums are known at the last two multiples of 16, of 32, of 64 and so on, as in
exponential histograms (Datar et al., SIAM Journal on Computing, 2002). So the sum since any row is
known for at least half of the rows since then, or for all of them and a few before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aedetect.scoring import FloatArray

STEPS = 16 * 2 ** np.arange(32, dtype=np.int64)


def rows_after(n_rows: int) -> NDArray[np.int64]:
    """Return the numbers of rows after which sums are known, ``(2 * n_steps,)``."""
    last = n_rows // STEPS * STEPS
    return np.concatenate([last, np.maximum(last - STEPS, 0)])


def with_sums(snapshots: FloatArray, n_before: int, sums: FloatArray) -> FloatArray:
    """Return the snapshots after some rows.

    Parameters
    ----------
    snapshots : ndarray of shape (2 * n_steps, n_features)
        Those after ``n_before`` rows.
    n_before : int
    sums : ndarray of shape (1 + n_new_rows, n_features)
        Running sums, those after ``n_before`` rows first.
    """
    old, new = rows_after(n_before), rows_after(n_before + len(sums) - 1)
    kept = np.where(new[: len(STEPS)] == old[: len(STEPS)], 0, len(STEPS))
    # The earlier one of two is the former last one, unless more rows than a step have come.
    sources = np.concatenate([np.arange(len(STEPS)), np.arange(len(STEPS)) + len(STEPS) - kept])
    known = new > n_before
    return np.where(known[:, None], sums[np.where(known, new - n_before, 0)], snapshots[sources])


def sums_at(snapshots: FloatArray, n_rows: int, since: int) -> FloatArray:
    """Return the sums before a row that is near ``since``, given the snapshots after ``n_rows``.

    It is ``since`` or later, unless that would leave less than half of the rows since then.
    """
    rows = rows_after(n_rows)
    later = np.where((rows >= since) & (2 * (n_rows - rows) >= n_rows - since), rows, n_rows + 1)
    earlier = np.where(rows <= since, rows, -1)
    place = int(later.argmin()) if later.min() < n_rows else int(earlier.argmax())
    return snapshots[place]
