"""Scores by the Mahalanobis distance of activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from aedetect.scoring.marks import Marks, fit_marks
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.sketch import sketch
from aedetect.scoring.whitening import (
    Whitening,
    check_whitenings,
    fit_whitenings,
    leave_out,
    mean_distance,
)

if TYPE_CHECKING:
    from aedetect.model import Model, View


def _code(view: View) -> list[Tensor]:
    return [view.codes]


def _differences(view: View) -> list[Tensor]:
    pairs = zip(view.activations, view.restored_activations, strict=True)
    return [h - h_hat for h, h_hat in pairs]


def _activations_and_differences(view: View) -> list[Tensor]:
    return [*view.activations, *_differences(view)]


# Tensors (M, B, width) that a distance is taken of, side by side.
WHITENED: dict[str, Callable[[View], list[Tensor]]] = {
    "mahalanobis": _code,
    "nap": _differences,
    "activations": _activations_and_differences,
}


@dataclass(frozen=True, eq=False)
class Whitened(Score):
    """The squared Mahalanobis distance of the code or of activations, mean over directions.

    ``"nap"`` is NAP of Kim et al., "RaPP", ICLR 2020: the differences between the activations of a
    row and of its reconstruction. Differs from Kim et al.: a small ridge is added to the
    covariance, where they cut off directions without variance, in which anomalies show.
    ``"activations"`` takes the activations together with these differences, ``"mahalanobis"`` the
    code alone. Reference rows have a score of about 1 on average.
    """

    whitenings: list[Whitening]  # of each member
    marks: Marks

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with the mean and the covariance of each member."""
        rows = model.map_scaled(lambda view: rows_of(name, view).movedim(0, 1), reference.x)
        whitenings, distances = fit_whitenings(rows, model.device)
        return cls(name, whitenings, fit_marks(reference.x, distances / rows.shape[2]))

    def __call__(self, view: View) -> Tensor:
        """Return the squared distance of each row, divided by the number of directions."""
        rows = rows_of(self.name, view)
        return mean_distance(self.whitenings, rows) / rows.shape[2]

    @property
    def known(self) -> Marks:
        """All reference rows."""
        return self.marks

    def leaving_out(self, view: View) -> Self:
        """Return the score without the reference rows of a view in its covariances."""
        rows = partial(rows_of, self.name)
        return replace(self, whitenings=leave_out(self.whitenings, self.marks, view, rows))

    def check(self, model: Model) -> None:
        """Raise a StateError unless there is one whitening of the right width a member."""
        width = rows_of(self.name, model.shapes()).shape[2]
        check_whitenings(self.whitenings, model.spec.n_members, width)
        self.marks.check()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        whitenings = [Whitening(**entry) for entry in state["whitenings"]]
        return cls(state["name"], whitenings, Marks(**state["marks"]))


def rows_of(name: str, view: View) -> Tensor:
    """Return the values that a distance is taken of, ``(M, B, width)``."""
    return torch.cat([sketch(part) for part in WHITENED[name](view)], dim=2)
