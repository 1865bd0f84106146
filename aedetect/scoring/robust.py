"""The default score of tables, for training rows that nobody has checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from aedetect.model import mean_of_members, require, require_number
from aedetect.scoring.density import Sites, fit_sites
from aedetect.scoring.marks import Marks, check_marks, fit_marks
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.sketch import sketch
from aedetect.scoring.thresholds import FloatArray
from aedetect.scoring.whitened import WHITENED
from aedetect.scoring.whitening import Whitening, check_whitenings, fit_whitening

if TYPE_CHECKING:
    from aedetect.model import Model, View

N_COLUMNS = 256  # of the sketches of activations, whose covariance is taken


@dataclass(frozen=True, eq=False)
class Robust(Score):
    """The sum of a Mahalanobis distance of activations and of ``"density"``.

    Each is divided by the value that a tenth of the reference rows exceeds, so a row is odd if one
    of them finds it odd. Anomalies among the training rows would stretch the covariance until they
    look normal. So every row has a weight in it, which falls with the square of the row's harmonic
    mean distance to the sites once that is above its median.
    """

    sites: Sites
    usual: float  # median of the squared harmonic mean distances of the reference rows
    whitenings: list[Whitening]  # of each member
    total: float  # sum of the weights
    units: tuple[float, float]  # of the Mahalanobis distance and of the density
    marks: Marks | None  # None: every row is scored as a new one

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with sites, weights, and a covariance of each member."""
        sites = fit_sites(reference.x)
        spread = sites.of_rows(reference.x)
        usual = float(np.median(spread))
        weights = _weights(spread, usual)
        rows = model.map_scaled(lambda view: _rows(view).movedim(0, 1), reference.x)
        fitted = [fit_whitening(rows[:, member], weights) for member in range(rows.shape[1])]
        distances = np.mean([left_out for _, left_out in fitted], axis=0)
        units = (_unit(distances), _unit(spread))
        marks = fit_marks(reference.x, distances / units[0] + spread / units[1])
        whitenings = [whitening for whitening, _ in fitted]
        return cls(name, sites, usual, whitenings, float(weights.sum()), units, marks)

    def __call__(self, view: View) -> Tensor:
        """Return the sum of both distances."""
        pairs = zip(self.whitenings, _rows(view), strict=True)
        distances = torch.stack([whitening(member) for whitening, member in pairs])
        scores = mean_of_members(distances) / self.units[0] + self.sites(view.x) / self.units[1]
        return scores if self.marks is None else self.marks.replace_known(view.x, scores)

    def of_copies(self) -> Self:
        """Return the score that scores reference rows as new ones."""
        return replace(self, marks=None)

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first sites."""
        return replace(self, sites=self.sites.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without the reference rows of a view."""
        sites = self.sites.without(view.x)
        if self.marks is None:
            return replace(self, sites=sites)
        x = self.marks.known_rows(view.x)
        if not len(x):
            return replace(self, sites=sites, marks=None)
        weights = torch.from_numpy(_weights(self.sites(x).cpu().numpy(), self.usual))
        whitenings = [
            whitening.without(member, self.total, weights.to(member.device))
            for whitening, member in zip(
                self.whitenings, _rows(type(view)(view.model, x)), strict=True
            )
        ]
        return replace(self, sites=sites, whitenings=whitenings, marks=None)

    def check(self, model: Model) -> None:
        """Raise a StateError if a part does not fit the model."""
        self.sites.check(model.spec.n_features)
        require_number("the usual distance", self.usual, above=0)
        require_number("the sum of the weights", self.total, above=0)
        require(len(self.units) == 2, "the score has not two units")
        for unit in self.units:
            require_number("a unit of the score", unit, above=0)
        width = _rows(model.shapes()).shape[2]
        check_whitenings(self.whitenings, model.spec.n_members, width)
        check_marks(self.marks)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        return cls(
            state["name"],
            Sites(**state["sites"]),
            state["usual"],
            [Whitening(**entry) for entry in state["whitenings"]],
            state["total"],
            tuple(state["units"]),
            Marks(**state["marks"]),
        )


def _rows(view: View) -> Tensor:
    """Return sketches of the activations and their differences, ``(M, B, width)``."""
    return sketch(torch.cat(WHITENED["activations"](view), dim=2), N_COLUMNS)


def _weights(spread: FloatArray, usual: float) -> FloatArray:
    """Return the weights of rows by their squared harmonic mean distances."""
    return np.minimum(1.0, usual / np.maximum(spread, np.finfo(float).tiny))


def _unit(values: FloatArray) -> float:
    """Return the value that a tenth of the rows exceeds, 1 where it is 0."""
    return float(np.quantile(values, 0.9)) or 1.0
