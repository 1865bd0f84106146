"""Tests that a fit that fails, at any step, leaves an estimator as it was."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from torch import nn

import aedetect
from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.networks import Autoencoder

PACKAGE = str(Path(aedetect.__file__).parent)
X = np.random.RandomState(0).randn(40, 4)
X_later = X[:30] + 1
SETTINGS = {"hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}


class InjectedError(Exception):
    """Raised in the midst of a fit."""


def called_by(function):
    """Return the code of every function of the package that is called, in the order of calls."""
    calls = {}

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            calls.setdefault(frame.f_code)

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return list(calls)


def fail_at(code, function):
    """Call ``function`` and raise an error in the first call of ``code``."""

    def fail(frame, event, argument):
        if event == "call" and frame.f_code is code:
            raise InjectedError

    sys.setprofile(fail)
    try:
        function()
    finally:
        sys.setprofile(None)


def answers(estimator):
    return [
        estimator.decision_function(X).tobytes(),
        estimator.score_samples(X).tobytes(),
        estimator.transform(X).tobytes(),
        estimator.explain(X[:3]).tobytes(),
        *([estimator.corrupt(X, 0).tobytes()] if hasattr(estimator, "corrupt") else []),
    ]


ESTIMATORS = [
    AutoencoderTransformer(anomaly_score="standardized"),
    DenoisingAutoencoder(missing="mask", noise="salt_and_pepper"),
    VAEDetector(),
]
METHODS = {
    "fit": lambda estimator: estimator.fit(X_later),
    "partial_fit": lambda estimator: estimator.partial_fit(X_later),
    "set_threshold": lambda estimator: estimator.set_threshold(fpr=0.2, X=X_later),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_a_step_that_fails_leaves_a_fitted_estimator_as_it_was(estimator, method):
    fitted = type(estimator)(**{**estimator.get_params(), **SETTINGS}).fit(X)
    call = METHODS[method]
    copy = type(estimator)(**fitted.get_params()).fit(X)
    steps = called_by(lambda: call(copy))
    assert len(steps) > 10
    assert answers(copy) != answers(fitted)
    attributes, before = dict(vars(fitted)), answers(fitted)
    n_failures = 0
    for step in steps:
        try:
            fail_at(step, lambda: call(fitted))
        except InjectedError:
            n_failures += 1
            assert vars(fitted) == attributes, step
        else:  # the step is only there the first time, or the error was expected there
            fitted.__dict__ = dict(attributes)
    assert n_failures > 0.8 * len(steps)
    assert answers(fitted) == before


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_a_step_that_fails_leaves_a_fresh_estimator_unfitted(estimator, method):
    fresh = type(estimator)(**{**estimator.get_params(), **SETTINGS})
    call, attributes = METHODS[method], dict(vars(fresh))
    for step in called_by(lambda: call(type(estimator)(**fresh.get_params()))):
        try:
            fail_at(step, lambda: call(fresh))
        except InjectedError:
            assert vars(fresh) == attributes, step
            with pytest.raises(NotFittedError):
                fresh.score_samples(X)
        else:
            fresh.__dict__ = dict(attributes)


OTHER_VALUES = {
    "latent_dim": 3,
    "network": "conv",
    "image_shape": (1, 2, 2),
    "hidden_layer_sizes": (5, 3),
    "activation": "tanh",
    "latent_activation": "sigmoid",
    "batch_norm": True,
    "dropout": 0.3,
    "tied_weights": True,
    "downsample": "maxpool",
    "upsample": "transpose",
    "latent": "map",
    "loss": "bce",
    "l1_activity": 1.0,
    "contractive": 1.0,
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "schedule": "constant",
    "weight_decay": 0.5,
    "batch_size": 3,
    "max_epochs": 7,
    "validation_fraction": 0.5,
    "patience": 1,
    "scaling": None,
    "anomaly_score": "reconstruction",
    "n_members": 2,
    "contamination": 0.4,
    "random_state": 7,
    "device": "cuda",
    "precision": "bf16",
    "compile": True,
    "checkpoint": "elsewhere",
    "warm_start": True,
    "verbose": True,
    "noise": "gaussian",
    "noise_level": 0.1,
    "beta": 7.0,
}


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_no_parameter_set_after_fit_changes_an_answer(estimator):
    fitted = type(estimator)(**{**estimator.get_params(), **SETTINGS}).fit(X)
    before = answers(fitted)
    others = {**OTHER_VALUES, "missing": "mask" if estimator.missing == "error" else "error"}
    for name, value in fitted.get_params().items():
        assert others[name] != value, name
        fitted.set_params(**{name: others[name]})
        assert answers(fitted) == before, name
    assert fitted.get_params() == {name: others[name] for name in fitted.get_params()}
    assert answers(pickle.loads(pickle.dumps(fitted))) == before


def test_another_network_set_after_fit_changes_no_answer_of_a_pickle():
    network = Autoencoder(nn.Linear(4, 2), nn.Linear(2, 4))
    fitted = AutoencoderTransformer(network=network, max_epochs=1, random_state=0).fit(X)
    before = answers(fitted)
    fitted.set_params(network="dense")
    assert answers(pickle.loads(pickle.dumps(fitted))) == before
