"""Scores by the hidden layers of a row and of its reconstruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from aedetect.model import mean_of_members, require_floats
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.thresholds import FloatArray

if TYPE_CHECKING:
    from aedetect.model import Model, View


@dataclass(frozen=True, eq=False)
class Layerwise(Score):
    """The distance between the activations of a row and of its reconstruction, layer by layer.

    SAP of Kim et al., "RaPP: Novelty detection with reconstruction along projection pathway",
    ICLR 2020. Differs from Kim et al.: each layer is divided by its mean over the reference rows,
    or the layer with the largest activations would decide alone; and the code is left out, since
    it separates anomalies worse than the layers before it.
    """

    usual: FloatArray  # (n_members, n_layers)

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with the mean squared distance of every layer."""
        distances = model.map_scaled(
            lambda view: _squared_distances(view).movedim(0, 1), reference.x
        )
        means = distances.mean(axis=0)
        return cls(name, np.where(means > 0, means, 1.0))

    def __call__(self, view: View) -> Tensor:
        """Return the mean over layers of the squared distance divided by the usual one."""
        usual = torch.from_numpy(self.usual).to(view.x.device)
        return mean_of_members((_squared_distances(view) / usual[:, None]).mean(dim=2))

    def check(self, model: Model) -> None:
        """Raise a StateError unless there is one usual distance a member and layer, above 0."""
        shape = (model.spec.n_members, len(model.shapes().activations) - 1)
        require_floats("the usual distance", self.usual, shape, positive=True)


def _squared_distances(view: View) -> Tensor:
    """Return the squared distances in each layer but the code, ``(M, B, n_layers)``."""
    pairs = list(zip(view.activations, view.restored_activations, strict=True))[:-1]
    return torch.stack([(h - h_hat).double().square().sum(dim=2) for h, h_hat in pairs], dim=2)
