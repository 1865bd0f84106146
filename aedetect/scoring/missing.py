"""Scores of rows with missing cells, brought to the level of complete rows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.model import Fitted, require, require_floats, require_keys
from aedetect.scoring.score import Score
from aedetect.scoring.thresholds import FloatArray

if TYPE_CHECKING:
    from aedetect.model import Model

HIDDEN_SHARES = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the observed cells
N_CALIBRATED = 1_000  # rows at most
N_GROUPS = 12  # of rows with about as many missing cells
QUANTILES = (0.5, 0.9)  # that are brought to the level of complete rows
STEEPEST = 4.0  # slope of the map of logarithms: nearly equal scores are not torn apart
TINY = 1e-30  # smaller scores have the logarithm of this one


@dataclass(frozen=True, eq=False)
class Levels:
    """A linear map of the logarithm of a score for each number of missing cells.

    Missing cells are filled with their reconstruction. Imputed values look too normal: the fewer
    cells are observed, the less odd a row seems. The map gives median and upper decile of normal
    rows the values that they have for complete rows.
    """

    slope: FloatArray  # (n_features + 1,), by the number of missing cells
    shift: FloatArray  # (n_features + 1,)

    def apply(self, scores: Tensor, missing: Tensor) -> Tensor:
        """Return the scores of filled rows at the level of complete rows.

        ``missing`` says which cells of the rows are missing, ``(B, n_features)``.
        """
        number = missing.sum(dim=1)
        slope, shift = (t[number] for t in self._tensors.on(scores.device))
        levelled = torch.exp(slope * torch.log(scores.clamp_min(TINY)) + shift)
        return torch.where(missing.any(dim=1), levelled, scores)

    @cached_property
    def _tensors(self) -> Fitted:
        return Fitted(self.slope, self.shift)

    def check(self, model: Model) -> None:
        """Raise a StateError unless there is a number for each number of missing cells."""
        shape = (model.columns.n_features + 1,)
        require(model.takes_missing, "levels belong to a network that takes missing cells")
        require_floats("the slopes of the levels", self.slope, shape, positive=True)
        require_floats("the shifts of the levels", self.shift, shape)

    def to_state(self) -> dict[str, Any]:
        """Return the arrays by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: Any) -> Levels:
        """Return the levels of a state."""
        require_keys("the levels", state, {"slope", "shift"})
        return cls(**state)


def fit_levels(score: Score, model: Model, x: NDArray[np.float32]) -> Levels:
    """Return the levels of a score.

    Parameters
    ----------
    score : Score
        Fitted to other rows than ``x``.
    model : Model
    x : ndarray of shape (n_rows, n_features), float32
        Scaled normal rows, with NaN or without. Their cells are hidden at random.
    """
    rng = np.random.RandomState(0)
    x = x[:N_CALIBRATED]
    columns = model.columns
    cells = (len(x), columns.n_features)
    hidden = [(rng.random_sample(cells) < share)[:, columns.sources] for share in HIDDEN_SHARES]
    rows = np.concatenate([np.where(cells, np.nan, x) for cells in hidden])
    rows = rows.astype(x.dtype, copy=False)
    scores = model.map_scaled(lambda view: score.judge(view.filled), rows)
    numbers = np.isnan(rows[:, columns.firsts]).sum(axis=1)
    return Levels(*_fit_map(numbers, np.log(np.maximum(scores, TINY)), columns.n_features))


def parts_of_observed(parts: Tensor, scores: Tensor, missing: Tensor) -> Tensor:
    """Return the summands of levelled scores: missing cells get 0, the others their share.

    Parameters
    ----------
    parts : Tensor of shape (B, F)
        Summands of the scores of filled rows.
    scores : Tensor of shape (B,)
        The levelled scores.
    missing : Tensor of shape (B, F)
        Which cells of the rows are missing.
    """
    parts = parts.masked_fill(missing, 0.0)
    total = parts.sum(dim=1, keepdim=True)
    even = (~missing).double() / (~missing).sum(dim=1, keepdim=True)
    shares = torch.where(total > 0, parts / total, even)
    return torch.where(missing.any(dim=1, keepdim=True), shares * scores[:, None], parts)


def _fit_map(
    numbers: NDArray[np.intp], logs: FloatArray, n_features: int
) -> tuple[FloatArray, FloatArray]:
    """Return slope and shift for every number of missing cells, ``(n_features + 1,)``."""
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, N_GROUPS + 1), method="lower"))
    group = np.digitize(numbers, edges[1:])
    groups = [group == index for index in np.unique(group)]
    centres = [numbers[rows].mean() for rows in groups]
    quantiles = np.array([np.quantile(logs[rows], QUANTILES) for rows in groups])
    all_numbers = np.arange(n_features + 1)
    median, upper = (np.interp(all_numbers, centres, values) for values in quantiles.T)
    spread = upper - median
    slope = np.divide(spread[0], spread, out=np.ones_like(spread), where=spread > 0)
    slope = slope.clip(1 / STEEPEST, STEEPEST)
    return slope, median[0] - slope * median
