"""The default score of tables whose training rows are known to be clean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from aedetect.model import require
from aedetect.scoring.reconstruction import Reconstruction
from aedetect.scoring.residual import KernelResidual
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.whitened import Whitened

if TYPE_CHECKING:
    from aedetect.model import Model, View


@dataclass(frozen=True, eq=False)
class Sharp(Score):
    """The geometric mean of ``"activations"``, ``"kernel_residual"`` and ``"reconstruction"``.

    All three follow the training rows closely, so anomalies among these rows would look normal.
    Units cancel in a product, so nothing has to be calibrated. The reconstruction error has half
    the weight of the others.
    """

    activations: Whitened
    residual: KernelResidual
    reconstruction: Reconstruction

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with its parts fitted."""
        return cls(
            name,
            Whitened.fit("activations", model, reference),
            KernelResidual.fit("kernel_residual", model, reference),
            Reconstruction("reconstruction"),
        )

    def __call__(self, view: View) -> Tensor:
        """Return the weighted geometric mean of the parts."""
        parts = (self.activations, self.residual, self.reconstruction)
        logs = [torch.log(part(view)) for part in parts]
        return torch.exp(0.4 * logs[0] + 0.4 * logs[1] + 0.2 * logs[2])

    def of_copies(self) -> Self:
        """Return the score that scores reference rows as new ones."""
        return replace(self, activations=self.activations.of_copies())

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first rows of the regression."""
        return replace(self, residual=self.residual.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without the reference rows of a view."""
        return replace(
            self,
            activations=self.activations.leaving_out(view),
            residual=self.residual.leaving_out(view),
        )

    def check(self, model: Model) -> None:
        """Raise a StateError if a part does not fit the model."""
        names = (self.activations.name, self.residual.name, self.reconstruction.name)
        expected = ("activations", "kernel_residual", "reconstruction")
        require(names == expected, "the score combines others than it should")
        self.activations.check(model)
        self.residual.check(model)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        return cls(
            state["name"],
            Whitened.from_state(state["activations"]),
            KernelResidual(**state["residual"]),
            Reconstruction(**state["reconstruction"]),
        )
