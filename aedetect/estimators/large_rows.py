"""Training rows in memory that are scaled a batch at a time: scaled at once, they fill it twice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.estimators.tables import check_scaled
from aedetect.model import Columns, row_blocks

LARGE = 2**28  # bytes of scaled rows


def are_large(n_rows: int, width: int) -> bool:
    """Return whether scaled rows are better not in memory together."""
    return 4 * n_rows * width > LARGE


class LargeRows:
    """Scaled training rows, all of them in every epoch.

    Parameters
    ----------
    columns : Columns
    X : ndarray of shape (n_samples, n_features)
    rows : ndarray of int
        Numbers of those to train on.
    tamed : ndarray of shape (n_features,), bool
        Columns in which wild cells are tamed.

    Raises
    ------
    PlaceError
        If a scaled cell is beyond float32.
    """

    device = torch.device("cpu")

    def __init__(
        self, columns: Columns, X: NDArray, rows: NDArray[np.intp], tamed: NDArray[np.bool_]
    ) -> None:
        self._columns, self._X, self._rows, self._tamed = columns, X, rows, tamed
        low = high = np.full(columns.width, np.nan, dtype=np.float32)
        for block in row_blocks(len(rows), columns.width):
            x = check_scaled(self._scale(rows[block]), rows[block], columns.sources)
            low = np.fmin(low, np.fmin.reduce(x, axis=0))
            high = np.fmax(high, np.fmax.reduce(x, axis=0))
        self._bounds = np.stack([low, high])

    def __len__(self) -> int:
        return len(self._rows)

    def count(self, epoch: int) -> int:
        """Return the number of rows."""
        return len(self)

    def load(self, epoch: int) -> LargeRows:
        """Return the rows."""
        return self

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Return the rows of these numbers, as a tensor does along its first dimension."""
        return torch.from_numpy(self._scale(self._rows[index.numpy()]))

    def bounds(self) -> Tensor:
        """Return minima and maxima of all rows, ``(2, n_features)``; NaN without any cell."""
        return torch.from_numpy(self._bounds)

    def _scale(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return self._columns.apply(self._X, rows, self._tamed)
