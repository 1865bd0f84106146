"""Scores by the reconstruction error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from aedetect.model import require_floats
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.thresholds import FloatArray

if TYPE_CHECKING:
    from aedetect.model import Model, View

SMALLEST = 0.01  # share of the mean error that the usual error of a feature is at least


@dataclass(frozen=True, eq=False)
class Reconstruction(Score):
    """The reconstruction error, summed over features."""

    def __call__(self, view: View) -> Tensor:
        """Return the error of each row."""
        return self.parts(view).sum(dim=1)

    def parts(self, view: View) -> Tensor:
        """Return the error of each feature."""
        return view.model.columns.sum_entries(view.errors)


@dataclass(frozen=True, eq=False)
class Standardized(Score):
    """The mean over features of the reconstruction error divided by the feature's usual error."""

    usual: FloatArray  # (n_features,), the mean error of held-out rows

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with the mean error of each feature on held-out rows."""
        columns = model.columns
        errors = model.map_scaled(lambda view: columns.sum_entries(view.errors), reference.x)
        usual = errors[: reference.n_held_out or None].mean(axis=0)
        # A feature without error must not turn a tiny drift into a huge score.
        return cls(name, np.maximum(usual, SMALLEST * usual.mean() or 1.0))

    def __call__(self, view: View) -> Tensor:
        """Return the mean ratio of each row."""
        return self.parts(view).sum(dim=1)

    def parts(self, view: View) -> Tensor:
        """Return the ratio of each feature, divided by the number of features."""
        usual = torch.from_numpy(self.usual).to(view.x.device)
        return view.model.columns.sum_entries(view.errors) / usual / len(self.usual)

    def check(self, model: Model) -> None:
        """Raise a StateError unless there is one usual error a feature, above 0."""
        require_floats("the usual error", self.usual, (model.columns.n_features,), positive=True)
