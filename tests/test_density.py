"""The score by distances to some of the training rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from aedetect import AutoencoderTransformer
from aedetect.estimators import pooled
from aedetect.model import StateError, fit_columns
from aedetect.scoring.density import N_COLUMNS, N_SITES, Sites, fit_sites
from aedetect.scoring.registry import score_from_state


def fit(X, **settings):
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 1, "random_state": 0, **settings}
    return AutoencoderTransformer(2, anomaly_score="density", **settings).fit(X)


def random_sites(n_rows=40, width=3):
    rows = np.random.RandomState(0).randn(n_rows, width).astype(np.float32)
    return fit_sites(rows), rows


def test_scores_are_squared_distances_to_the_tenth_nearest_row(normal):
    X, X_new = normal[:100], normal[100:]
    detector = fit(X)
    rows, new = (detector.detector_.model.scale(part).astype(float) for part in (X, X_new))
    expected = np.sort(cdist(new, rows), axis=1)[:, 9] ** 2
    np.testing.assert_allclose(-detector.score_samples(X_new), expected, rtol=1e-4)
    left_out = np.sort(cdist(rows, rows), axis=1)[:, 10] ** 2  # the first is the row itself
    np.testing.assert_allclose(-detector.score_samples(X), left_out, rtol=1e-4)


def test_equal_rows_that_are_far_off_are_odder_than_all_others(normal):
    X = np.r_[normal, np.repeat(normal[:1] + 8 * normal.std(axis=0), 10, axis=0)]
    scores = fit(X).score_samples(X)
    assert scores[-10:].max() < scores[:-10].min()


def test_the_first_rows_are_sites_and_the_others_are_scored_by_them():
    rows = np.random.RandomState(0).randn(700, 3).astype(np.float32)
    sites = fit_sites(rows)
    np.testing.assert_array_equal(sites.points, rows[:N_SITES])
    others = sites(torch.from_numpy(rows[N_SITES:])).numpy()
    np.testing.assert_allclose(sites.of_rows(rows)[N_SITES:], others, rtol=1e-6)


def test_wide_rows_are_sketched():
    X = np.random.RandomState(0).randn(40, 2 * N_COLUMNS + 7)
    detector = fit(X)
    assert detector.detector_.score.sites.points.shape == (40, N_COLUMNS)
    assert detector.score_samples(3 * X).max() < detector.score_samples(X).min()


def test_a_site_that_is_left_out_brings_no_row_nearer():
    sites, rows = random_sites()
    x = torch.from_numpy(rows)
    without = sites.without(x[:3])
    assert len(without.points) == 37
    assert (without(x) >= sites(x)).all()
    assert (without(x) > sites(x)).any()
    twice = without.without(x[3:5])
    np.testing.assert_allclose(twice(x), sites.without(x[:5])(x))
    assert sites.without(x) is sites  # two are kept at least


def test_the_first_sites_are_dropped():
    sites, rows = random_sites()
    dropped = sites.without_first(10)
    np.testing.assert_array_equal(dropped.points, rows[10:])
    assert sites.without_first(39) is sites


def spread_of(rows):
    columns = fit_columns(rows, None, None, "mse")
    order, tamed = np.arange(len(rows)), np.zeros(rows.shape[1], dtype=bool)
    return np.concatenate(list(pooled.spread_of(rows, order, columns, tamed)))


@pytest.mark.parametrize("value", [1e16, 1e25, 1e38])
def test_a_wild_row_is_the_oddest_and_spoils_no_other(value):
    rows = np.random.RandomState(0).randn(50, 4).astype(np.float32)
    usual = spread_of(rows)
    rows[7] = value
    spread = spread_of(rows)
    assert np.isfinite(spread).all()
    assert spread.argmax() == 7
    assert np.median(spread) == pytest.approx(np.median(usual), rel=0.1)


@pytest.mark.parametrize("scale", [1e-25, 1e-6, 1e6])
def test_the_spread_of_rows_of_any_scale_is_above_0(scale):
    rows = (scale * np.random.RandomState(0).randn(50, 4)).astype(np.float32)
    assert (spread_of(rows) > 0).all()


def test_missing_cells_count_as_the_mean():
    rows = np.random.RandomState(0).randn(50, 4).astype(np.float32)
    filled = rows.copy()
    filled[::5, 1], rows[::5, 1] = 0, np.nan
    np.testing.assert_array_equal(spread_of(rows), spread_of(filled))


@pytest.mark.parametrize(
    "sites",
    [
        Sites(np.zeros((3, 2), np.float32), 1),
        Sites(np.zeros((1, 3), np.float32), 1),
        Sites(np.zeros((3, 3)), 1),
        Sites(np.zeros((3, 3), np.float32), 0),
        Sites(np.zeros((3, 3), np.float32), 3),
        Sites(np.zeros((3, 3), np.float32), 1.0),
        Sites([[0.0] * 3] * 3, 1),
    ],
    ids=["narrow", "one", "float64", "none nearest", "all nearest", "a float", "list"],
)
def test_forged_sites_are_refused(sites):
    with pytest.raises(StateError):
        sites.check(3)


@pytest.mark.parametrize("score", ["density", "robust"])
def test_a_score_of_an_earlier_version_is_refused(score, normal):
    fitted = AutoencoderTransformer(2, anomaly_score=score, max_epochs=1).fit(normal).detector_
    state = fitted.to_state()["score"]
    assert score_from_state(state, fitted.model).name == score
    state["sites"] = {"points": state["sites"]["points"], "smoothing": 1.0, "n_left_out": 0}
    with pytest.raises(StateError, match="an earlier version of aedetect; fit the estimator again"):
        score_from_state(state, fitted.model)
