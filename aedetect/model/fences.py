"""Limits of the distance from the median beyond which a cell is wild."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

USUAL = 0.95  # quantile of the distances from the median that wild cells do not reach
FAR = 5.0  # radius of a column of two values, in units of that quantile
FEW = 1 - USUAL  # share of a column's cells that can be wild: more are no exceptions
N_VALUES = 2**21  # of a large table that the quantiles are taken of
MANY = 2**22  # rows, of which a permutation would take long and much memory
BEYOND = float(np.finfo(np.float64).max)  # no cell is further from a median


class Fences(NamedTuple):
    """The medians of the columns, and the distances from them beyond which a cell is wild."""

    medians: FloatArray  # (n_features,)
    radii: FloatArray  # (n_features,)

    def without_wild(self, X: NDArray) -> NDArray:
        """Return rows with NaN in wild cells; without wild cells, return X itself."""
        with np.errstate(over="ignore"):
            wild = np.abs(X - self.medians) > self.radii
        return np.where(wild, np.asarray(np.nan, X.dtype), X) if wild.any() else X

    def widened(self, radius: float) -> Fences:
        """Return fences whose radii are at least ``radius``."""
        return Fences(self.medians, np.maximum(self.radii, radius))


def fit_fences(X: NDArray) -> tuple[Fences, float]:
    """Return the fences of each column by itself, and a radius for columns that share a unit.

    A radius is ``FAR * q95 ** 2 / q50``, from quantiles of the distances from the median; cells at
    the median do not count. It is 28 standard deviations of a normal column, 110 scales of
    Student's t with two degrees of freedom and ``exp(4.1 * sigma)`` of a lognormal column with
    ``sigma=2``: the heavier a tail, the further. For a column of zeros and ones it is 5, however
    few the ones. Where all values are equal, no cell is wild.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        NaN does not count.

    Returns
    -------
    fences : Fences
    common : float
        The radius of the distances in all columns together.
    """
    n_rows = max(1000, N_VALUES // X.shape[1])
    X = X[_draw(len(X), n_rows)] if len(X) > n_rows else X[:]
    columns = np.sort(X.T.astype(np.float64), axis=1)  # NaN comes last
    n_values = (~np.isnan(columns)).sum(axis=1)
    medians = _quantile(columns, np.zeros_like(n_values), n_values, 0.5)
    with np.errstate(over="ignore"):
        distances = np.sort(np.abs(columns - medians[:, None]), axis=1)
    return Fences(medians, _radii(distances)), float(_radii(np.sort(distances, axis=None)[None])[0])


def _draw(n_rows: int, n_drawn: int) -> NDArray[np.intp]:
    """Return numbers of rows in ascending order."""
    if n_rows > MANY:
        return np.sort(np.random.default_rng(0).choice(n_rows, n_drawn, replace=False))
    return np.sort(np.random.RandomState(0).choice(n_rows, n_drawn, replace=False))


def _radii(distances: FloatArray) -> FloatArray:
    """Return the radius of each row of sorted distances; 0 and NaN do not count."""
    n_first, n_values = (distances == 0).sum(axis=1), (distances > 0).sum(axis=1)
    half, usual = (_quantile(distances, n_first, n_values, q) for q in (0.5, USUAL))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        radii = FAR * usual * (usual / half)
    return np.where(n_values > 0, np.minimum(radii, BEYOND), BEYOND)


def _quantile(
    rows: FloatArray, n_first: NDArray[np.intp], n_values: NDArray[np.intp], q: float
) -> FloatArray:
    """Return a quantile of the values that follow the first ones in sorted rows.

    It is one of the values, the lower of two, so it never lies between a usual and a wild value.
    """
    places = n_first + np.floor(q * np.maximum(n_values - 1, 0)).astype(np.intp)
    return np.take_along_axis(rows, np.minimum(places, rows.shape[1] - 1)[:, None], axis=1)[:, 0]
