"""Scores by the residual of a kernel regression of rows on training rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import softmax
from torch import Tensor

from aedetect.model import Fitted, require, require_floats, require_number
from aedetect.scoring.neighbors import SAME
from aedetect.scoring.score import Reference, Score
from aedetect.training import one_blas_thread

if TYPE_CHECKING:
    from aedetect.model import Model, View

N_SITES = 2_000  # training rows at most that rows are regressed on
WIDTHS = (0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)  # tried, in usual distances to the nearest row
SMALLEST = 1e-6  # of the mean residual: a smaller one is raised to it before its logarithm


@dataclass(frozen=True, eq=False)
class KernelResidual(Score):
    """The squared distance between a row and its kernel regression on training rows.

    The regression is the mean of the training rows, weighted by a Gaussian kernel of their
    distances to the row (Nadaraya, 1964; Watson, 1964). Its width has the smallest residuals on
    training rows, each left out. A training row at distance 0, but for rounding, is left out once.
    """

    points: NDArray[np.float32]  # (n_points, n_features)
    width: float  # standard deviation of the kernel
    floor: float  # added to the residual: a copy of a row is not infinitely normal

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with the first reference rows and the best kernel width."""
        points = reference.x[:N_SITES]
        with one_blas_thread():
            squares = cdist(points, points, "sqeuclidean")
            np.fill_diagonal(squares, np.inf)
            unit = float(np.sqrt(np.median(squares.min(axis=1)))) or 1.0
            residuals = [_left_out(points, squares, unit * width) for width in WIDTHS]
        floors = [SMALLEST * float(r.mean()) or SMALLEST for r in residuals]
        logs = [np.log(r + floor).mean() for r, floor in zip(residuals, floors, strict=True)]
        best = int(np.argmin(logs))
        return cls(name, points, unit * WIDTHS[best], floors[best])

    def __call__(self, view: View) -> Tensor:
        """Return the squared residual of each row."""
        points, half_squares = self._tensors.on(view.x.device)
        x = view.x
        closeness = F.linear(x, points, -half_squares)  # half the square of a distance, negated
        nearest = closeness.argmax(dim=1, keepdim=True)
        gap = (points[nearest[:, 0]] - x).double().square().sum(dim=1, keepdim=True).sqrt()
        is_itself = gap <= SAME * x.double().square().sum(dim=1, keepdim=True).sqrt()
        is_left_out = torch.zeros_like(closeness, dtype=torch.bool).scatter(1, nearest, is_itself)
        closeness = closeness.masked_fill(is_left_out, -torch.inf)
        weights = torch.softmax(closeness / self.width**2, dim=1)
        return (weights @ points - x).double().square().sum(dim=1) + self.floor

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first points, as long as two are left."""
        if len(self.points) - n_rows < 2:
            return self
        return replace(self, points=self.points[n_rows:])

    def leaving_out(self, view: View) -> Self:
        """Return the score without points that are equal to a row of the view."""
        rows, points = view.x.cpu().double(), torch.from_numpy(self.points).double()
        rounding = SAME * rows.norm(dim=1, keepdim=True)
        kept = (torch.cdist(rows, points) > rounding).all(dim=0).numpy()
        return replace(self, points=self.points[kept]) if kept.sum() > 1 else self

    def check(self, model: Model) -> None:
        """Raise a StateError unless there are two points or more of the model's width."""
        require_number("the width of the kernel", self.width, above=0)
        require_number("the smallest residual", self.floor, above=0)
        require(np.ndim(self.points) == 2 and len(self.points) > 1, "there are less than two rows")
        shape = (len(self.points), model.spec.n_features)
        require_floats("the rows of the regression", self.points, shape, np.float32)

    @cached_property
    def _tensors(self) -> Fitted:
        with np.errstate(over="ignore"):  # a score that is not finite is refused later
            half_squares = np.square(self.points).sum(axis=1) / 2
        return Fitted(self.points, half_squares)


def _left_out(
    points: NDArray[np.float32], squares: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """Return the squared residuals of points, each regressed on the others."""
    weights = softmax(-squares / (2 * width**2), axis=1)
    return np.square(weights @ points - points).sum(axis=1)
