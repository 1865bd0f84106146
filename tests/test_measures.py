"""Scores beyond the reconstruction error."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from aedetect.scoring.measures import WHITENED
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from aedetect import AutoencoderTransformer, VAEDetector, datasets
from aedetect.networks import members_of
from aedetect.scoring import SCORES
from aedetect.scoring.neighbors import N_NEIGHBORS, SMOOTHING
from aedetect.scoring.sketch import WIDEST, sketch
from aedetect.scoring.whitening import RIDGE, fit_whitening

LATENT_SCORES = ("mahalanobis", "latent_neighbors")
NETWORKS = {
    "dense": {},
    "residual": {"network": "residual"},
    "conv": {"network": "conv", "image_shape": (1, 8, 8)},
    "ensemble": {"n_members": 3},
    "bce": {"loss": "bce"},
}


@pytest.fixture(scope="module")
def problem():
    return datasets.make_anomaly_split(*datasets.load_digits(), normal=0, random_state=0)


@pytest.fixture(params=NETWORKS, scope="module")
def settings(request):
    return {"hidden_layer_sizes": (16, 8), "max_epochs": 40, **NETWORKS[request.param]}


def fit(score, X, estimator_class=AutoencoderTransformer, **settings):
    return estimator_class(4, anomaly_score=score, random_state=0, **settings).fit(X)


@pytest.mark.parametrize("score", SCORES)
def test_odd_rows_score_lower(score, problem, estimator_class):
    X, X_test, y_test = problem
    scores = fit(score, X, estimator_class, max_epochs=100).score_samples(X_test)
    # The code of an odd image is often that of a normal one.
    assert roc_auc_score(y_test, scores) > (0.6 if score in LATENT_SCORES else 0.95)
    assert (scores <= 0).all()


# The others are whitened or look at neighbours: on these images they do well untrained.
@pytest.mark.parametrize("score", ["reconstruction", "standardized", "sap"])
def test_a_trained_network_tells_what_an_untrained_one_does_not(score):
    X, X_test, y_test = datasets.make_anomaly_split(
        *datasets.load_digits(), normal=[0, 1, 2, 3, 4], n_test_anomalies=200, random_state=0
    )
    untrained, trained = (
        roc_auc_score(y_test, fit(score, X, **settings).score_samples(X_test))
        for settings in ({"learning_rate": 1e-12, "max_epochs": 1}, {"max_epochs": 60})
    )
    assert untrained < 0.7
    assert trained > 0.9


@pytest.mark.parametrize("score", SCORES)
def test_a_score_is_the_same_bits_in_any_company(score, problem, settings):
    X, X_test, _ = problem
    detector = fit(score, X, **settings)
    scores = detector.score_samples(X_test)
    parts = [detector.score_samples(part) for part in np.array_split(X_test, 17)]
    np.testing.assert_array_equal(np.concatenate(parts), scores)
    np.testing.assert_array_equal(detector.score_samples(X_test[::-1])[::-1], scores)
    for twin in (pickle.loads(pickle.dumps(detector)), copy.deepcopy(detector)):
        np.testing.assert_array_equal(twin.score_samples(X_test), scores)


@pytest.mark.parametrize("score", ["reconstruction", "standardized"])
def test_explanations_of_sums_add_up_to_the_score(score, problem, settings):
    X, X_test, _ = problem
    detector = fit(score, X, **settings)
    contributions = detector.explain(X_test)
    assert (contributions >= 0).all()
    np.testing.assert_allclose(contributions.sum(axis=1), -detector.score_samples(X_test))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("n_rows", [2, 3, 30])
def test_few_rows_equal_rows_and_constant_columns_have_finite_scores(score, n_rows):
    X = np.random.RandomState(0).randn(n_rows, 6) * [1, 0, 1, 0, 1, 1]
    detector = fit(score, X, max_epochs=3)
    assert np.isfinite(detector.score_samples(X)).all()
    equal = np.full((n_rows, 6), 3.0)
    detector = fit(score, equal, max_epochs=3)
    assert (detector.predict(equal) == 1).all()
    assert np.isfinite(detector.score_samples(X)).all()


def test_auto_is_sap_for_images_and_combined_for_tables(problem):
    X, X_test, _ = problem
    for image_shape, name in (((1, 8, 8), "sap"), (None, "combined")):
        auto, named = (
            fit(score, X, max_epochs=2, hidden_layer_sizes=(8,), image_shape=image_shape)
            for score in ("auto", name)
        )
        np.testing.assert_array_equal(auto.score_samples(X_test), named.score_samples(X_test))


def test_standardized_errors_are_the_mean_of_ratios_to_held_out_errors(problem):
    X, X_test, _ = problem
    settings = {"max_epochs": 5, "validation_fraction": 0.3}
    errors = fit("reconstruction", X, **settings).explain
    order = np.random.RandomState(0)
    order.randint(np.iinfo(np.int32).max)  # the seed of the first weights comes first
    held_out = order.permutation(len(X))[: int(0.3 * len(X))]
    usual = errors(X[held_out]).mean(axis=0)
    expected = (errors(X_test) / np.maximum(usual, 0.01 * usual.mean())).mean(axis=1)
    np.testing.assert_allclose(-fit("standardized", X, **settings).score_samples(X_test), expected)


def activations_of(detector, X):
    """Return the activations of the encoder's layers, computed from the weights."""
    (network,) = members_of(detector.network_)
    weights = [w.detach().double().numpy() for w in network.encoder.parameters()]
    hidden = [detector._scaling.apply(X).astype(float)]
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        hidden.append(np.maximum(hidden[-1] @ weight.T + bias, 0))
    hidden[-1] = hidden[-2] @ weights[-2].T + weights[-1]  # the code has no activation
    return hidden


def differences_of(detector, X):
    pairs = zip(
        activations_of(detector, X), activations_of(detector, detector.reconstruct(X)), strict=True
    )
    return [h - h_hat for h, h_hat in pairs]


def test_sap_is_the_mean_ratio_of_the_layers_before_the_code(problem):
    X, X_test, _ = problem
    detector = fit("sap", X, hidden_layer_sizes=(16, 8), max_epochs=5)
    usual = [(d**2).sum(axis=1).mean() for d in differences_of(detector, X)[:-1]]
    layers = [(d**2).sum(axis=1) for d in differences_of(detector, X_test)[:-1]]
    expected = np.mean([d / u for d, u in zip(layers, usual, strict=True)], axis=0)
    np.testing.assert_allclose(-detector.score_samples(X_test), expected, rtol=1e-3)


def whitened_parts(kind, detector, X):
    hidden, differences = activations_of(detector, X), differences_of(detector, X)
    parts = {"mahalanobis": hidden[-1:], "nap": differences, "activations": hidden + differences}
    return np.hstack(parts[kind])


@pytest.mark.parametrize("kind", WHITENED)
def test_whitened_scores_are_mahalanobis_distances(kind, problem):
    X, X_test, _ = problem
    detector = fit(kind, X, hidden_layer_sizes=(8,), max_epochs=5)
    A, B = (whitened_parts(kind, detector, rows) for rows in (X, X_test))
    covariance = np.cov(A.T, bias=True)
    covariance += RIDGE * covariance.diagonal().mean() * np.eye(len(covariance))
    centred = B - A.mean(axis=0)
    expected = np.einsum("ij,ij->i", centred, np.linalg.solve(covariance, centred.T).T) / A.shape[1]
    np.testing.assert_allclose(-detector.score_samples(X_test), expected, rtol=0.02)


@pytest.mark.parametrize("kind", WHITENED)
def test_left_out_distances_are_those_of_a_fit_without_the_row(kind, problem):
    X = problem[0]
    detector = fit(kind, X, hidden_layer_sizes=(8,), max_epochs=5)
    A = whitened_parts(kind, detector, X)
    ridge = RIDGE * np.cov(A.T, bias=True).diagonal().mean() * np.eye(A.shape[1])
    expected = []
    for row in range(10):
        others = np.delete(A, row, axis=0)
        gap = A[row] - others.mean(axis=0)
        covariance = np.cov(others.T, bias=True) + ridge
        expected.append(gap @ np.linalg.solve(covariance, gap) / len(gap))
    as_rows_of_it = -detector.score_samples(X)[:10]
    np.testing.assert_allclose(as_rows_of_it, expected, rtol=0.1)
    as_new_rows = -detector.score_samples(X + 1e-4)[:10]
    assert (as_rows_of_it > as_new_rows).all()


def distances_to(rows, points):
    """Return squared Mahalanobis distances by a square covariance in float64."""
    covariance = np.cov(rows.T.astype(float), bias=True)
    covariance += RIDGE * covariance.diagonal().mean() * np.eye(len(covariance))
    gaps = points.astype(float) - rows.mean(axis=0, dtype=float)
    return np.einsum("ij,ji->i", gaps, np.linalg.solve(covariance, gaps.T))


def stored(whitening):
    return whitening.mean, whitening.weight, whitening.basis


@pytest.mark.parametrize("n_rows", [2, 5, 30, 45, 90, 300])
@pytest.mark.parametrize("copies", [1, 4])
def test_few_rows_are_whitened_as_many_are(n_rows, copies):
    rng = np.random.RandomState(0)
    mixing = rng.randn(90, 90) * rng.uniform(0.01, 10, 90)
    rows, points = ((rng.randn(n, 90) @ mixing).astype(np.float32) for n in (n_rows, 20))
    rows = np.tile(rows, (copies, 1))
    whitening, _ = fit_whitening(rows)
    found = whitening(torch.from_numpy(np.r_[rows, points])).numpy()
    np.testing.assert_allclose(found, distances_to(rows, np.r_[rows, points]), rtol=1e-3)
    n_stored = sum(array.size for array in stored(whitening) if array is not None)
    assert n_stored <= 90 * (min(2 * len(rows), 90) + 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("value", [1e6, -9999, 1e15])
def test_a_covariance_with_a_corrupt_row_can_be_inverted(seed, value):
    rows = np.random.RandomState(seed).randn(1000, 300).astype(np.float32)
    rows[0] = value
    distances = fit_whitening(rows)[0](torch.from_numpy(rows)).numpy()
    assert np.isfinite(distances).all()
    assert distances.argmax() == 0


@pytest.mark.parametrize("score", ["combined", *WHITENED])
@pytest.mark.parametrize("scaling", [None, "auto"])
def test_a_corrupt_row_does_not_end_the_fit(score, scaling):
    X = np.random.RandomState(0).randn(400, 6)
    X[0] = 1e6
    detector = fit(score, X, scaling=scaling, max_epochs=3)
    assert np.isfinite(detector.score_samples(X)).all()
    assert detector.score_samples(X).argmin() == 0


@pytest.mark.parametrize("n_rows", [40, 400])
def test_a_whitening_does_not_depend_on_the_number_of_threads(n_rows):
    rows = np.random.RandomState(0).randn(n_rows, 300).astype(np.float32)
    with threadpool_limits(1):
        alone, _ = fit_whitening(rows)
    for array, expected in zip(stored(fit_whitening(rows)[0]), stored(alone), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("score", ["neighbors", "latent_neighbors"])
def test_neighbor_scores_are_scikit_learns_distances_without_the_row_itself(score, problem):
    X, X_test, _ = problem
    detector = fit(score, X, max_epochs=5)
    spaces = {"neighbors": detector._scaling.apply, "latent_neighbors": detector.transform}
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
    bank = detector._scaling.apply(X).astype(float)
    distances = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(bank)
    expected = distances.kneighbors(detector._scaling.apply(far).astype(float))[0].mean(axis=1) ** 2
    np.testing.assert_allclose(-detector.score_samples(far), expected, rtol=1e-4)


def test_combined_is_the_geometric_mean_of_activations_and_neighbors(problem):
    X, X_test, _ = problem
    activations, neighbors, combined = (
        -fit(score, X, max_epochs=5).score_samples(X_test)
        for score in ("activations", "neighbors", "combined")
    )
    np.testing.assert_allclose(combined, np.sqrt(activations * neighbors))


def test_a_bank_holds_ten_thousand_rows_at_most():
    X = np.random.RandomState(0).randn(10_500, 3)
    detector = fit("neighbors", X, max_epochs=1)
    assert detector._measure.neighbors.bank.shape == (10_000, 3)


def test_a_sketch_keeps_distances_and_leaves_narrow_rows_alone():
    rows = torch.from_numpy(np.random.RandomState(0).randn(40, 3 * WIDEST + 5).astype(np.float32))
    narrow = sketch(rows)
    assert narrow.shape == (40, WIDEST)
    ratio = torch.cdist(narrow, narrow)[0, 1:] / torch.cdist(rows, rows)[0, 1:]
    np.testing.assert_allclose(ratio, 1, atol=0.15)
    assert sketch(rows[:, :WIDEST]).equal(rows[:, :WIDEST])


def test_wide_rows_are_scored(problem):
    X = np.random.RandomState(0).randn(60, 2 * WIDEST)
    detector = fit("activations", X[:40], max_epochs=2)
    assert len(detector._measure.whitenings[0].mean) < 2 * WIDEST + 1000
    odd = X[40:] * 3
    assert detector.score_samples(odd).max() < detector.score_samples(X[40:]).min()


def test_auto_contamination_flags_few_new_normal_rows_whatever_the_score(problem):
    X, y = datasets.load_digits()
    rows = X[y < 5]
    for score in SCORES:
        detector = fit(score, rows[::2], max_epochs=60)
        assert (detector.predict(rows[1::2]) == -1).mean() < 0.15, score


def test_elbo_falls_with_the_error_and_the_divergence(problem):
    X, X_test, y_test = problem
    scores = {}
    for score in ("elbo", "reconstruction_probability"):
        detector = fit(score, X, VAEDetector, max_epochs=100)
        scores[score] = detector.score_samples(X_test)
        np.testing.assert_array_equal(scores[score], detector.score_samples(X_test))
        parts = [detector.score_samples(part) for part in np.array_split(X_test, 17)]
        np.testing.assert_array_equal(np.concatenate(parts), scores[score])
        assert roc_auc_score(y_test, scores[score]) > 0.95
    assert (scores["elbo"] < scores["reconstruction_probability"]).all()
    with pytest.raises(ValueError, match="anomaly_score"):
        AutoencoderTransformer(anomaly_score="elbo").fit(X)
