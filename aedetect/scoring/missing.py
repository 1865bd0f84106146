"""How odd rows with missing cells are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.scoring.measures import Measure, Members, Reconstruction, Standardized, restore
from aedetect.scoring.thresholds import FloatArray

HIDDEN = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)  # shares of the observed cells that calibration hides
N_CALIBRATED = 1_000  # rows at most
N_GROUPS = 12  # of rows with about as many missing cells
QUANTILES = (0.5, 0.9)  # that are brought to the level of complete rows
STEEPEST = 4.0  # slope of the map of logarithms: nearly equal measures are not torn apart
TINY = 1e-30  # logarithms of smaller measures are those of this one


class ObservedCells(NamedTuple):
    """A measure of rows with missing cells (NaN).

    They are filled as the network restores them, and measured as complete rows are. A filled cell
    fits the others too well, so the fewer are observed, the less odd a row seems. This is undone:
    the logarithm of the measure is mapped linearly, for each number of missing cells, so that
    median and upper decile of normal rows are what they are for complete ones.
    """

    measure: Measure
    loss: str
    slope: FloatArray | None = None  # (n_features + 1,), by the number of missing cells
    shift: FloatArray | None = None

    def __call__(self, members: Members, x: Tensor) -> Tensor:
        """Return the oddity of rows; that of complete ones is the measure's own."""
        missing = x.isnan()
        oddity = self.measure(members, fill(members, x, self.loss))
        if self.slope is None or self.shift is None:
            return oddity
        number = missing.sum(dim=1).cpu()
        slope = torch.from_numpy(self.slope)[number].to(x.device)
        shift = torch.from_numpy(self.shift)[number].to(x.device)
        calibrated = torch.exp(slope * torch.log(oddity.clamp_min(TINY)) + shift)
        return torch.where(missing.any(dim=1), calibrated, oddity)

    def calibrate(self, evaluate: Callable[[NDArray], NDArray], X: NDArray) -> Self:
        """Return the same with the levels that ``evaluate`` finds for rows ``X`` in hiding.

        Parameters
        ----------
        evaluate : callable
            Returns the oddities of rows, not calibrated, from a measure not fitted to them.
        X : ndarray of shape (n_rows, n_features)
            Normal rows, with NaN or without.
        """
        rng = np.random.RandomState(0)
        X = X[:N_CALIBRATED]
        hidden = [np.where(rng.random_sample(X.shape) < share, np.nan, X) for share in HIDDEN]
        rows = np.concatenate(hidden).astype(X.dtype, copy=False)
        numbers = np.isnan(rows).sum(axis=1)
        logs = np.log(np.maximum(evaluate(rows), TINY))
        slope, shift = _levels(numbers, logs, X.shape[1])
        return self._replace(slope=slope, shift=shift)

    def parts(self, members: Members, x: Tensor) -> Tensor:
        """Return what each feature adds, where the measure is a sum; missing cells add nothing."""
        whole = cast(Reconstruction | Standardized, self.measure)
        parts = whole.parts(members, fill(members, x, self.loss)).masked_fill(x.isnan(), 0.0)
        total = parts.sum(dim=1, keepdim=True)
        even = (~x.isnan()).double() / (~x.isnan()).sum(dim=1, keepdim=True)
        shares = torch.where(total > 0, parts / total, even)
        scored = shares * self(members, x)[:, None]
        return torch.where(x.isnan().any(dim=1, keepdim=True), scored, parts)


def fill(members: Members, x: Tensor, loss: str) -> Tensor:
    """Return scaled rows with the members' mean reconstruction in place of NaN."""
    return torch.where(x.isnan(), restore(members, x, loss), x)


def of_complete_rows(measure: Measure) -> Measure:
    """Return what measures a row once its missing cells are filled."""
    return measure.measure if isinstance(measure, ObservedCells) else measure


def _levels(
    numbers: NDArray[np.intp], logs: FloatArray, n_features: int
) -> tuple[FloatArray, FloatArray]:
    """Return slope and shift for every number of missing cells, ``(n_features + 1,)``."""
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, N_GROUPS + 1), method="lower"))
    group = np.digitize(numbers, edges[1:])
    groups = [group == index for index in np.unique(group)]
    centres = [numbers[rows].mean() for rows in groups]
    quantiles = np.array([np.quantile(logs[rows], QUANTILES) for rows in groups])
    all_numbers = np.arange(n_features + 1)
    median, upper = (np.interp(all_numbers, centres, values) for values in quantiles.T)
    spread = upper - median
    slope = np.divide(spread[0], spread, out=np.ones_like(spread), where=spread > 0)
    slope = slope.clip(1 / STEEPEST, STEEPEST)
    return slope, median[0] - slope * median
