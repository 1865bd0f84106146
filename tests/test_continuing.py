"""partial_fit and warm_start: what they keep, and what they do anew."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from values import OTHER_VALUES

from aedetect import AutoencoderTransformer
from aedetect.estimators.parameters import OTHER, PARAMETERS, TRAINING, WEIGHTS, names_that
from aedetect.networks import Autoencoder

PLAIN = {"validation_fraction": 0, "schedule": "constant", "max_epochs": 3, "random_state": 0}


def weights_of(estimator):
    weights = estimator.__getstate__()["detector_"]["model"]["weights"]
    return np.concatenate([weight.ravel() for weight in weights.values()])


def shifted(table):
    return table + 3 * table.std(axis=0)


def plain_estimator(estimator_class, **options):
    return estimator_class(2, hidden_layer_sizes=(8,), **{**PLAIN, **options})


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_warm_start_goes_on_where_the_last_fit_ended(estimator_class, table, optimizer):
    settings = {"n_members": 2, "dropout": 0.2, "optimizer": optimizer, "batch_size": 16}
    warm = plain_estimator(estimator_class, warm_start=True, **settings).fit(table).fit(table)
    whole = plain_estimator(estimator_class, **{**settings, "max_epochs": 6}).fit(table)
    # The states of optimiser and random numbers are kept, so two fits are one of both lengths.
    np.testing.assert_array_equal(weights_of(warm), weights_of(whole))
    np.testing.assert_array_equal(warm.history_["loss"], whole.history_["loss"])
    np.testing.assert_array_equal(warm.score_samples(table), whole.score_samples(table))
    assert warm.n_iter_ == 6


def test_without_a_warm_start_every_fit_begins_anew(small, table):
    scores = small.fit(table).score_samples(table)
    np.testing.assert_array_equal(small.fit(table).score_samples(table), scores)
    assert small.n_iter_ == 3


def test_partial_fit_is_a_pass_at_a_time(estimator_class, table):
    several = plain_estimator(estimator_class)
    for _ in range(3):
        assert several.partial_fit(table) is several
    at_once = plain_estimator(estimator_class).fit(table)
    assert several.n_iter_ == at_once.n_iter_ == 3
    # Rows come in another order, so the weights are alike and no more.
    np.testing.assert_allclose(several.history_["loss"], at_once.history_["loss"], rtol=0.2)
    for _ in range(20):
        several.partial_fit(table)
    assert several.history_["loss"][-1] < several.history_["loss"][0]


def test_partial_fit_learns_from_rows_that_come_later(estimator_class, table):
    first = plain_estimator(estimator_class, learning_rate=0.01).partial_fit(table)
    untaught = clone(first).partial_fit(table)
    for _ in range(60):
        first.partial_fit(shifted(table))

    def error(estimator):
        return np.square((estimator.reconstruct(shifted(table)) - shifted(table)) / table.std(0))

    assert error(first).mean() < 0.5 * error(untaught).mean()


@pytest.mark.parametrize("warm_start", [False, True])
def test_what_is_kept_goes_through_a_pickle(small, table, warm_start):
    small.set_params(warm_start=warm_start)
    begin = small.fit if warm_start else small.partial_fit
    begin(table)
    twin = pickle.loads(pickle.dumps(small))
    for estimator in (small, twin):
        (estimator.fit if warm_start else estimator.partial_fit)(table)
    np.testing.assert_array_equal(weights_of(small), weights_of(twin))
    kept = small.__getstate__()["_continuation"]["state"]
    assert {type(array) for array in kept.values()} == {np.ndarray}


def test_the_optimisers_state_is_kept_only_where_it_is_asked_for(small, table):
    size = len(pickle.dumps(small.fit(table)))
    assert small._continuation is None
    small.set_params(warm_start=True).fit(table)
    assert len(pickle.dumps(small)) > size + 2 * 4 * weights_of(small).size
    small.set_params(warm_start=False).fit(table)
    assert small._continuation is None


def test_optimiser_and_random_numbers_go_on_after_a_warm_fit(small, table):
    plain, warm = clone(small).fit(table), clone(small).set_params(warm_start=True).fit(table)
    np.testing.assert_array_equal(weights_of(plain), weights_of(warm))
    assert not np.array_equal(
        weights_of(plain.partial_fit(table)), weights_of(warm.partial_fit(table))
    )


def test_another_optimiser_begins_anew(small, table):
    small.partial_fit(table).set_params(optimizer="rmsprop")
    before = weights_of(small)
    assert not np.array_equal(weights_of(small.partial_fit(table)), before)


def test_generators_of_a_network_of_ones_own_go_on(table):
    def make(**options):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 2))
        network = Autoencoder(encoder, nn.Linear(2, 5))
        return AutoencoderTransformer(network=network, **{**PLAIN, **options})

    warm = make(warm_start=True).fit(table).fit(table)
    np.testing.assert_array_equal(weights_of(warm), weights_of(make(max_epochs=6).fit(table)))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_scaling_stays_that_of_the_first_rows(small, table, method):
    small.set_params(warm_start=True)
    getattr(small, method)(table)
    location = small.detector_.model.columns.scaling.location
    getattr(small, method)(shifted(table))
    np.testing.assert_array_equal(small.detector_.model.columns.scaling.location, location)
    small.set_params(warm_start=False).fit(shifted(table))
    assert not np.array_equal(small.detector_.model.columns.scaling.location, location)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_threshold_and_score_are_fitted_to_the_last_rows(small, table, method):
    small.set_params(warm_start=True, contamination=0.25)
    getattr(small, method)(table)
    getattr(small, method)(shifted(table))
    assert (small.predict(shifted(table)) == -1).mean() == pytest.approx(0.25)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("change", [{"hidden_layer_sizes": (4,)}, {"scaling": None}])
def test_a_network_that_would_have_to_change_is_refused(small, table, method, change):
    getattr(small.set_params(warm_start=True), method)(table)
    scores = small.score_samples(table)
    with pytest.raises(ValueError, match=f"{next(iter(change))} was .* warm_start=False"):
        getattr(small.set_params(**change), method)(table)
    np.testing.assert_array_equal(small.score_samples(table), scores)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_failure_leaves_the_estimator_as_it_was(small, table, method):
    getattr(small.set_params(warm_start=True), method)(table)
    scores = small.score_samples(table)
    kept = pickle.dumps(small._continuation)
    small.set_params(learning_rate=1e8, optimizer="sgd", schedule="constant")
    for bad in (table * 1e6, table[:, :4], table[:1]):
        with pytest.raises(ValueError, match=r"diverged|features|minimum of 2"):
            getattr(small, method)(bad)
        np.testing.assert_array_equal(small.score_samples(table), scores)
    assert pickle.dumps(small._continuation) == kept


CHANGEABLE = {
    *("anomaly_score", "batch_size", "beta", "checkpoint", "compile", "contamination"),
    *("contractive", "device", "l1_activity", "labels", "learning_rate", "max_epochs", "max_shift"),
    *("noise", "noise_level", "optimizer", "patience", "precision", "random_state", "schedule"),
    *("validation_fraction", "verbose", "warm_start", "weight_decay"),
}


def test_every_parameter_is_known_to_bind_the_weights_or_not_to():
    assert set(names_that({TRAINING, OTHER})) == CHANGEABLE
    assert set(names_that({WEIGHTS})) == set(PARAMETERS) - CHANGEABLE


def test_parameters_that_bind_the_weights_are_refused_and_no_others(small, table):
    small.partial_fit(table)
    others = {**OTHER_VALUES, "device": "cpu", "noise": "masking", "max_shift": 0}  # of a table
    del others["compile"]  # takes seconds
    del others["labels"]  # partial_fit takes no labels
    for name in set(others) & set(small.get_params()):
        value = getattr(small, name)
        small.set_params(**{name: others[name]})
        if name in CHANGEABLE:
            small.partial_fit(table)
        else:
            with pytest.raises(ValueError, match=name):
                small.partial_fit(table)
        small.set_params(**{name: value})


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_another_step_begins_with_a_new_optimiser(table, value):
    estimator = AutoencoderTransformer(
        2, hidden_layer_sizes=(8,), random_state=0, contractive=value
    )
    estimator.partial_fit(table).set_params(contractive=1 - value).partial_fit(table)
    moments = estimator._continuation["state"]
    kept = {name for name in moments if name.endswith("exp_avg")}
    n_weights = sum(p.numel() for p in estimator.network_.parameters())
    # A step of its own fills memory up between tensors.
    assert n_weights <= sum(moments[name].size for name in kept) < 2 * n_weights
    assert all(moments[name.replace("exp_avg", "step")] == 2 for name in kept)  # of one pass
