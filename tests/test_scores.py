"""All scores: they find odd rows, are finite, and the same bits in any company."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aedetect import AutoencoderTransformer, VAEDetector, datasets
from aedetect.scoring import EVIDENCE_SCORES, SCORES

PLAIN_SCORES = [score for score in SCORES if score not in EVIDENCE_SCORES]
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
    return {"hidden_layer_sizes": (16, 8), "max_epochs": 2, **NETWORKS[request.param]}


def fit(score, X, estimator_class=None, **settings):
    if estimator_class is None:
        estimator_class = VAEDetector if score in EVIDENCE_SCORES else AutoencoderTransformer
    return estimator_class(4, anomaly_score=score, random_state=0, **settings).fit(X)


@pytest.mark.parametrize("score", PLAIN_SCORES)
def test_odd_rows_score_lower(score, problem, estimator_class):
    X, X_test, y_test = problem
    settings = {"hidden_layer_sizes": (64,), "max_epochs": 60, "learning_rate": 3e-3}
    scores = fit(score, X, estimator_class, **settings).score_samples(X_test)
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
        for settings in ({"learning_rate": 1e-12, "max_epochs": 1}, {"max_epochs": 40})
    )
    assert untrained < 0.7
    assert trained > 0.9


@pytest.mark.parametrize("score", SCORES)
def test_a_score_is_the_same_bits_in_any_company(score, problem, settings):
    X, X_test, _ = problem
    detector = fit(score, X, **settings)
    scores = detector.score_samples(X_test)
    parts = [detector.score_samples(part) for part in np.array_split(X_test, 7)]
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


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("shape", [(30, 1), (30, 2), (5, 20)], ids=str)
def test_few_columns_or_rows_and_a_wild_row_have_finite_scores(score, shape):
    X = np.random.RandomState(0).randn(*shape)
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 2}
    detector = fit(score, X, **settings)
    for rows in (X, X + 0.1, X + 1e6):
        assert np.isfinite(detector.score_samples(rows)).all()
    X[0] += 1e6
    detector = fit(score, X, **settings)
    for rows in (X, X + 0.1, X + 1e6):
        assert np.isfinite(detector.score_samples(rows)).all()


@pytest.mark.parametrize("score", SCORES)
def test_members_are_scored_together(score, problem):
    X, X_test, _ = problem
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 2}
    one, three = (fit(score, X, n_members=n, **settings) for n in (1, 3))
    assert np.corrcoef(one.score_samples(X_test), three.score_samples(X_test))[0, 1] > 0.3


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"image_shape": (1, 8, 8)}, "relative"),
        ({"image_shape": (1, 8, 8), "contamination": 0}, "relative"),
        ({}, "robust"),
        ({"contamination": 0.1}, "robust"),
        ({"contamination": 0}, "sharp"),
    ],
    ids=str,
)
def test_auto_goes_by_the_kind_of_rows_and_by_their_contamination(settings, name, problem):
    X, X_test, _ = problem
    auto, named = (
        fit(score, X, max_epochs=2, hidden_layer_sizes=(8,), **settings) for score in ("auto", name)
    )
    np.testing.assert_array_equal(auto.score_samples(X_test), named.score_samples(X_test))


@pytest.mark.parametrize("score", PLAIN_SCORES)
def test_a_row_beyond_float32_is_refused(score, problem):
    X, X_test, _ = problem
    detector = fit(score, X, max_epochs=1, hidden_layer_sizes=(8,), scaling=None)
    far = X_test[:5].astype(np.float64)
    far[3, 2] = 1e300
    with pytest.raises(ValueError, match="score of row 3 is not finite"):
        detector.score_samples(far)


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


def test_auto_contamination_flags_few_new_normal_rows_whatever_the_score(problem):
    X, y = datasets.load_digits()
    rows = X[y < 5]
    for score in SCORES:
        detector = fit(score, rows[::2], hidden_layer_sizes=(32,), max_epochs=20)
        assert (detector.predict(rows[1::2]) == -1).mean() < 0.15, score


def test_elbo_falls_with_the_error_and_the_divergence(problem):
    X, X_test, y_test = problem
    scores = {}
    for score in ("elbo", "reconstruction_probability"):
        detector = fit(score, X, max_epochs=100)
        scores[score] = detector.score_samples(X_test)
        assert roc_auc_score(y_test, scores[score]) > 0.95
    assert (scores["elbo"] < scores["reconstruction_probability"]).all()
    with pytest.raises(ValueError, match="anomaly_score"):
        AutoencoderTransformer(anomaly_score="elbo").fit(X)
