"""Tests that a fit that fails, at any step, leaves an estimator as it was."""

from __future__ import annotations

import copy
import pickle
import sys
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn
from values import OTHER_VALUES

import aedetect
from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.estimators.parameters import PARAMETERS
from aedetect.model import inference
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
        if frame.f_code.co_filename.startswith(PACKAGE):
            calls.setdefault(frame.f_code)

    sys.settrace(note)
    try:
        function()
    finally:
        sys.settrace(None)
    return list(calls)


def fail_at(code, function):
    """Call ``function`` and raise an error in the first call of ``code``."""

    def fail(frame, event, argument):
        if frame.f_code is code:
            raise InjectedError

    sys.settrace(fail)
    try:
        function()
    finally:
        sys.settrace(None)


def answers(estimator):
    return [
        np.asarray(estimator.offset_).tobytes(),
        *(method(X).tobytes() for method in methods_of(estimator)),
        estimator.explain(X[:3]).tobytes(),
        estimator.summary().to_csv(),
        *([estimator.corrupt(X, 0).tobytes()] if hasattr(estimator, "corrupt") else []),
        *([estimator.sample(3, 0).tobytes()] if hasattr(estimator, "sample") else []),
    ]


def methods_of(estimator):
    return [
        estimator.decision_function,
        estimator.score_samples,
        estimator.predict,
        estimator.transform,
        estimator.reconstruct,
        estimator.repair,
    ]


# Together they call most of the package; what an earlier one calls is not tried again.
ESTIMATORS = [
    AutoencoderTransformer(**SETTINGS, anomaly_score="standardized"),
    VAEDetector(**SETTINGS, anomaly_score="robust"),
    DenoisingAutoencoder(
        **SETTINGS, missing="mask", noise="salt_and_pepper", anomaly_score="reconstruction"
    ),
]
METHODS = {
    "fit": lambda estimator: estimator.fit(X_later),
    "partial_fit": lambda estimator: estimator.partial_fit(X_later),
    "set_threshold": lambda estimator: estimator.set_threshold(fpr=0.2, X=X_later),
}


@pytest.fixture
def in_one_thread(monkeypatch):
    """Compute on the calling thread, the only one whose calls are seen."""
    monkeypatch.setattr(inference, "_threads", InOneThread)


class InOneThread:
    def submit(self, function, *arguments, **options):
        future = Future()
        future.set_result(function(*arguments, **options))
        return future


def new_steps(estimators, call):
    """Yield each estimator, and the functions that are called for it and for none before."""
    seen = set()
    for estimator in estimators:
        twin = copy.deepcopy(estimator)
        steps = called_by(lambda twin=twin: call(twin))
        yield estimator, [step for step in steps if step not in seen]
        seen.update(steps)


@pytest.mark.usefixtures("in_one_thread")
@pytest.mark.parametrize("method", METHODS)
def test_a_step_that_fails_leaves_a_fitted_estimator_as_it_was(method):
    call = METHODS[method]
    n_steps = n_failures = 0
    for fitted, steps in new_steps([clone(estimator).fit(X) for estimator in ESTIMATORS], call):
        attributes, before = dict(vars(fitted)), answers(fitted)
        assert answers(call(copy.deepcopy(fitted))) != before
        for step in steps:
            fitted.detector_.model._places.clear()  # as in the twin whose calls were noted
            try:
                fail_at(step, lambda fitted=fitted: call(fitted))
            except InjectedError:
                n_failures += 1
                assert vars(fitted) == attributes, step
            else:  # the step is only there the first time, or the error was expected there
                fitted.__dict__ = dict(attributes)
        n_steps += len(steps)
        assert answers(fitted) == before
    assert n_steps > (200 if method != "set_threshold" else 25)
    assert n_failures > 0.8 * n_steps


@pytest.mark.usefixtures("in_one_thread")
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_step_that_fails_leaves_a_fresh_estimator_unfitted(method):
    call = METHODS[method]
    n_steps = n_failures = 0
    for fresh, steps in new_steps([clone(estimator) for estimator in ESTIMATORS], call):
        attributes = dict(vars(fresh))
        for step in steps:
            try:
                fail_at(step, lambda fresh=fresh: call(fresh))
            except InjectedError:
                n_failures += 1
                assert vars(fresh) == attributes, step
            else:
                fresh.__dict__ = dict(attributes)
        n_steps += len(steps)
        with pytest.raises(NotFittedError):
            fresh.score_samples(X)
    assert n_steps > 200
    assert n_failures > 0.8 * n_steps


@pytest.mark.filterwarnings("ignore:.*could not be made normal")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_no_parameter_set_after_fit_changes_an_answer(estimator):
    fitted = clone(estimator).fit(X)
    before = answers(fitted)
    others = {**OTHER_VALUES, "missing": "mask" if estimator.missing == "error" else "error"}
    assert set(others) == set(PARAMETERS)
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
