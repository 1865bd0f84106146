"""Nearest neighbours, on any device and inside an ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from aedetect.training import aligned, infer

N_NEIGHBORS = 20
SPARE = 4  # candidates beyond those needed: products of float32 may swap a few
SMOOTHING = 0.01  # of the mean distance, added to each: a copy of a row is not infinitely normal
SAME = 2e-6  # of a row's length: nearer points differ by rounding, in another runtime say
CACHED = 2**18  # differences that are squared at a time


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Distances to the nearest points of a bank.

    A training row must not be its own neighbour, and no one tells which rows those are. So a point
    at distance 0, but for rounding, is taken for the row itself, once.
    """

    bank: NDArray[np.float32]  # (n_points, width)
    smoothing: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return the squared geometric mean of each row's distances, ``(rows,)``, float64."""
        points, half_squares = (tensor.to(x.device) for tensor in self._points)
        distances = nearest(points, half_squares, x, 0.1 * self.smoothing)
        return torch.exp(2 * torch.log(distances + self.smoothing).mean(dim=1))

    @cached_property
    def _points(self) -> tuple[Tensor, Tensor]:
        """The bank in memory of PyTorch's own, and half of each point's squared length."""
        with np.errstate(over="ignore"):  # a score that is not finite is refused where it is made
            half_squares = np.square(self.bank).sum(axis=1) / 2
        return aligned(self.bank), aligned(half_squares)


def fit_neighbors(points: NDArray[np.float32]) -> Neighbors:
    """Return the bank of ``points``, of shape (n_points, width)."""
    bank, half_squares = Neighbors(points, 0.0)._points
    distances = infer(lambda x: nearest(bank, half_squares, x), points[:1000], nn.Identity())
    return Neighbors(points, SMOOTHING * float(distances.mean()) or 1e-6)


def nearest(bank: Tensor, half_squares: Tensor, x: Tensor, tolerance: float = 0.0) -> Tensor:
    """Return the distances to the nearest points other than the row itself.

    Parameters
    ----------
    bank : Tensor of shape (n_points, width)
    half_squares : Tensor of shape (n_points,)
        Half of each point's squared length.
    x : Tensor of shape (rows, width)
    tolerance : float
        The largest distance that can be rounding.

    Returns
    -------
    distances : Tensor of shape (rows, min(20, n_points - 1)), float64
        In ascending order.
    """
    n_neighbors = min(N_NEIGHBORS, len(bank) - 1)
    # -|x - b|^2 / 2 without |x|^2, which all points share.
    closeness = F.linear(x, bank, -half_squares)
    n_candidates = min(n_neighbors + 1 + SPARE, len(bank))
    # Unsorted: a third of the time.
    candidates = closeness.topk(n_candidates, dim=1, sorted=False).indices
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
    squares = torch.cat([gap.square().sum(dim=2) for gap in gaps], dim=1)
    positive = squares > 0  # else the square root has no gradient
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)
