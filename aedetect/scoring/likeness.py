"""How like known anomalies rows are: a linear function, fitted to a few of these."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.linalg import solve
from torch import Tensor

from aedetect.model import Fitted, require, require_floats, require_number
from aedetect.scoring.sketch import sketch
from aedetect.scoring.thresholds import FloatArray
from aedetect.training import one_blas_thread

if TYPE_CHECKING:
    from aedetect.model import View

N_COLUMNS = 256  # of the sketches of wider rows
LARGEST = 6.0  # standard deviations at which a quantity is cut off
SMALLEST = 1e-3  # error added before a logarithm
TINY = 1e-30  # smaller measures have the logarithm of this one
RIDGE = 1.0  # penalty of squared weights, divided by the number of known anomalies
FEW = 10.0  # known normal rows that weigh as much as all other normal rows
N_FOLDS = 10
SUPPOSED = 0.5  # distance of known anomalies from normal rows before any is held out
SUPPOSED_ROWS = 2.0  # known anomalies that suppositions weigh as much as
FARTHEST = 6.0  # distance at most
OTHERS = 12.0  # those of other kinds to come for each known kind, times supposed and known rows
WEIGHT = 2.0  # of the logarithm of the odds against the standardised measure without labels
LARGEST_LIFT = 300.0  # of the logarithm of the measure, so that it stays finite


@dataclass(frozen=True, eq=False)
class Likeness:
    """A measure of how like known anomalies rows are, which raises the measure without labels.

    The likeness is a linear function of what the score sees in a row: its scaled cells, their
    sizes, their errors and the logarithms of these, and the mean squares of both. It is Fisher's
    discriminant, in units of its deviation over normal rows.
    """

    means: FloatArray  # (n_quantities,), over normal rows
    scales: FloatArray  # (n_quantities,)
    weights: FloatArray  # (n_quantities,)
    shift: float
    distance: float  # of new anomalies of the known kinds from normal rows, in deviations
    others: float  # anomalies of other kinds to come, for each one of the known kinds
    spread: float  # deviation of the logarithm of the measure without labels

    def join(self, view: View, measure: Tensor) -> Tensor:
        """Return the measure without labels, raised in rows that are like known anomalies.

        Of the anomalies to come, a share is taken to be of the known kinds. Their likeness is
        normal with mean ``distance`` and variance 1; that of all other anomalies and of normal rows
        is normal with mean 0 and variance 1. The density of anomalies divided by that of normal
        rows then is ``others + exp(distance * (likeness - distance / 2))``, up to a factor. Its
        logarithm is added to that of the measure. The smallest sum is that without labels, so no
        row seems less odd for them.
        """
        if self.distance == 0:
            return measure
        means, scales, weights = self._fitted.on(view.x.device)
        standard = ((quantities(view) - means) / scales).clamp(-LARGEST, LARGEST)
        likeness = (standard * weights).sum(dim=1) - self.shift
        lift = _lift(likeness, self.distance, self.others)
        return measure.clamp_min(TINY) * torch.exp((self.spread * lift).clamp_max(LARGEST_LIFT))

    def check(self, n_features: int) -> None:
        """Raise a StateError unless the arrays fit rows of so many features."""
        shape = (sum(group_widths(n_features)),)
        require_floats("the means of the likeness", self.means, shape)
        require_floats("the scales of the likeness", self.scales, shape, positive=True)
        require_floats("the weights of the likeness", self.weights, shape)
        require_number("the shift of the likeness", self.shift, above=-np.inf)
        require_number("the distance of known anomalies", self.distance, above=-np.inf)
        require(0 <= self.distance <= FARTHEST, f"known anomalies are {self.distance!r:.80} away")
        require_number("the share of other anomalies", self.others, above=0)
        require_number("the spread of the measure", self.spread, above=0)

    @cached_property
    def _fitted(self) -> Fitted:
        return Fitted(self.means, self.scales, self.weights)


def quantities(view: View) -> Tensor:
    """Return what a likeness is a function of, ``(B, n_quantities)``, float64."""
    error = view.x - view.x_hat
    squares = [cells.double().square().mean(dim=1) for cells in (view.x, error)]
    x, error = (sketch(cells, N_COLUMNS).double() for cells in (view.x, error))
    logs = torch.log(torch.stack(squares, dim=1) + SMALLEST**2)
    return torch.cat([x, x.abs(), error, torch.log(error.abs() + SMALLEST), logs], dim=1)


def group_widths(n_features: int) -> list[int]:
    """Return the numbers of quantities by cells, by errors, and by mean squares.

    The three groups weigh alike, however many features there are.
    """
    width = min(n_features, N_COLUMNS)
    return [2 * width, 2 * width, 2]


class Seen(NamedTuple):
    """The quantities that a score has of some rows."""

    quantities: FloatArray  # (n_rows, n_quantities)
    logs: FloatArray  # (n_rows,), of the measure without labels


def fit_likeness(normal: Seen, anomalies: Seen, known_normal: Seen, widths: list[int]) -> Likeness:
    """Return the likeness to known anomalies.

    Parameters
    ----------
    normal : Seen
        Rows of which nearly all are normal.
    anomalies, known_normal : Seen
        Known rows of either kind; one anomaly at least.
    widths : list of int
        Numbers of quantities in each group, of :func:`group_widths`.
    """
    means = normal.quantities.mean(axis=0)
    scales = normal.quantities.std(axis=0) + 1e-6
    share = np.repeat(1 / np.sqrt(widths), widths)

    def standardize(seen: Seen) -> FloatArray:
        return ((seen.quantities - means) / scales).clip(-LARGEST, LARGEST) * share

    rows, odd, others = (standardize(seen) for seen in (normal, anomalies, known_normal))
    with one_blas_thread():
        weights, shift, distance = _fit_head(rows, odd, others)
    spread = float(normal.logs.std()) or 1.0
    others_to_come = _share_of_others(len(odd))
    return Likeness(means, scales, weights * share, shift, distance, others_to_come, spread)


def _fit_head(
    rows: FloatArray, odd: FloatArray, others: FloatArray
) -> tuple[FloatArray, float, float]:
    """Return weights and shift of the likeness, and the distance of anomalies by it.

    All three are in deviations over normal rows that were held out of the fit: those fitted to
    seem less like the anomalies than new rows do.
    """
    weights = _discriminate(rows, odd, others)
    held_rows, held_odd = np.empty(len(rows)), np.empty(len(odd))
    of_rows, of_odd = (np.arange(len(x)) % min(N_FOLDS, len(rows)) for x in (rows, odd))
    for fold in np.unique(of_rows):
        tested = (of_odd == fold) & (len(odd) > 1)
        kept = rows[of_rows != fold]
        other_weights = _discriminate(kept, odd[~tested], others)
        values = kept @ other_weights
        center, unit = values.mean(), float(values.std()) or 1.0
        held_rows[of_rows == fold] = (rows[of_rows == fold] @ other_weights - center) / unit
        held_odd[tested] = (odd[tested] @ other_weights - center) / unit
    center, unit = held_rows.mean(), float(held_rows.std()) or 1.0
    values = rows @ weights
    scale = (float(values.std()) or 1.0) * unit
    shift = float(values.mean()) / scale + center / unit
    distance = _shrink((held_odd - center) / unit) if len(odd) > 1 else SUPPOSED
    return weights / scale, shift, distance


def _discriminate(rows: FloatArray, odd: FloatArray, others: FloatArray) -> FloatArray:
    """Return the weights of Fisher's regularised discriminant of two classes."""
    mean, covariance = _moments(rows)
    if len(others):
        share = len(others) / (len(others) + FEW)
        own_mean, own_covariance = _moments(others)
        gap = own_mean - mean
        covariance = (1 - share) * covariance + share * own_covariance
        covariance += share * (1 - share) * np.outer(gap, gap)
        mean = mean + share * gap
    odd_mean, odd_covariance = _moments(odd)
    penalty = np.eye(len(mean)) * RIDGE / len(odd)
    return solve(covariance + odd_covariance / 2 + penalty, odd_mean - mean, assume_a="pos")


def _moments(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and covariance."""
    mean = rows.mean(axis=0)
    return mean, (rows - mean).T @ (rows - mean) / len(rows)


def _shrink(held_out: FloatArray) -> float:
    """Return the mean of held-out likenesses, shrunk to ``SUPPOSED`` where they are few."""
    total = held_out.sum() + SUPPOSED_ROWS * SUPPOSED
    return float(np.clip(total / (len(held_out) + SUPPOSED_ROWS), 0, FARTHEST))


def _share_of_others(n_known: int) -> float:
    """Return how many anomalies of other kinds are to come for each one of the known kinds.

    The more anomalies are known, the fewer are new to them.
    """
    return max(1.0, OTHERS / (n_known + SUPPOSED_ROWS))


def _lift(likeness: Tensor, distance: float, others: float) -> Tensor:
    """Return what is added to the standardised logarithm of the measure, 0 at least."""
    ratio = distance * (likeness - distance / 2)
    return WEIGHT * torch.logaddexp(ratio - np.log(others), torch.zeros_like(ratio))
