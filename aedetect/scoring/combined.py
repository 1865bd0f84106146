"""The default score of tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from aedetect.model import require
from aedetect.scoring.neighbors import RowNeighbors
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.whitened import Whitened

if TYPE_CHECKING:
    from aedetect.model import Model, View


@dataclass(frozen=True, eq=False)
class Combined(Score):
    """The geometric mean of ``"activations"`` and ``"neighbors"``.

    A row is odd if both find it odd, or if one does so strongly. Units cancel in a product, so
    nothing has to be calibrated.
    """

    activations: Whitened
    neighbors: RowNeighbors

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with both of its parts fitted."""
        return cls(
            name,
            Whitened.fit("activations", model, reference),
            RowNeighbors.fit("neighbors", model, reference),
        )

    def __call__(self, view: View) -> Tensor:
        """Return the geometric mean of both scores."""
        logs = [torch.log(score(view)) for score in (self.activations, self.neighbors)]
        return torch.exp(torch.stack(logs).mean(dim=0))

    def of_copies(self) -> Self:
        """Return the score that scores reference rows as new ones."""
        return replace(self, activations=self.activations.of_copies())

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first rows in its neighbour bank."""
        return replace(self, neighbors=self.neighbors.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without the reference rows of a view."""
        return replace(
            self,
            activations=self.activations.leaving_out(view),
            neighbors=self.neighbors.leaving_out(view),
        )

    def check(self, model: Model) -> None:
        """Raise a StateError if a part does not fit the model."""
        names = (self.activations.name, self.neighbors.name)
        require(names == ("activations", "neighbors"), "the score combines others than it should")
        self.activations.check(model)
        self.neighbors.check(model)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        return cls(
            state["name"],
            Whitened.from_state(state["activations"]),
            RowNeighbors.from_state(state["neighbors"]),
        )
