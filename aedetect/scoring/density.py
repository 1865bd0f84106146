"""Scores by the density of the training rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from aedetect.model import aligned, infer, require, require_floats, require_number
from aedetect.scoring.marks import Marks, check_marks, fit_marks
from aedetect.scoring.neighbors import SAME
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.sketch import sketch
from aedetect.scoring.thresholds import FloatArray

if TYPE_CHECKING:
    from aedetect.model import Model, View

N_SITES = 500  # training rows at most that distances are taken to
N_COLUMNS = 256  # of the sketches of wider rows
NEAREST = 0.1  # share of the sites whose distance is the unit of smoothing
LARGEST = 1e17  # size of a cell, in scaled units; squares of larger ones are beyond float32
SMALLEST = 1e-18  # smoothing; the square of a smaller one is below float32


@dataclass(frozen=True, eq=False)
class Sites:
    """Some training rows, and the harmonic mean of the distances to all of them.

    Distances ``d`` are smoothed to ``sqrt(d ** 2 + h ** 2)``, with ``h`` the usual distance to the
    nearest tenth of the sites. So a clump of equal rows far from all others is odd, however many
    near neighbours each of them has: no site counts for more than 1 / h.
    """

    points: NDArray[np.float32]  # (n_sites, min(n_features, N_COLUMNS))
    smoothing: float  # h
    n_left_out: int = 0  # further sites that the mean counts as infinitely far

    def __call__(self, x: Tensor) -> Tensor:
        """Return the squared harmonic mean of the distances of scaled rows, ``(B,)``, float64."""
        points, half_squares = (tensor.to(x.device) for tensor in self._tensors)
        rows = _narrow(x)
        smoothing = self.smoothing**2
        constant = rows.square().sum(dim=1, keepdim=True) + smoothing
        squares = torch.sub(constant, F.linear(rows, points, -half_squares), alpha=2)
        # Rounding may leave a little less than the smoothing.
        inverses = squares.clamp_min(smoothing).rsqrt().mean(dim=1).double()
        return (inverses * (len(points) / (len(points) + self.n_left_out))) ** -2

    def of_rows(self, x: NDArray[np.float32]) -> FloatArray:
        """Return the measure of scaled rows, of which the first are the sites, each left out."""
        squares = cdist(self.points, self.points, "sqeuclidean") + self.smoothing**2
        inverses = squares**-0.5
        np.fill_diagonal(inverses, 0.0)
        mean = inverses.sum(axis=1) / (len(self.points) - 1)
        return np.concatenate([mean**-2, infer(self, x)[len(self.points) :]])

    def without(self, x: Tensor) -> Self:
        """Return the sites without those that are equal to a row, as long as two are left.

        The mean still counts them, so no row is nearer to the sites that are left.
        """
        rows, points = _narrow(x).cpu().double(), torch.from_numpy(self.points).double()
        rounding = SAME * rows.norm(dim=1, keepdim=True)
        kept = (torch.cdist(rows, points) > rounding).all(dim=0).numpy()
        if kept.sum() < 2:
            return self
        n_left_out = self.n_left_out + int((~kept).sum())
        return replace(self, points=self.points[kept], n_left_out=n_left_out)

    def without_first(self, n_rows: int) -> Self:
        """Return the sites without the first ones, as long as two are left."""
        if len(self.points) - n_rows < 2:
            return self
        return replace(self, points=self.points[n_rows:])

    def check(self, n_features: int) -> None:
        """Raise a StateError unless there are two sites or more, of the right width."""
        require_number("the smoothing", self.smoothing, above=0)
        require(np.ndim(self.points) == 2 and len(self.points) > 1, "there are less than two sites")
        shape = (len(self.points), min(n_features, N_COLUMNS))
        require_floats("the sites", self.points, shape, np.float32)
        require(self.n_left_out == 0, "sites are left out")

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        with np.errstate(over="ignore"):  # a score that is not finite is refused later
            half_squares = np.square(self.points).sum(axis=1) / 2
        return aligned(self.points), aligned(half_squares)


def fit_sites(x: NDArray[np.float32]) -> Sites:
    """Return the first of the scaled rows, which are in random order, as sites."""
    points = np.ascontiguousarray(_narrow(torch.from_numpy(x[:N_SITES])).numpy())
    nearest = np.sort(cdist(points, points), axis=1)[:, 1:]  # without the row itself
    place = int(NEAREST * (nearest.shape[1] - 1))
    smoothing = float(np.median(nearest[:, place]))
    return Sites(points, max(smoothing or float(nearest.mean()) or 1.0, SMALLEST))


def _narrow(x: Tensor) -> Tensor:
    """Return sketches of rows, whose squares are numbers of float32 if the rows are finite."""
    rows = sketch(x, N_COLUMNS)
    return torch.where(rows.isfinite(), rows.clamp(-LARGEST, LARGEST), rows)


def spread_of(x: NDArray[np.float32]) -> FloatArray:
    """Return how far each of some scaled rows, in random order, lies from the others.

    The squared harmonic mean of the distances to the first rows; missing cells count as 0, the mean
    of a scaled column.
    """
    x = x if np.isfinite(x).all() else np.nan_to_num(x, nan=0.0)
    return fit_sites(x).of_rows(x)


@dataclass(frozen=True, eq=False)
class Density(Score):
    """The squared harmonic mean of the distances to up to 500 training rows."""

    sites: Sites
    marks: Marks | None  # None: every row is scored as a new one

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with the first reference rows as sites."""
        sites = fit_sites(reference.x)
        return cls(name, sites, fit_marks(reference.x, sites.of_rows(reference.x)))

    def __call__(self, view: View) -> Tensor:
        """Return the squared harmonic mean distance of each row."""
        scores = self.sites(view.x)
        return scores if self.marks is None else self.marks.replace_known(view.x, scores)

    def of_copies(self) -> Self:
        """Return the score that scores reference rows as new ones."""
        return replace(self, marks=None)

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first sites."""
        return replace(self, sites=self.sites.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without sites that are equal to a row of the view."""
        return replace(self, sites=self.sites.without(view.x), marks=None)

    def check(self, model: Model) -> None:
        """Raise a StateError unless the sites fit the model and there are marks."""
        self.sites.check(model.spec.n_features)
        check_marks(self.marks)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        return cls(state["name"], Sites(**state["sites"]), Marks(**state["marks"]))
