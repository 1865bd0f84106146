"""The default score of tables whose training rows are known to be clean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from aedetect.model import require
from aedetect.scoring.marks import Marks, fit_marks
from aedetect.scoring.reconstruction import Reconstruction
from aedetect.scoring.residual import KernelResidual
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.thresholds import FloatArray
from aedetect.scoring.whitened import rows_of
from aedetect.scoring.whitening import (
    Whitening,
    check_whitenings,
    fit_whitenings,
    leave_out,
    mean_distance,
)

if TYPE_CHECKING:
    from aedetect.model import Model, View

Values = TypeVar("Values", Tensor, FloatArray)

_rows = partial(rows_of, "activations")


@dataclass(frozen=True, eq=False)
class Sharp(Score):
    """The geometric mean of ``"activations"``, ``"kernel_residual"`` and ``"reconstruction"``.

    All three follow the training rows closely, so anomalies among these rows would look normal.
    Units cancel in a product, so nothing has to be calibrated. The reconstruction error has half
    the weight of the others.
    """

    whitenings: list[Whitening]  # of the activations of each member
    residual: KernelResidual
    reconstruction: Reconstruction
    marks: Marks

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with its parts fitted."""
        rows = model.map_scaled(lambda view: _rows(view).movedim(0, 1), reference.x)
        whitenings, distances = fit_whitenings(rows, model.device)
        residual = KernelResidual.fit("kernel_residual", model, reference)
        reconstruction = Reconstruction("reconstruction")
        others = model.map_scaled(
            lambda view: torch.stack([residual(view), reconstruction(view)], dim=1), reference.x
        )
        with np.errstate(divide="ignore"):  # equal rows have no distance
            logs = np.log([distances / rows.shape[2], *others.T])
        marks = fit_marks(reference.x, np.exp(_weighted(*logs)))
        return cls(name, whitenings, residual, reconstruction, marks)

    def __call__(self, view: View) -> Tensor:
        """Return the weighted geometric mean of the parts."""
        rows = _rows(view)
        distances = mean_distance(self.whitenings, rows) / rows.shape[2]
        parts = (distances, self.residual(view), self.reconstruction(view))
        return torch.exp(_weighted(*[torch.log(part) for part in parts]))

    @property
    def known(self) -> Marks:
        """All reference rows."""
        return self.marks

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first rows of the regression."""
        return replace(self, residual=self.residual.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without the reference rows of a view."""
        whitenings = leave_out(self.whitenings, self.marks, view, _rows)
        return replace(self, whitenings=whitenings, residual=self.residual.leaving_out(view))

    def check(self, model: Model) -> None:
        """Raise a StateError if a part does not fit the model."""
        names = (self.residual.name, self.reconstruction.name)
        expected = ("kernel_residual", "reconstruction")
        require(names == expected, "the score combines others than it should")
        check_whitenings(self.whitenings, model.spec.n_members, _rows(model.shapes()).shape[2])
        self.residual.check(model)
        self.marks.check()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        return cls(
            state["name"],
            [Whitening(**entry) for entry in state["whitenings"]],
            KernelResidual(**state["residual"]),
            Reconstruction(**state["reconstruction"]),
            Marks(**state["marks"]),
        )


def _weighted(activations: Values, residual: Values, reconstruction: Values) -> Values:
    """Return the weighted mean of logarithms."""
    return 0.4 * activations + 0.4 * residual + 0.2 * reconstruction
