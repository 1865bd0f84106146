"""Location and scale of the columns, so that a bare estimator works on a raw table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from aedetect.estimators.places import PlaceError

BLOCK_VALUES = 2**18  # converted at a time: the float64 copies stay in the processor's cache


def row_blocks(n_rows: int, n_features: int) -> list[slice]:
    """Return the slices of a table's rows that are converted at a time."""
    size = max(1, BLOCK_VALUES // n_features)
    return [slice(first, first + size) for first in range(0, n_rows, size)]


class Scaling(NamedTuple):
    """What is subtracted from each column, and what it is then divided by."""

    location: NDArray[np.float64]  # (n_features,)
    scale: NDArray[np.float64]  # (n_features,)

    def apply(self, X: NDArray, rows: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
        """Return the scaled rows of ``X`` (or those numbered ``rows``), in that order."""
        n_rows = len(X) if rows is None else len(rows)
        scaled = np.empty((n_rows, X.shape[1]), dtype=np.float32)
        for block in row_blocks(*scaled.shape):
            part = X[block] if rows is None else X[rows[block]]
            with np.errstate(over="ignore"):  # an infinite score is refused where it is made
                scaled[block] = (part - self.location) / self.scale
        return scaled

    def invert(self, scaled: NDArray) -> NDArray[np.float64]:
        """Return scaled rows in the units of X."""
        return scaled * self.scale + self.location


def fit_scaling(X: NDArray, scaling: str | None, loss: str) -> Scaling:
    """Return the location and scale of the columns of ``X``.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    scaling : {"auto", "standard", "common"} or None
        ``"standard"`` divides each column by its own standard deviation (constant ones by 1),
        ``"common"`` all columns by one, so that their proportions stay. ``"auto"`` is None for
        ``loss="bce"``, ``"common"`` where the columns share a unit, else ``"standard"``.
    loss : str

    Returns
    -------
    scaling : Scaling

    Raises
    ------
    ValueError
        If the variance of a column is beyond float64.
    """
    if scaling == "auto":
        scaling = None if loss == "bce" else "common" if share_a_unit(X) else "standard"
    if scaling is None:
        return Scaling(np.zeros(X.shape[1]), np.ones(X.shape[1]))
    scaler = StandardScaler()
    with np.errstate(over="ignore", invalid="ignore"):
        for block in row_blocks(*X.shape):
            scaler.partial_fit(X[block])
    _check_spread(scaler.var_)
    if scaling == "standard":
        return Scaling(scaler.mean_, scaler.scale_)
    common = np.sqrt(scaler.var_.mean()) or 1.0
    return Scaling(scaler.mean_, np.full(X.shape[1], common))


def _check_spread(variances: NDArray[np.float64]) -> None:
    if not np.isfinite(variances).all():
        raise PlaceError(
            "The variance of column {column} of X is too large for float64. Clip the column or"
            " divide it.",
            column=int(np.flatnonzero(~np.isfinite(variances))[0]),
        )


def share_a_unit(X: NDArray) -> bool:
    """Return whether the columns look like measurements in one unit, as pixels do.

    They do when half of the columns that vary at all cover half of the range of the whole table.
    Dividing such a column by its own deviation would blow up the ones that hardly ever vary (the
    border of an image) above those that matter.
    """
    # Unlike min and max, these pass over NaN.
    low = np.fmin.reduce(X, axis=0).astype(np.float64)
    high = np.fmax.reduce(X, axis=0).astype(np.float64)
    with np.errstate(over="ignore"):  # infinite ranges compare too
        ranges, whole = high - low, high.max() - low.min()
        varying = ranges[ranges > 0]
        return bool(varying.size) and bool(np.median(varying) >= 0.5 * whole)
