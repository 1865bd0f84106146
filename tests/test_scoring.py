from __future__ import annotations

import numpy as np
import pytest

from aedetect.scoring.thresholds import AUTO_SHARE, chi_squared_limit, threshold

NONE = np.array([], dtype=int)


def chi_squared(n_rows, seed=0):
    return 3.0 * np.random.RandomState(seed).chisquare(10, n_rows)


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
def test_contamination_flags_that_share(contamination):
    scores = -chi_squared(1000)
    flagged = scores < threshold(scores, contamination, NONE)
    assert flagged.mean() == pytest.approx(contamination, abs=1e-3)


def test_auto_flags_a_fortieth_of_chi_squared_errors():
    errors = chi_squared(100_000)
    assert (errors > chi_squared_limit(errors, NONE)).mean() == pytest.approx(0.025, abs=0.003)


def test_auto_takes_errors_as_they_are_where_all_rows_were_held_out():
    errors = chi_squared(1000)
    assert chi_squared_limit(errors, np.arange(1000)) == chi_squared_limit(errors, NONE)


def test_auto_hardly_moves_when_a_tenth_of_the_rows_is_anomalous():
    clean = chi_squared(1000)
    mixed = np.r_[clean, np.full(100, 1e6)]
    assert chi_squared_limit(mixed, NONE) < 1.2 * chi_squared_limit(clean, NONE)


def test_auto_allows_for_rows_that_the_network_has_learned_by_heart():
    fresh = chi_squared(10_000, seed=1)
    learned = np.r_[fresh[:1000], chi_squared(9000) / 50]
    limit = chi_squared_limit(learned, np.arange(1000))
    assert (fresh > limit).mean() == pytest.approx(0.025, abs=0.01)
    assert (fresh > chi_squared_limit(learned, NONE)).mean() > 0.9


def test_auto_flags_at_least_a_small_share_where_the_tail_is_light():
    scores = -np.linspace(1, 1.1, 1000)
    assert (scores < threshold(scores, "auto", NONE)).mean() == pytest.approx(AUTO_SHARE, abs=1e-3)


@pytest.mark.parametrize("held_out", [NONE, np.array([2])], ids=["none", "one"])
@pytest.mark.parametrize("contamination", ["auto", 0.3])
def test_equal_rows_are_all_normal(contamination, held_out):
    for error in [0.0, 1e30, *np.random.RandomState(0).lognormal(size=100)]:
        scores = np.full(7, -error)
        assert not (scores < threshold(scores, contamination, held_out)).any()
