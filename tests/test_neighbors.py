"""Scores by the nearest training rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from aedetect import AutoencoderTransformer, datasets
from aedetect.scoring.neighbors import N_NEIGHBORS, SMOOTHING


@pytest.fixture(scope="module")
def problem():
    return datasets.make_anomaly_split(*datasets.load_digits(), normal=0, random_state=0)


def fit(score, X, estimator_class=AutoencoderTransformer, **settings):
    return estimator_class(4, anomaly_score=score, random_state=0, **settings).fit(X)


@pytest.mark.parametrize("score", ["neighbors", "latent_neighbors"])
def test_neighbor_scores_are_scikit_learns_distances_without_the_row_itself(score, problem):
    X, X_test, _ = problem
    detector = fit(score, X, max_epochs=5)
    spaces = {"neighbors": detector.detector_.model.scale, "latent_neighbors": detector.transform}
    bank, points = spaces[score](X).astype(float), spaces[score](X_test).astype(float)
    search = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(bank)
    own = search.kneighbors()[0]
    smoothing = SMOOTHING * own.mean()
    for rows, distances in ((X, own), (X_test, search.kneighbors(points)[0])):
        expected = np.exp(2 * np.log(distances + smoothing).mean(axis=1))
        np.testing.assert_allclose(-detector.score_samples(rows), expected, rtol=1e-3)


def test_training_rows_that_rounding_has_moved_are_still_themselves(problem):
    X = problem[0].astype(np.float64)
    detector = fit("neighbors", X, max_epochs=1)
    as_they_are, moved, another = (
        detector.score_samples(X * factor) for factor in (1, 1 + 3e-7, 1 + 3e-3)
    )
    np.testing.assert_allclose(moved, as_they_are, rtol=1e-4)
    assert (another > 0.9 * as_they_are).all()  # nearer: the row that it was made of counts


def test_far_rows_find_their_neighbors_in_spite_of_float32(problem):
    X = problem[0]
    detector = fit("neighbors", X, max_epochs=1)
    far = X[:5] + 1e4
    scale = detector.detector_.model.scale
    bank = scale(X).astype(float)
    distances = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(bank)
    expected = distances.kneighbors(scale(far).astype(float))[0].mean(axis=1) ** 2
    np.testing.assert_allclose(-detector.score_samples(far), expected, rtol=1e-4)


def test_a_bank_holds_ten_thousand_rows_at_most():
    X = np.random.RandomState(0).randn(10_500, 3)
    detector = fit("neighbors", X, max_epochs=1)
    assert detector.detector_.score.bank.points.shape == (10_000, 3)
