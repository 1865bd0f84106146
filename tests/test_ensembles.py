"""Several networks trained side by side."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from aedetect import AutoencoderTransformer, VAEDetector
from aedetect.networks import MemberLoop

IMAGE = {"network": "conv", "image_shape": (1, 8, 8), "hidden_layer_sizes": (4, 4)}


@pytest.fixture(params=[{}, {"network": "residual"}, IMAGE], ids=["dense", "residual", "conv"])
def ensemble(request, estimator_class, digits):
    """Return a fitted ensemble of three networks, each with a code of two dimensions."""
    settings = {"hidden_layer_sizes": (8,), "anomaly_score": "reconstruction", **request.param}
    detector = estimator_class(2, n_members=3, max_epochs=3, random_state=0, **settings)
    return detector.fit(digits[0][:200])


def member_of(detector, index):
    """Return the fitted detector with one of its members alone."""
    model = detector.model
    spec = replace(model.spec, n_members=1)
    if isinstance(model.network, MemberLoop):
        network = MemberLoop([model.network.members[index]])
    else:
        network = spec.build()
        weights = model.network.state_dict()
        network.load_state_dict({name: weight[[index]] for name, weight in weights.items()})
    return replace(detector, model=replace(model, spec=spec, network=network.eval()))


def test_members_differ_and_the_ensemble_is_their_mean(ensemble, digits):
    X = digits[0][200:240]
    members = [member_of(ensemble.detector_, index) for index in range(3)]
    scores = [member.score_samples(X) for member in members]
    assert not np.allclose(scores[0], scores[1])
    np.testing.assert_allclose(ensemble.score_samples(X), np.mean(scores, axis=0), rtol=1e-5)
    rows = [member.model.reconstruct(X) for member in members]
    np.testing.assert_allclose(ensemble.reconstruct(X), np.mean(rows, axis=0), atol=1e-5)
    codes = [member.model.encode(X) for member in members]
    np.testing.assert_allclose(ensemble.transform(X), np.hstack(codes), rtol=1e-4, atol=1e-5)


def test_the_contract_holds_for_an_ensemble(ensemble, digits):
    X = digits[0][200:240]
    codes = ensemble.transform(X)
    assert codes.shape == (40, 6)
    assert ensemble.latent_dim_ == len(ensemble.get_feature_names_out()) == 6
    np.testing.assert_allclose(
        ensemble.inverse_transform(codes), ensemble.reconstruct(X), atol=1e-5
    )
    scores = ensemble.score_samples(X)
    np.testing.assert_array_equal(ensemble.explain(X[[7]]), ensemble.explain(X)[[7]])
    np.testing.assert_array_equal(ensemble.score_samples(X[[7]]), scores[[7]])
    for twin in (pickle.loads(pickle.dumps(ensemble)), copy.deepcopy(ensemble)):
        assert twin.network_.n_members == 3
        np.testing.assert_array_equal(twin.score_samples(X), scores)
    refit = copy.deepcopy(ensemble).fit(digits[0][:200])
    np.testing.assert_array_equal(refit.score_samples(X), scores)


def test_an_ensemble_of_dense_networks_scores_better_than_one_on_average(digits):
    X, y = digits
    train, test = X[y == 3][:120], X[y == 3][120:]

    def mean_error(n_members):
        detector = AutoencoderTransformer(n_members=n_members, max_epochs=40, random_state=0)
        return np.square(detector.fit(train).reconstruct(test) - test).mean()

    assert mean_error(8) < mean_error(1)


def test_summary_is_that_of_one_member(table):
    detector = AutoencoderTransformer(2, n_members=2, hidden_layer_sizes=(64,), max_epochs=2)
    lone = AutoencoderTransformer(**{**detector.get_params(), "n_members": 1}).fit(table)
    assert detector.fit(table).summary().equals(lone.summary())


def test_an_ensemble_draws_samples_from_every_member(digits):
    detector = VAEDetector(2, n_members=3, max_epochs=2, random_state=0).fit(digits[0][:200])
    rows = detector.sample(7, random_state=0)
    assert rows.shape == (7, 64)
    assert detector.sample(1, random_state=0).shape == (1, 64)
    np.testing.assert_array_equal(rows, detector.sample(7, random_state=0))
