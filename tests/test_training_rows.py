"""Training rows, which are judged as if they had been left out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

from aedetect import DenoisingAutoencoder
from aedetect.scoring import EVIDENCE_SCORES, SCORES
from aedetect.scoring.marks import fit_marks

FITTED_TO_ROWS = {
    *("activations", "nap", "mahalanobis", "neighbors", "latent_neighbors"),
    *("density", "kernel_residual", "relative", "robust", "sharp"),
}


def with_odd_rows(n_rows, seed):
    """Return rows of ten columns, the first three of them six deviations off."""
    rng = np.random.RandomState(seed)
    X = rng.randn(n_rows, 10)
    X[:3] += 6 * rng.choice([-1, 1], (3, 10))
    return X


@pytest.mark.parametrize("n_rows", [60, 100])
@pytest.mark.parametrize("seed", range(3))
def test_fit_predict_flags_the_few_odd_rows(n_rows, seed):
    X = with_odd_rows(n_rows, seed)
    detector = DenoisingAutoencoder(random_state=seed, max_epochs=15)
    labels = detector.fit_predict(X)
    assert (labels[:3] == -1).all()
    assert (labels[3:] == -1).mean() < 0.1
    np.testing.assert_array_equal(detector.predict(X), labels)
    np.testing.assert_array_equal(clone(detector).fit(X).predict(X[::-1])[::-1], labels)


@pytest.mark.parametrize("contamination", [0.05, "auto"])
def test_labels_of_training_rows_are_those_of_their_scores(contamination):
    X = with_odd_rows(100, 0)
    detector = DenoisingAutoencoder(random_state=0, max_epochs=5, contamination=contamination)
    labels = detector.fit_predict(X)
    np.testing.assert_array_equal(labels == -1, detector.score_samples(X) < detector.offset_)
    left_out = detector.detector_.left_out_scores
    if contamination == "auto":
        np.testing.assert_array_equal(np.sort(detector.score_samples(X)), left_out)
    else:  # without the five rows that are taken for anomalies
        assert len(left_out) == 95
        assert np.isin(left_out, detector.score_samples(X)).all()


@pytest.mark.parametrize("score", [s for s in SCORES if s not in EVIDENCE_SCORES])
def test_a_training_row_is_judged_without_itself(score):
    rng = np.random.RandomState(0)
    X = rng.randn(40, 6).astype(np.float32)
    detector = DenoisingAutoencoder(anomaly_score=score, random_state=0, max_epochs=3).fit(X)
    rounded, moved = (detector.score_samples(X * factor) for factor in (1 + 1e-7, 1 + 1e-3))
    scores = detector.score_samples(X)
    np.testing.assert_allclose(rounded, scores, rtol=1e-4)
    if score in FITTED_TO_ROWS:
        assert np.mean(scores < moved) > 0.9
    else:
        np.testing.assert_allclose(moved, scores, rtol=0.2)


def test_marks_recognise_rows_in_any_order_and_no_others():
    rng = np.random.RandomState(0)
    rows = rng.randn(2000, 7).astype(np.float32)
    rows[50:60] = rows[40:50]
    oddities = rng.rand(2000)
    oddities[50:60] = oddities[40:50]
    marks = fit_marks(rows, oddities)
    asked = torch.from_numpy(np.r_[rows[::-1], rng.randn(500, 7).astype(np.float32)])
    found = marks.replace_known(asked, torch.full((2500,), np.inf, dtype=torch.float64)).numpy()
    np.testing.assert_array_equal(found[:2000], oddities[::-1])
    assert np.isinf(found[2000:]).all()


@pytest.mark.parametrize("settings", [{}, {"missing": "mask"}, {"anomaly_score": "sharp"}])
def test_a_training_row_has_its_stored_score_in_any_company(settings):
    rng = np.random.RandomState(0)
    X = rng.randn(200, 6)
    if settings.get("missing"):
        X[rng.rand(200, 6) < 0.1] = np.nan
    detector = DenoisingAutoencoder(random_state=0, max_epochs=3, **settings).fit(X)
    scores = detector.score_samples(X)
    mixed = detector.score_samples(np.vstack([rng.randn(77, 6), X[::-1], rng.randn(9, 6)]))
    np.testing.assert_array_equal(mixed[77:277], scores[::-1])
    alone = np.concatenate([detector.score_samples(X[i : i + 1]) for i in range(20)])
    np.testing.assert_array_equal(alone, scores[:20])


@pytest.mark.parametrize("settings", [{}, {"missing": "mask"}, {"anomaly_score": "activations"}])
def test_odd_training_rows_are_repaired_as_new_ones(settings):
    X = with_odd_rows(60, 0)
    detector = DenoisingAutoencoder(random_state=0, max_epochs=15, **settings).fit(X)
    odd = detector.predict(X) == -1
    assert odd[:3].all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repaired = detector.repair(X)
    assert (detector.predict(repaired) == 1).all()
    np.testing.assert_array_equal(repaired[~odd], X[~odd])
    moved = np.abs(repaired - X).sum(axis=1)[:3]
    assert (moved > 6).all()  # no hair's breadth from a reference row, which makes it normal


def gaussian(rng, n_rows):
    return rng.randn(n_rows, 3) @ np.random.RandomState(5).randn(3, 8) + 0.3 * rng.randn(n_rows, 8)


def student(rng, n_rows):
    rows = rng.randn(n_rows, 8) @ np.random.RandomState(5).randn(8, 8)
    return rows / np.sqrt(rng.chisquare(2, (n_rows, 1)) / 2)


def binary(rng, n_rows):
    chances = np.random.RandomState(5).uniform(0.05, 0.9, (3, 12))
    return (rng.rand(n_rows, 12) < chances[rng.randint(3, size=n_rows)]).astype(float)


def one_hot(rng, n_rows):
    kinds, draw = rng.randint(3, size=n_rows), np.random.RandomState(5).dirichlet
    chances = [draw(np.full(k, 0.7), 3)[kinds].cumsum(axis=1) for k in (3, 4, 5, 6)]
    chosen = [(rng.rand(n_rows, 1) > c).sum(axis=1) for c in chances]
    return np.hstack([np.eye(c.shape[1] + 1)[i] for c, i in zip(chances, chosen, strict=True)])


@pytest.mark.parametrize("make", [gaussian, student, binary, one_hot])
def test_auto_flags_about_a_fortieth_of_new_normal_rows(make):
    rates = []
    for seed in range(2):
        rng = np.random.RandomState(seed)
        detector = DenoisingAutoencoder(random_state=seed, max_epochs=10).fit(make(rng, 1000))
        rates.append((detector.predict(make(rng, 2000)) == -1).mean())
    assert 0.0125 < np.mean(rates) < 0.05
