"""Nearest neighbours, to the same bits whatever rows come together, and on any device.

scikit-learn's search is exact and fast, but its products round differently in other batches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.networks import row_stable_linear

N_NEIGHBORS = 20
SPARE = 4  # candidates beyond those needed: products of float32 may swap a few
SMOOTHING = 0.01  # of the mean distance, added to each: a copy of a row is not infinitely normal
SAME = 2e-6  # of a row's length: nearer points differ by rounding, in another runtime say
CACHED = 2**18  # differences that are squared at a time
SEARCHED = 2**23  # values that a search holds at a time
ROWS = 32  # searched at least


class Neighbors(NamedTuple):
    """Distances to the nearest points of a bank.

    A training row must not be its own neighbour, and no one tells which rows those are. So a point
    at distance 0, but for rounding, is taken for the row itself, once.
    """

    bank: NDArray[np.float32]  # (n_points, width)
    smoothing: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return the squared geometric mean of each row's distances, ``(rows,)``, float64."""
        bank = torch.from_numpy(self.bank).to(x.device)
        parts = _parts(x, len(bank))
        distances = torch.cat([nearest(bank, part, 0.1 * self.smoothing) for part in parts])
        return torch.exp(2 * torch.log(distances + self.smoothing).mean(dim=1))


def fit_neighbors(points: NDArray[np.float32]) -> Neighbors:
    """Return the bank of ``points``, of shape (n_points, width)."""
    bank = torch.from_numpy(points)
    distances = torch.cat([nearest(bank, part) for part in _parts(bank[:1000], len(bank))])
    return Neighbors(points, SMOOTHING * float(distances.mean()) or 1e-6)


def _parts(x: Tensor, n_points: int) -> tuple[Tensor, ...]:
    if torch.compiler.is_exporting():  # a graph for any number of rows has no loop over parts
        return (x,)
    width = max(n_points, (N_NEIGHBORS + SPARE) * x.shape[1])
    return x.split(max(1, SEARCHED // width // ROWS) * ROWS)


def nearest(bank: Tensor, x: Tensor, tolerance: float = 0.0) -> Tensor:
    """Return the distances to the nearest points other than the row itself.

    Parameters
    ----------
    bank : Tensor of shape (n_points, width)
    x : Tensor of shape (rows, width)
    tolerance : float
        The largest distance that can be rounding.

    Returns
    -------
    distances : Tensor of shape (rows, min(20, n_points - 1)), float64
        In ascending order.
    """
    n_neighbors = min(N_NEIGHBORS, len(bank) - 1)
    # |x - b|^2 without |x|^2, which is the same for all points.
    closeness = row_stable_linear(x, 2 * bank, -bank.square().sum(dim=1))
    n_candidates = min(n_neighbors + 1 + SPARE, len(bank))
    # Contiguous and unsorted: a third of the time.
    candidates = closeness.contiguous().topk(n_candidates, dim=1, sorted=False).indices
    distances = _distances(bank, candidates, x).sort(dim=1).values
    rounding = (SAME * x.double().square().sum(dim=1, keepdim=True).sqrt()).clamp_max(tolerance)
    is_itself = distances[:, :1] <= rounding
    others, all_ = distances[:, 1 : n_neighbors + 1], distances[:, :n_neighbors]
    return torch.where(is_itself, others, all_)


def _distances(bank: Tensor, candidates: Tensor, x: Tensor) -> Tensor:
    """Return the distances of rows to their candidates, ``(rows, candidates)``, float64."""
    # Of wide rows, a few candidates at a time: their differences stay in the processor's cache.
    size = candidates.shape[1]
    if not torch.compiler.is_exporting():
        size = min(size, max(1, CACHED // max(1, x.numel())))
    gaps = ((bank[part] - x[:, None]).double() for part in candidates.split(size, dim=1))
    return torch.cat([gap.square().sum(dim=2) for gap in gaps], dim=1).sqrt()
