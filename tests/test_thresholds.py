"""Thresholds of scores."""

from __future__ import annotations

import numpy as np
import pytest

from aedetect.scoring.thresholds import AUTO_RATE, alarm_threshold, threshold

NONE = np.array([], dtype=int)


def chi_squared(n_rows, seed=0):
    return 3.0 * np.random.RandomState(seed).chisquare(10, n_rows)


DISTRIBUTIONS = {
    "light": lambda rng, n: rng.uniform(1, 1.1, n),
    "chi-squared": lambda rng, n: rng.chisquare(10, n),
    "heavy": lambda rng, n: rng.f(5, 2, n),
    "a few values": lambda rng, n: rng.poisson(20, n) + 1.0,
}


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
def test_contamination_flags_that_share(contamination):
    scores = -chi_squared(1000)
    flagged = scores < threshold(scores, contamination, NONE)
    assert flagged.mean() == pytest.approx(contamination, abs=1e-3)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_auto_flags_a_fortieth_of_new_rows_whatever_their_distribution(name):
    rng = np.random.RandomState(0)
    rates = []
    for _ in range(50):
        scores, new = (-DISTRIBUTIONS[name](rng, n) for n in (1000, 10_000))
        rates.append((new < threshold(scores, "auto", NONE)).mean())
    lowest = 0.5 if name == "a few values" else 0.8  # equal scores are flagged together or not
    assert lowest * AUTO_RATE < np.mean(rates) < 1.2 * AUTO_RATE


def test_auto_takes_scores_as_they_are_where_all_rows_were_held_out():
    scores = -chi_squared(1000)
    assert threshold(scores, "auto", np.arange(1000)) == threshold(scores, "auto", NONE)


@pytest.mark.parametrize("n_rows", [20, 60, 1000])
def test_auto_flags_all_rows_that_stand_far_apart(n_rows):
    scores = -chi_squared(n_rows)
    n_odd = n_rows // 20
    mixed = np.r_[scores, np.full(n_odd, 20 * scores.min())]
    offset = threshold(mixed, "auto", NONE)
    assert (mixed[-n_odd:] < offset).all()
    assert (scores < offset).mean() < 2 * AUTO_RATE


def test_auto_allows_for_rows_that_the_network_has_learned_by_heart():
    fresh = chi_squared(10_000, seed=1)
    scores = -np.r_[fresh[:1000], chi_squared(9000) / 50]
    offset = threshold(scores, "auto", np.arange(1000))
    assert (-fresh < offset).mean() == pytest.approx(AUTO_RATE, abs=0.01)
    assert (-fresh < threshold(scores, "auto", NONE)).mean() > 0.5


def test_few_scores_give_the_lowest_of_them():
    for n_rows in (1, 2, 38):
        scores = -chi_squared(n_rows)
        assert alarm_threshold(scores, AUTO_RATE) == scores.min()


@pytest.mark.parametrize("held_out", [NONE, np.array([2]), np.array([2, 3])], ids=len)
@pytest.mark.parametrize("contamination", ["auto", 0.3])
def test_equal_rows_are_all_normal(contamination, held_out):
    for error in [0.0, 1e30, *np.random.RandomState(0).lognormal(size=100)]:
        scores = np.full(7, -error)
        assert not (scores < threshold(scores, contamination, held_out)).any()
