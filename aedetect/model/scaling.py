"""Location and scale of the columns, so that a bare estimator works on a raw table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from aedetect.model.fences import BEYOND, FEW, Fences, FloatArray, fit_fences
from aedetect.model.stored import require, require_floats, require_keys
from aedetect.places import PlaceError

BLOCK_VALUES = 2**18  # converted at a time: the float64 copies stay in the processor's cache
MAPPED_VALUES = 2**20  # sent through a network at a time: threads share several tiles


def row_blocks(n_rows: int, n_features: int, *, n_values: int = BLOCK_VALUES) -> list[slice]:
    """Return the slices of a table's rows that are converted at a time, ``n_values`` each."""
    size = max(1, n_values // max(1, n_features))
    return [slice(first, first + size) for first in range(0, n_rows, size)]


class Scaling(NamedTuple):
    """Location and scale of each column, and limits beyond which scaled cells are wild.

    A wild cell exceeds its limit, ``low`` or ``high``, by the logarithm of one plus its excess. So
    wild cells keep their order, stay odder than all others, and can be scaled back.
    """

    location: FloatArray  # (n_features,)
    scale: FloatArray  # (n_features,)
    low: FloatArray  # (n_features,), scaled
    high: FloatArray  # (n_features,), scaled

    def apply(
        self,
        X: NDArray,
        rows: NDArray[np.intp] | None = None,
        tamed: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Return the scaled rows of ``X`` (or those numbered ``rows``), in that order.

        Wild cells are tamed first in the columns ``tamed``.
        """
        n_rows = len(X) if rows is None else len(rows)
        scaled = np.empty((n_rows, X.shape[1]), dtype=np.float32)
        for block in row_blocks(*scaled.shape):
            part = X[block] if rows is None else X[rows[block]]
            part = part if tamed is None else self.tame(part, tamed)
            with np.errstate(over="ignore"):  # an infinite score is refused where it is made
                scaled[block] = self._beyond((part - self.location) / self.scale, np.log1p)
        return scaled

    def invert(self, scaled: NDArray) -> FloatArray:
        """Return scaled rows in the units of X."""
        with np.errstate(over="ignore"):  # what is not finite is refused where it is asked for
            return self._beyond(scaled, np.expm1) * self.scale + self.location

    def tame(self, X: NDArray, columns: NDArray[np.bool_] | None = None) -> NDArray:
        """Return rows to train on: with wild cells at the middle of their column's fences.

        Only in ``columns``, which are :meth:`tamed_columns` of ``X`` if None is given.
        """
        columns = self.tamed_columns(X) if columns is None else columns
        if not columns.any():
            return X
        wild = self._is_wild(X) & columns
        if not wild.any():
            return X
        middle = (self.low / 2 + self.high / 2) * self.scale + self.location
        return np.where(wild, middle.astype(X.dtype), X)

    def tamed_columns(self, X: NDArray) -> NDArray[np.bool_]:
        """Return in which columns of training rows wild cells are tamed.

        A column in which they are more than a few stays as it is: there, they are no exceptions.
        """
        blocks = row_blocks(*X.shape)
        counts = np.sum([self._is_wild(X[block]).sum(axis=0) for block in blocks], axis=0)
        return (counts > 0) & (counts / len(X) <= FEW)

    def _is_wild(self, X: NDArray) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            scaled = (X - self.location) / self.scale
        return (scaled < self.low) | (scaled > self.high)

    def to_state(self) -> dict[str, FloatArray]:
        """Return the arrays by name."""
        return self._asdict()

    @classmethod
    def from_state(cls, state: Any, n_features: int) -> Self:
        """Return the scaling of a state, which must be of as many columns.

        Raises
        ------
        StateError
            If it is not, if a scale is not above 0, or if a limit is on the wrong side of 0.
        """
        require_keys("the scaling", state, set(cls._fields))
        for name, array in state.items():
            require_floats(f"{name} of the scaling", array, (n_features,))
        scaling = cls(**state)
        require(
            bool((np.stack([scaling.scale, -scaling.low, scaling.high]) > 0).all()),
            "a scale is not above 0, or 0 is not between the limits of the scaling",
        )
        return scaling

    def _beyond(self, scaled: NDArray, bend: np.ufunc) -> NDArray:
        """Return scaled cells, with what lies beyond the fences bent; all others bit for bit."""
        wild = (scaled < self.low) | (scaled > self.high)
        if not wild.any():
            return scaled
        columns = np.nonzero(wild)[1]
        # A quotient beyond float64 is as good as the largest number of it.
        values = np.clip(scaled[wild].astype(np.float64), -BEYOND, BEYOND)
        limits = np.clip(values, self.low[columns], self.high[columns])
        scaled = scaled.astype(np.float64)
        scaled[wild] = limits + np.copysign(bend(np.abs(values - limits)), values - limits)
        return scaled


def bend(scaled: Tensor, low: Tensor, high: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return scaled cells, with what lies beyond the limits bent as :class:`Scaling` does."""
    inside = scaled.clamp(low, high)
    excess = scaled - inside
    return inside + excess.sign() * function(excess.abs())


def fit_scaling(X: NDArray, scaling: str | None, loss: str) -> Scaling:
    """Return the location and scale of the columns of ``X``, and their fences.

    Wild cells have no part in them: those far beyond the usual distances of their column (see
    :func:`fit_fences`), where they are 5% at most.

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
    n_features = X.shape[1]
    if scaling is None or (scaling == "auto" and loss == "bce"):
        limits = np.full(n_features, BEYOND)
        return Scaling(np.zeros(n_features), np.ones(n_features), -limits, limits)
    fences, common = fit_fences(X)
    if scaling == "auto":
        scaling = "common" if share_a_unit(X, fences.widened(common)) else "standard"
    if scaling == "common":  # what is usual elsewhere is in order in a column that hardly varies
        fences = fences.widened(common)
    scaler = StandardScaler()
    with np.errstate(over="ignore", invalid="ignore"):
        for block in row_blocks(*X.shape):
            scaler.partial_fit(fences.without_wild(X[block]))
    _check_spread(scaler.var_)
    scale = scaler.scale_
    if scaling == "common":
        scale = np.full(n_features, np.sqrt(scaler.var_.mean()) or 1.0)
    with np.errstate(over="ignore"):
        limits = [
            np.clip((fences.medians + reach - scaler.mean_) / scale, -BEYOND, BEYOND)
            for reach in (-fences.radii, fences.radii)
        ]
    return Scaling(scaler.mean_, scale, *limits)


def _check_spread(variances: FloatArray) -> None:
    if not np.isfinite(variances).all():
        raise PlaceError(
            "The variance of column {column} of X is too large for float64. Clip the column or"
            " divide it.",
            column=int(np.flatnonzero(~np.isfinite(variances))[0]),
        )


def share_a_unit(X: NDArray, fences: Fences) -> bool:
    """Return whether the columns look like measurements in one unit, as pixels do.

    They do when half of the columns that vary at all cover half of the range of the whole table,
    wild cells aside. Dividing such a column by its own deviation would blow up the ones that hardly
    ever vary (the border of an image) above those that matter.
    """
    blocks = row_blocks(*X.shape)
    # Unlike min and max, these pass over NaN.
    lows = [np.fmin.reduce(fences.without_wild(X[block]), axis=0) for block in blocks]
    highs = [np.fmax.reduce(fences.without_wild(X[block]), axis=0) for block in blocks]
    low, high = np.fmin.reduce(lows).astype(np.float64), np.fmax.reduce(highs).astype(np.float64)
    with np.errstate(over="ignore"):  # infinite ranges compare too
        ranges, whole = high - low, high.max() - low.min()
        varying = ranges[ranges > 0]
        return bool(varying.size) and bool(np.median(varying) >= 0.5 * whole)
