"""Several networks trained side by side."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.networks import Autoencoder, MemberLoop
from aedetect.training import place_members

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


# On several devices.

CONV = {"network": "conv", "image_shape": (1, 8, 8), "hidden_layer_sizes": (4,)}


def fit_on(devices, X, **settings):
    settings = {"n_members": 3, "max_epochs": 2, "random_state": 0, **CONV, **settings}
    return DenoisingAutoencoder(2, device=devices, **settings).fit(X)


def test_members_that_lie_apart_are_trained_as_beside_each_other(digits):
    X = digits[0][:60]
    one, several = fit_on("cpu", X), fit_on(["cpu", "cpu"], X)
    np.testing.assert_array_equal(one.history_["val_loss"], several.history_["val_loss"])
    np.testing.assert_array_equal(one.score_samples(X), several.score_samples(X))
    assert several.network_.devices == ()


def test_dropout_does_not_depend_on_the_number_of_devices(digits):
    X = digits[0][:60]
    fits = [fit_on(["cpu"] * n, X, dropout=0.3) for n in (1, 2, 2)]
    fits.append(fit_on(["cpu"], X, dropout=0.3, random_state=1))
    losses = [fit.history_["loss"] for fit in fits]
    np.testing.assert_array_equal(losses[0], losses[1])
    np.testing.assert_array_equal(losses[0], losses[2])
    assert not np.array_equal(losses[0], losses[3])


def test_members_are_put_on_devices_by_turns(monkeypatch):
    meta = torch.device("meta")
    network = MemberLoop([Autoencoder(nn.Linear(4, 2), nn.Linear(2, 4)) for _ in range(3)])
    place_members(network, [meta, torch.device("cpu")])
    found = [next(member.parameters()).device.type for member in network.members]
    assert found == ["meta", "cpu", "meta"]
    sent = []
    network = MemberLoop([network.members[1]] * 3)
    network.devices = [meta] * 3
    monkeypatch.setattr(torch.Tensor, "to", lambda t, device: sent.append(device.type) or t)
    network(torch.zeros(3, 5, 4))
    assert sent[:3] == ["meta"] * 3
    assert set(sent[3:]) == {"cpu"}  # where the first result is


two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")


@two_gpus
@pytest.mark.parametrize("n_members", [1, 4])
def test_two_gpus_give_what_one_gives(digits, n_members):
    X = digits[0][:300]
    fits = [fit_on(names, X, n_members=n_members) for names in (["cuda:0"], ["cuda:0", "cuda:1"])]
    one, two = [fit.score_samples(np.tile(X, (200, 1))) for fit in fits]
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
