"""The default score of tables, for training rows that nobody has checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from aedetect import AutoencoderTransformer, DenoisingAutoencoder
from aedetect.model import StateError
from aedetect.scoring.whitened import WHITENED
from aedetect.scoring.whitening import RIDGE


@pytest.fixture(scope="module")
def rows(normal):
    """Return 80 rows of which the first five are far off."""
    X = normal[:80].copy()
    X[:5] += 6 * normal.std(axis=0) * np.random.RandomState(0).choice([-1, 1], (5, 6))
    return X


@pytest.fixture(scope="module")
def detector(rows):
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 5, "random_state": 0}
    return AutoencoderTransformer(2, anomaly_score="robust", **settings).fit(rows)


def activations(detector, X):
    model = detector.detector_.model
    return model.map_scaled(
        lambda view: torch.cat(WHITENED["activations"](view), dim=2)[0], model.scale(X)
    ).astype(float)


def density_of(detector, X, *, left_out):
    """Return the squared distances of rows to the nearest tenth of the training rows."""
    sites = detector.detector_.score.sites
    squares = np.sort(cdist(detector.detector_.model.scale(X), sites.points, "sqeuclidean"), axis=1)
    return squares[:, sites.n_nearest - 1 + left_out]


def in_units(detector, distances, density):
    """Return the sum of distances, mean over directions, and of the density, each in its unit."""
    score = detector.detector_.score
    width = len(score.whitenings[0].mean)
    return width * distances / score.units[0] + density / score.units[1]


def covariance_of(A):
    covariance = np.cov(A.T, bias=True)
    return covariance + RIDGE * covariance.diagonal().mean() * np.eye(len(covariance))


def distances_to(A, B):
    """Return squared Mahalanobis distances of ``B`` to rows ``A``, mean over directions."""
    gaps = B - A.mean(axis=0)
    return np.einsum("ij,ji->i", gaps, np.linalg.solve(covariance_of(A), gaps.T)) / A.shape[1]


def test_scores_are_sums_of_a_mahalanobis_distance_and_of_the_density(detector, rows, normal):
    new = normal[100:]
    distances = distances_to(activations(detector, rows), activations(detector, new))
    expected = in_units(detector, distances, density_of(detector, new, left_out=False))
    np.testing.assert_allclose(-detector.score_samples(new), expected, rtol=1e-3)


def test_a_training_row_is_scored_by_the_covariance_and_the_sites_without_it(detector, rows):
    A = activations(detector, rows)
    ridge = covariance_of(A) - np.cov(A.T, bias=True)
    distances = []
    for row in range(12):  # far ones and others
        others = np.delete(A, row, axis=0)
        gap = A[row] - others.mean(axis=0)
        covariance = np.cov(others.T, bias=True) + ridge
        distances.append(gap @ np.linalg.solve(covariance, gap) / len(gap))
    density = density_of(detector, rows[:12], left_out=True)
    expected = in_units(detector, np.array(distances), density)
    np.testing.assert_allclose(-detector.score_samples(rows[:12]), expected, rtol=0.1)


def scores_of(X, score="auto", **settings):
    settings = {"hidden_layer_sizes": (32,), "max_epochs": 10, "random_state": 0, **settings}
    return DenoisingAutoencoder(anomaly_score=score, **settings).fit(X).score_samples(X)


def unchecked(seed):
    """Return 400 rows of 8 columns that depend on three causes, and the numbers of 4% of them."""
    rng = np.random.RandomState(seed)
    X = rng.randn(400, 3) @ rng.randn(3, 8) + 0.3 * rng.randn(400, 8)
    return X, np.arange(16), rng


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spread", [0.0, 0.05], ids=["equal rows", "a tight clump"])
def test_anomalies_near_each_other_and_far_off_are_found(seed, spread):
    X, odd, rng = unchecked(seed)
    place = X.mean(axis=0) + 5 * X.std(axis=0) * rng.choice([-1, 1], 8)
    X[odd] = place + spread * rng.randn(16, 8)
    is_normal = ~np.isin(np.arange(400), odd)
    assert roc_auc_score(is_normal, scores_of(X)) > 0.95
    assert roc_auc_score(is_normal, scores_of(X, contamination=0.1)) > 0.95
    # Of 20 neighbours 15 are in the clump, and the clump stretches a covariance.
    for score in ("neighbors", "activations"):
        assert roc_auc_score(is_normal, scores_of(X, score)) < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_anomalies_that_differ_in_a_column_that_is_constant_for_all_others_are_found(seed):
    X, odd, _ = unchecked(seed)
    X *= [1, 10, 0.1, 5, 1e3, 1, 7, 0.01]  # unlike units: each column is scaled alone
    X[:, 0] = 0
    X[odd, 0] = 1
    assert roc_auc_score(~np.isin(np.arange(400), odd), scores_of(X)) > 0.95


@pytest.mark.parametrize(
    "change",
    [
        {"units": (0.0, 1.0)},
        {"units": (1.0,)},
        {"whitenings": []},
    ],
    ids=str,
)
def test_a_forged_score_is_refused(change, detector):
    fitted = detector.detector_
    fitted.score.check(fitted.model)
    with pytest.raises(StateError):
        replace(fitted.score, **change).check(fitted.model)


def test_forged_marks_are_refused(detector):
    score = detector.detector_.score
    marks = replace(score.marks, scores=score.marks.scores[1:])
    with pytest.raises(StateError):
        replace(score, marks=marks).check(detector.detector_.model)
