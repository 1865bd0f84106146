"""Nearest neighbours, on any device and inside an ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from aedetect.training import infer

N_NEIGHBORS = 20
SPARE = 4  # candidates beyond those needed: products of float32 may swap a few
SMOOTHING = 0.01  # of the mean distance, added to each: a copy of a row is not infinitely normal
SAME = 2e-6  # of a row's length: nearer points differ by rounding, in another runtime say
SEARCHED = 2**21  # values of differences that are held at a time


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
        with torch.inference_mode(False):  # repairs differentiate with these
            points = torch.tensor(self.bank)
            return points, points.square().sum(dim=1) / 2


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
    candidates = closeness.topk(n_candidates, dim=1, sorted=False).indices
    distances = _distances(bank, x, candidates).sort(dim=1).values
    rounding = (SAME * x.double().square().sum(dim=1, keepdim=True).sqrt()).clamp_max(tolerance)
    is_itself = distances[:, :1] <= rounding
    others, all_ = distances[:, 1 : n_neighbors + 1], distances[:, :n_neighbors]
    return torch.where(is_itself, others, all_)


def _distances(bank: Tensor, x: Tensor, candidates: Tensor) -> Tensor:
    """Return the distances of rows to their candidates ``(rows, candidates)``, float64."""
    if torch.compiler.is_exporting():  # a graph for any number of rows has no loop over parts
        return _norms(bank[candidates] - x[:, None])
    size = max(1, SEARCHED // (candidates.shape[1] * x.shape[1]))
    pairs = zip(x.split(size), candidates.split(size), strict=True)
    return torch.cat([_norms(bank[numbers] - rows[:, None]) for rows, numbers in pairs])


def _norms(gaps: Tensor) -> Tensor:
    """Return the lengths of gaps ``(rows, candidates, width)``; that of none has the gradient 0."""
    squares = gaps.double().square().sum(dim=2)
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)
