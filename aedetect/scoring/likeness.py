"""How like known anomalies rows are: a linear function, fitted to a few of these."""

from __future__ import annotations

from collections.abc import Iterator
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
TRUST = 0.3  # weight of the measure without labels that other weights of it are shrunk to
FEW = 10.0  # known normal rows that weigh as much as all other normal rows
STRENGTHS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
USUAL = 1.5  # strength that held-out anomalies have to speak against
N_FOLDS = 10  # of the known anomalies, at most


@dataclass(frozen=True, eq=False)
class Likeness:
    """A measure of how like known anomalies rows are, joined with the measure without labels.

    The likeness is a linear function of what the score sees in a row: its scaled cells, their
    sizes, their errors and the logarithms of these, the mean squares of both, and the logarithm of
    the measure without labels. It is Fisher's discriminant, in units of its deviation over normal
    rows.
    """

    means: FloatArray  # (n_quantities,), over normal rows
    scales: FloatArray  # (n_quantities,)
    weights: FloatArray  # (n_quantities,)
    trust: float  # weight of the measure without labels, standardised
    shift: float
    level: float  # mean of the logarithms of that measure
    spread: float  # their deviation
    strength: float  # of the likeness against that measure

    def join(self, view: View, measure: Tensor) -> Tensor:
        """Return the p-norm of the measure without labels and of the likeness.

        It is above either, so no row seems less odd for the labels, and a row is odd if one of both
        finds it odd. The exponent makes the logarithm of the measure have deviation 1.
        """
        if self.strength == 0:
            return measure
        own = (torch.log(measure.clamp_min(TINY)) - self.level) / self.spread
        means, scales, weights = self._fitted.on(view.x.device)
        standard = ((quantities(view) - means) / scales).clamp(-LARGEST, LARGEST)
        likeness = (standard * weights).sum(dim=1) + self.trust * own - self.shift
        joined = torch.logaddexp(own, self.strength * likeness)
        return torch.exp(self.level + self.spread * joined)

    def check(self, n_features: int) -> None:
        """Raise a StateError unless the arrays fit rows of so many features."""
        shape = (sum(group_widths(n_features)),)
        require_floats("the means of the likeness", self.means, shape)
        require_floats("the scales of the likeness", self.scales, shape, positive=True)
        require_floats("the weights of the likeness", self.weights, shape)
        for name in ("trust", "shift", "level"):
            require_number(f"the {name} of the likeness", getattr(self, name), above=-np.inf)
        require_number("the spread of the likeness", self.spread, above=0)
        require(
            self.strength in STRENGTHS, f"the strength of the likeness is {self.strength!r:.80}"
        )

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
    level, spread = float(normal.logs.mean()), float(normal.logs.std()) or 1.0
    share = np.repeat(1 / np.sqrt(widths), widths)

    def standardize(seen: Seen) -> FloatArray:
        standard = ((seen.quantities - means) / scales).clip(-LARGEST, LARGEST)
        return np.column_stack([standard * share, (seen.logs - level) / spread])

    rows, odd, others = (standardize(seen) for seen in (normal, anomalies, known_normal))
    with one_blas_thread():
        head = _Head.fit(rows, odd, others)
        strength = _find_strength(rows, odd, others) if len(odd) > 1 else USUAL
    weights, trust = head.weights[:-1] * share, float(head.weights[-1])
    return Likeness(means, scales, weights, trust, head.shift, level, spread, strength)


class _Head(NamedTuple):
    """A linear function of standardised rows with deviation 1 and mean 0 over normal rows."""

    weights: FloatArray
    shift: float

    def __call__(self, rows: FloatArray) -> FloatArray:
        return rows @ self.weights - self.shift

    @classmethod
    def fit(cls, rows: FloatArray, odd: FloatArray, others: FloatArray) -> _Head:
        """Return the regularised least-squares classifier of two classes of equal weight.

        The penalty of the last weight, that of the measure without labels, is for its distance from
        ``TRUST``.
        """
        mean, covariance = _moments(rows)
        if len(others):
            share = len(others) / (len(others) + FEW)
            own_mean, own_covariance = _moments(others)
            gap = own_mean - mean
            covariance = (1 - share) * covariance + share * own_covariance
            covariance += share * (1 - share) * np.outer(gap, gap)
            mean = mean + share * gap
        odd_mean, odd_covariance = _moments(odd)
        gap = odd_mean - mean
        penalty = np.full(len(mean), RIDGE / len(odd))
        penalty[-1] = 1.0
        left = covariance + odd_covariance + np.outer(gap, gap) / 2 + np.diag(penalty)
        right = gap.copy()
        right[-1] += TRUST
        weights = solve(left, right, assume_a="pos")
        values = rows @ weights
        deviation = float(values.std()) or 1.0
        return cls(weights / deviation, float(values.mean()) / deviation)


def _moments(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and covariance."""
    mean = rows.mean(axis=0)
    return mean, (rows - mean).T @ (rows - mean) / len(rows)


def _find_strength(rows: FloatArray, odd: FloatArray, others: FloatArray) -> float:
    """Return the strength at which anomalies are oddest, each held out of the fit.

    The mean over anomalies of the logarithm of the share of normal rows that are as odd decides,
    less a penalty for the distance from ``USUAL``, which a few anomalies must outweigh.
    """
    head = _Head.fit(rows, odd, others)
    likeness, own = head(rows), rows[:, -1]
    held_out = np.empty(len(odd))
    for fold in _folds(len(odd)):
        held_out[fold] = _Head.fit(rows, odd[~fold], others)(odd[fold])

    def gain(strength: float) -> float:
        joined = np.sort(_join(own, likeness, strength))
        n_odder = len(rows) - np.searchsorted(joined, _join(odd[:, -1], held_out, strength))
        shares = (n_odder + 1) / (len(rows) + 1)
        return float(-np.log(shares).sum() - abs(np.log((strength + 0.1) / (USUAL + 0.1))))

    return max(STRENGTHS, key=gain)


def _join(own: FloatArray, likeness: FloatArray, strength: float) -> FloatArray:
    return own if strength == 0 else np.logaddexp(own, strength * likeness)


def _folds(n_rows: int) -> Iterator[np.ndarray]:
    numbers = np.arange(n_rows) % min(n_rows, N_FOLDS)
    for fold in range(min(n_rows, N_FOLDS)):
        yield numbers == fold
