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

from aedetect.model import Fitted, infer, require, require_floats
from aedetect.scoring.marks import Marks, fit_marks
from aedetect.scoring.neighbors import SAME
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.sketch import sketch
from aedetect.scoring.thresholds import FloatArray

if TYPE_CHECKING:
    from aedetect.model import Model, View

N_SITES = 250  # training rows at most that distances are taken to
SHARE = 0.1  # of the sites that are nearer than the distance, or as near
LEAST = 5  # sites that are, if there are more
WIDE_SHARE = 0.3  # that share where anomalies among the training rows are to be left out
N_COLUMNS = 256  # of the sketches of wider rows
LARGEST = 1e17  # size of a cell, in scaled units; squares of larger ones are beyond float32


@dataclass(frozen=True, eq=False)
class Sites:
    """Some training rows, and the distance to the nearest tenth of them.

    That is the distance to the 25th nearest of 250 sites. So a clump of equal rows far from all
    others is odd, however many near neighbours each of them has, as long as it is smaller.
    """

    points: NDArray[np.float32]  # (n_sites, min(n_features, N_COLUMNS))
    n_nearest: int  # the distance is that to the farthest of so many

    def __call__(self, x: Tensor) -> Tensor:
        """Return the squared distances of scaled rows, ``(B,)``, float64."""
        points, half_squares = self._tensors.on(x.device)
        rows = _narrow(x)
        # -|x - p|^2 / 2 without |x|^2, which all sites share.
        closeness = F.linear(rows, points, -half_squares)
        farthest = _largest(closeness, self.n_nearest)
        return torch.sub(rows.square().sum(dim=1), farthest, alpha=2).clamp_min(0).double()

    def of_rows(self, x: NDArray[np.float32], device: torch.device | None = None) -> FloatArray:
        """Return the measure of scaled rows, of which the first are the sites, each left out."""
        squares = cdist(self.points, self.points, "sqeuclidean")
        np.fill_diagonal(squares, np.inf)
        nearest = np.partition(squares, self.n_nearest - 1, axis=1)[:, self.n_nearest - 1]
        return np.concatenate([nearest, infer(self, x, device=device)[len(self.points) :]])

    def without(self, x: Tensor) -> Self:
        """Return the sites without those that are equal to a row, as long as two are left.

        No row is nearer to the sites that are left: ``n_nearest`` stays as long as it can.
        """
        rows, points = _narrow(x).cpu().double(), torch.from_numpy(self.points).double()
        rounding = SAME * rows.norm(dim=1, keepdim=True)
        kept = (torch.cdist(rows, points) > rounding).all(dim=0).numpy()
        if kept.sum() < 2:
            return self
        n_nearest = min(self.n_nearest, int(kept.sum()) - 1)
        return replace(self, points=self.points[kept], n_nearest=n_nearest)

    def without_first(self, n_rows: int) -> Self:
        """Return the sites without the first ones, as long as two are left."""
        if len(self.points) - n_rows < 2:
            return self
        points = self.points[n_rows:]
        return replace(self, points=points, n_nearest=_n_nearest(len(points), SHARE))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the sites of a state; those of earlier versions, with a smoothing, are refused."""
        require(
            "smoothing" not in state,
            "its score is that of an earlier version of aedetect; fit the estimator again",
        )
        return cls(**state)

    def check(self, n_features: int) -> None:
        """Raise a StateError unless there are two sites or more, of the right width."""
        require(np.ndim(self.points) == 2 and len(self.points) > 1, "there are less than two sites")
        shape = (len(self.points), min(n_features, N_COLUMNS))
        require_floats("the sites", self.points, shape, np.float32)
        is_number = type(self.n_nearest) is int and 0 < self.n_nearest < len(self.points)
        require(is_number, f"the nearest {self.n_nearest!r:.80} of {len(self.points)} sites")

    @cached_property
    def _tensors(self) -> Fitted:
        with np.errstate(over="ignore"):  # a score that is not finite is refused later
            half_squares = np.square(self.points).sum(axis=1) / 2
        return Fitted(self.points, half_squares)


def fit_sites(x: NDArray[np.float32], share: float = SHARE) -> Sites:
    """Return the first of the scaled rows, which are in random order, as sites."""
    points = np.ascontiguousarray(_narrow(torch.from_numpy(x[:N_SITES])).numpy())
    return Sites(points, _n_nearest(len(points), share))


def _largest(values: Tensor, number: int) -> Tensor:
    """Return the value of each row that ``number - 1`` others are above; the rows get reordered."""
    if values.requires_grad or values.device.type != "cpu" or torch.compiler.is_exporting():
        return values.topk(number, dim=1, sorted=False).values.amin(dim=1)
    # Faster than topk, and the same value.
    rows = values.numpy()
    rows.partition(-number, axis=1)
    return torch.from_numpy(rows[:, -number])


def _n_nearest(n_sites: int, share: float) -> int:
    return min(max(LEAST, int(share * n_sites)), n_sites - 1)


def _narrow(x: Tensor) -> Tensor:
    """Return sketches of rows, whose squares are numbers of float32 if the rows are finite."""
    rows = sketch(x, N_COLUMNS)
    # Of an infinite cell, 0 times the row makes NaN, which is refused as a score.
    return torch.add(rows.clamp(-LARGEST, LARGEST), rows, alpha=0)


@dataclass(frozen=True, eq=False)
class Density(Score):
    """The squared distance to the nearest tenth of up to 250 training rows."""

    sites: Sites
    marks: Marks

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with the first reference rows as sites."""
        sites = fit_sites(reference.x)
        return cls(name, sites, fit_marks(reference.x, sites.of_rows(reference.x, model.device)))

    def __call__(self, view: View) -> Tensor:
        """Return the squared distance of each row."""
        return self.sites(view.x)

    @property
    def known(self) -> Marks:
        """All reference rows."""
        return self.marks

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first sites."""
        return replace(self, sites=self.sites.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without sites that are equal to a row of the view."""
        return replace(self, sites=self.sites.without(view.x))

    def check(self, model: Model) -> None:
        """Raise a StateError unless the sites fit the model and there are marks."""
        self.sites.check(model.spec.n_features)
        self.marks.check()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        return cls(state["name"], Sites.from_state(state["sites"]), Marks(**state["marks"]))
