"""Scores by layers of the network: distances of activations, whitened or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from aedetect import AutoencoderTransformer, datasets
from aedetect.scoring.sketch import WIDEST, sketch
from aedetect.scoring.whitened import WHITENED
from aedetect.scoring.whitening import RIDGE, fit_whitening

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def problem():
    return datasets.make_anomaly_split(*datasets.load_digits(), normal=0, random_state=0)


def fit(score, X, estimator_class=AutoencoderTransformer, **settings):
    return estimator_class(4, anomaly_score=score, random_state=0, **settings).fit(X)


def activations_of(detector, X):
    """Return the activations of the encoder's layers, computed from the weights."""
    # Of one member.
    weights = [w.detach()[0].double().numpy() for w in detector.network_.encoder.parameters()]
    hidden = [detector.detector_.model.scale(X).astype(float)]
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
    whitening, _ = fit_whitening(rows, CPU)
    found = whitening(torch.from_numpy(np.r_[rows, points])).numpy()
    np.testing.assert_allclose(found, distances_to(rows, np.r_[rows, points]), rtol=1e-3)
    n_stored = sum(array.size for array in stored(whitening) if array is not None)
    assert n_stored <= 90 * (min(2 * len(rows), 90) + 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("value", [1e6, -9999, 1e15])
def test_a_covariance_with_a_corrupt_row_can_be_inverted(seed, value):
    rows = np.random.RandomState(seed).randn(1000, 300).astype(np.float32)
    rows[0] = value
    distances = fit_whitening(rows, CPU)[0](torch.from_numpy(rows)).numpy()
    assert np.isfinite(distances).all()
    assert distances.argmax() == 0


@pytest.mark.parametrize("score", ["robust", "sharp", *WHITENED])
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
        alone, _ = fit_whitening(rows, CPU)
    for array, expected in zip(stored(fit_whitening(rows, CPU)[0]), stored(alone), strict=True):
        np.testing.assert_array_equal(array, expected)


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
    assert len(detector.detector_.score.whitenings[0].mean) < 2 * WIDEST + 1000
    odd = X[40:] * 3
    assert detector.score_samples(odd).max() < detector.score_samples(X[40:]).min()
