"""Thresholds that are set after the fit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import balanced_accuracy_score

from aedetect import DenoisingAutoencoder
from aedetect.scoring import (
    alarm_rank,
    alarm_threshold,
    labelled_threshold,
    rows_needed,
)
from aedetect.scoring import detector as scoring_detector

RULES = [{"fpr": 0.1}, {"contamination": 0.1}]


@pytest.fixture(scope="module")
def rows():
    """Return normal rows on a plane in five dimensions."""
    rng = np.random.RandomState(0)
    return rng.randn(1500, 2) @ rng.randn(2, 5) + 0.1 * rng.randn(1500, 5)


@pytest.fixture(scope="module")
def fitted(rows):
    return DenoisingAutoencoder(hidden_layer_sizes=(8,), max_epochs=10, random_state=0).fit(
        rows[:400]
    )


@pytest.fixture
def detector(fitted):
    return pickle.loads(pickle.dumps(fitted))


def flagged(detector, rows):
    return (detector.predict(rows) == -1).mean()


def test_fpr_is_the_share_of_given_rows_that_new_ones_are_compared_with(detector, rows):
    for fpr in (0.01, 0.05, 0.2):
        detector.set_threshold(fpr=fpr, X=rows[400:899])
        assert flagged(detector, rows[400:899]) == pytest.approx(
            fpr - 1 / 500 + fpr / 499, abs=1e-3
        )


def test_fpr_is_kept_on_average_over_the_rows_that_set_it(detector, rows):
    rng = np.random.RandomState(0)
    scores = detector.score_samples(rows[400:])
    rates = []
    for _ in range(500):
        mixed = rng.permutation(scores)
        rates.append((mixed[99:] < alarm_threshold(mixed[:99], 0.1)).mean())
    assert np.mean(rates) == pytest.approx(0.1, abs=4 * np.std(rates) / np.sqrt(500))


@pytest.mark.parametrize("contamination", ["auto", 0.02])
def test_fpr_without_rows_is_about_kept_on_rows_to_come(rows, contamination):
    detector = DenoisingAutoencoder(
        hidden_layer_sizes=(8,), max_epochs=10, contamination=contamination, random_state=0
    ).fit(rows[:400])
    for fpr in (0.05, 0.2):
        assert flagged(detector.set_threshold(fpr=fpr), rows[400:]) == pytest.approx(fpr, rel=0.5)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_contamination_of_the_training_rows_is_that_of_the_constructor(detector, rows, share):
    anew = clone(detector).set_params(contamination=share).fit(rows[:400])
    offset = anew.offset_
    assert anew.set_threshold(fpr=0.3).offset_ != offset
    assert anew.set_threshold(contamination=share, X=rows[:400]).offset_ == offset


def test_contamination_without_rows_flags_about_that_share(detector, rows):
    assert flagged(detector.set_threshold(contamination=0.1), rows[:400]) == pytest.approx(
        0.1, abs=0.03
    )


def test_labels_give_the_best_balanced_accuracy(detector, rows):
    rng = np.random.RandomState(0)
    X = np.r_[rows[400:700], rng.randn(20, 5) * rows.std(axis=0)]
    y = np.repeat([1, -1], [300, 20])
    detector.set_threshold(labels=(X, y))
    best = balanced_accuracy_score(y, detector.predict(X))
    scores = detector.score_samples(X)
    others = [balanced_accuracy_score(y, np.where(scores < t, -1, 1)) for t in np.sort(scores)]
    assert best == pytest.approx(max(others))
    assert best > 0.8


def test_a_labelled_threshold_lies_half_way_and_lowest_among_equals():
    scores = np.array([0.0, 1.0, 3.0, 4.0])
    assert labelled_threshold(scores, np.array([-1, -1, 1, 1])) == 2.0
    assert labelled_threshold(scores, np.array([-1, 1, -1, 1])) == 0.5
    # Where anomalies score higher than all normal rows, nothing is flagged.
    assert labelled_threshold(scores, np.array([1, 1, 1, -1])) == 0.0
    near = np.array([1.0, np.nextafter(1.0, 2.0)])
    assert near[0] < labelled_threshold(near, np.array([-1, 1])) <= near[1]


@pytest.mark.parametrize("rule", [*RULES, "labels"], ids=str)
def test_only_the_offset_changes_and_it_lasts(detector, rows, rule):
    if rule == "labels":
        rule = {"labels": (np.r_[rows[:50], 9 + rows[:5]], np.repeat([1, -1], [50, 5]))}
    before, fitted_before = dict(vars(detector)), vars(detector.detector_).copy()
    assert detector.set_threshold(**rule) is detector
    after, fitted = dict(vars(detector)), vars(detector.detector_)
    assert before.pop("detector_") is not after.pop("detector_")
    assert all(after[name] is value for name, value in before.items())
    assert fitted_before.pop("offset") != detector.offset_
    assert all(fitted[name] is value for name, value in fitted_before.items())
    np.testing.assert_array_equal(
        detector.decision_function(rows), detector.score_samples(rows) - detector.offset_
    )
    assert pickle.loads(pickle.dumps(detector)).offset_ == detector.offset_


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules_follow_their_value_and_their_rows(detector, rows, rule):
    (name,) = rule
    offsets = [
        detector.set_threshold(**rule).offset_,
        detector.set_threshold(**{name: 0.3}).offset_,
        detector.set_threshold(**rule, X=rows[400:]).offset_,
    ]
    assert len(set(offsets)) == 3
    assert offsets[1] > offsets[0]


def test_few_scores_are_kept(rows, monkeypatch):
    monkeypatch.setattr(scoring_detector, "N_REFERENCE", 50)
    monkeypatch.setattr(scoring_detector, "N_LEFT_OUT", 30)
    detector = DenoisingAutoencoder(hidden_layer_sizes=(8,), max_epochs=1, random_state=0)
    assert len(detector.fit(rows).detector_.left_out_scores) == 50
    assert len(detector.set_params(contamination=0.1).fit(rows).detector_.left_out_scores) == 30


def test_a_callback_gets_an_estimator_whose_threshold_can_be_set(rows):
    offsets = []

    class Setter:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            offsets.append(fitted_estimator.set_threshold(fpr=0.1).offset_)

    detector = DenoisingAutoencoder(hidden_layer_sizes=(8,), max_epochs=2, random_state=0)
    detector.set_callbacks(Setter()).fit(rows[:100])
    assert len(set(offsets)) > 1
    assert detector.set_threshold(fpr=0.1).offset_ in offsets


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.05, 0.01, 1 / 3, 0.29])
def test_the_number_of_rows_needed_is_the_least_that_will_do(rate):
    n = rows_needed(rate)
    assert alarm_rank(n, rate) == 1
    assert alarm_rank(n - 1, rate) == 0
    assert n == pytest.approx(1 / rate - 1, abs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one of fpr, contamination, labels, but it was given none"),
        ({"fpr": 0.1, "contamination": 0.1}, "given fpr and contamination"),
        ({"fpr": 0.0}, "fpr == 0.0, must be > 0"),
        ({"fpr": 0.001}, "fpr=0.001 takes 999 normal rows, but there are 400. Raise fpr"),
        ({"contamination": 0.6}, "contamination == 0.6, must be <= 0.5"),
        ({"labels": ([[0.0] * 5] * 2, [0, 1])}, r"but it holds \[0, 1\]. .* use 1 - 2 \* y"),
        ({"labels": ([[0.0] * 5] * 2, [1, 1])}, r"some of each, but it holds \[1\]"),
        ({"labels": ([[0.0] * 5] * 2, [1, -1, 1])}, "inconsistent numbers of samples"),
        ({"labels": [[0.0] * 5] * 3}, r"a pair \(X, y\), but is of type list"),
        ({"labels": ([[0.0] * 5], [1]), "X": [[0.0] * 5]}, "X goes with fpr or contamination"),
    ],
)
def test_a_rule_that_makes_no_sense_is_an_error(detector, arguments, message):
    before = detector.offset_
    with pytest.raises(ValueError, match=message):
        detector.set_threshold(**arguments)
    assert detector.offset_ == before


def test_there_is_no_threshold_before_the_fit():
    with pytest.raises(NotFittedError):
        DenoisingAutoencoder().set_threshold(fpr=0.1)
