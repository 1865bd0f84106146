"""The default score of tables, for training rows that nobody has checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from aedetect.model import require, require_number
from aedetect.scoring.density import Sites, fit_sites
from aedetect.scoring.marks import Marks, fit_marks
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.sketch import sketch
from aedetect.scoring.thresholds import FloatArray
from aedetect.scoring.whitened import WHITENED
from aedetect.scoring.whitening import (
    Whitening,
    check_whitenings,
    fit_whitenings,
    leave_out,
    mean_distance,
)

if TYPE_CHECKING:
    from aedetect.model import Model, View

N_COLUMNS = 256  # of the sketches that a covariance is taken of


@dataclass(frozen=True, eq=False)
class Robust(Score):
    """The sum of a Mahalanobis distance and of ``"density"``.

    The Mahalanobis distance is that of sketches of ``"activations"``. Each summand is divided by
    the value that a tenth of the reference rows exceeds, so a row is odd if one of them finds it
    odd. Anomalies among the training rows stretch the covariance until they look normal to it. They
    stay odd by ``"density"`` while they are few and far off.
    """

    sites: Sites
    whitenings: list[Whitening]  # of each member
    units: tuple[float, float]  # of the Mahalanobis distance and of the density
    marks: Marks

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with sites, and a covariance of each member."""
        sites = fit_sites(reference.x)
        spread = sites.of_rows(reference.x, model.device)
        rows = model.map_scaled(lambda view: _rows(view).movedim(0, 1), reference.x)
        whitenings, distances = fit_whitenings(rows, model.device)
        units = (_unit(distances), _unit(spread))
        marks = fit_marks(reference.x, distances / units[0] + spread / units[1])
        return cls(name, sites, whitenings, units, marks)

    def __call__(self, view: View) -> Tensor:
        """Return the sum of both distances."""
        distances = mean_distance(self.whitenings, _rows(view))
        return distances / self.units[0] + self.sites(view.x) / self.units[1]

    @property
    def known(self) -> Marks:
        """All reference rows."""
        return self.marks

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first sites."""
        return replace(self, sites=self.sites.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without the reference rows of a view."""
        whitenings = leave_out(self.whitenings, self.marks, view, _rows)
        return replace(self, sites=self.sites.without(view.x), whitenings=whitenings)

    def check(self, model: Model) -> None:
        """Raise a StateError if a part does not fit the model."""
        self.sites.check(model.spec.n_features)
        require(len(self.units) == 2, "the score has not two units")
        for unit in self.units:
            require_number("a unit of the score", unit, above=0)
        width = _rows(model.shapes()).shape[2]
        check_whitenings(self.whitenings, model.spec.n_members, width)
        self.marks.check()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        return cls(
            state["name"],
            Sites.from_state(state["sites"]),
            [Whitening(**entry) for entry in state["whitenings"]],
            tuple(state["units"]),
            Marks(**state["marks"]),
        )


def _rows(view: View) -> Tensor:
    """Return sketches of the activations and their differences, ``(M, B, width)``."""
    return sketch(torch.cat(WHITENED["activations"](view), dim=2), N_COLUMNS)


def _unit(values: FloatArray) -> float:
    """Return the value that a tenth of the rows exceeds, 1 where it is 0."""
    return float(np.quantile(values, 0.9)) or 1.0
