"""Bets against uniform p-values: densities on [0, 1] that a test martingale is multiplied by.

Every density is constant on ``CELLS`` cells of equal width and averages 1 over them, so its mean
under the uniform distribution is 1, whatever its shape. Most are exponential tilts of normal
scores, which is the likelihood ratio of a shifted normal distribution: the ranks lose little
against the values (van der Waerden, 1952), and no distribution is assumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from aedetect.scoring import FloatArray

CELLS = 1024
CENTRES = (np.arange(CELLS) + 0.5) / CELLS
NORMAL_SCORES = ndtri(CENTRES)
SHIFTS = {0.2: 0.2, 0.5: 0.12, 1.1: 0.06}  # in deviations, with their prior weights
SPREADS = {0.6: 0.06, 1.7: 0.06}  # ratios of deviations
END = 0.03  # share of an end of the distribution
ORDER, LEVELS, LOW_END, COIN = range(
    4
)  # kinds of p-values: numbers, categories, odd rows, or one of two


class Bets(NamedTuple):
    """The bets of all kinds of p-values; a last column of ones bets nothing."""

    factors: FloatArray  # (n_bets, n_kinds * CELLS + 1)
    weights: FloatArray  # (n_bets, n_kinds), prior shares of the capital


NO_BET = 4 * CELLS  # the column of ones


@cache
def make_bets() -> Bets:
    """Return the table of bets."""
    kinds = [list(bets) for bets in (_of_order(), _of_levels(), _of_low_end(), _of_coin())]
    densities = [np.array([_density(tilt) for tilt, _ in kind]) for kind in kinds]
    factors = np.concatenate([*densities, np.ones((len(kinds[0]), 1))], axis=1)
    weights = np.array([[weight for _, weight in kind] for kind in kinds]).T
    return Bets(factors, weights / weights.sum(axis=0))


def _density(tilt: FloatArray) -> FloatArray:
    density = np.exp(tilt - tilt.max())
    return density / density.mean()


def _interval(low: float, high: float, odds: float) -> FloatArray:
    return np.where((low <= CENTRES) & (high > CENTRES), np.log(odds), 0.0)


def _shift(deviations: float) -> FloatArray:
    return deviations * NORMAL_SCORES


def _of_order() -> Iterator[tuple[NDArray, float]]:
    """Yield bets on shifts and spreads of a distribution, and on more rows at an end of it."""
    for size, weight in SHIFTS.items():
        yield _shift(size), weight
        yield _shift(-size), weight
    for ratio, weight in SPREADS.items():
        yield 0.5 * NORMAL_SCORES**2 * (1 - ratio**-2), weight
    yield _interval(0, END, 3), 0.06
    yield _interval(1 - END, 1, 3), 0.06


def _of_levels() -> Iterator[tuple[NDArray, float]]:
    """Yield bets on the shares of levels, which lie side by side on [0, 1] in a fixed order."""
    for quarter in range(4):
        for odds in (2, 0.5):
            yield _interval(quarter / 4, (quarter + 1) / 4, odds), 1
    yield _interval(0, END, 3), 1
    yield _interval(1 - END, 1, 3), 1  # where new levels and missing cells are


def _of_low_end() -> Iterator[tuple[NDArray, float]]:
    """Yield bets on more p-values near 0 than one in 20, 100 and 500."""
    for share, all_odds in {0.05: (1.5, 2, 4, 8), 0.01: (2, 4, 16), 0.002: (4, 16, 64)}.items():
        for odds in all_odds:
            yield _interval(0, share, odds), 1


def _of_coin() -> Iterator[tuple[NDArray, float]]:
    """Yield bets that a coin shows one side, the lower half, more often."""
    for share in np.linspace(0.55, 0.99, 10):
        yield _interval(0, 0.5, share / (1 - share)), 1
