"""A new score is a class and an entry in the table of scores."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import aedetect
from aedetect import DenoisingAutoencoder
from aedetect.scoring import SCORES, Score

NAME = "largest error"


@dataclass(frozen=True, eq=False)
class LargestError(Score):
    """The largest error of a feature, in units of what is usual."""

    usual: float

    @classmethod
    def fit(cls, name, model, reference):
        largest = model.map_scaled(lambda view: view.errors.amax(dim=1), reference.x)
        return cls(name, float(largest.mean()))

    def __call__(self, view):
        return view.errors.amax(dim=1) / self.usual


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(SCORES, NAME, LargestError)


@pytest.fixture
def odd(normal):
    rows = normal[200:].copy()
    rows[:, 4] += 8 * normal.std(axis=0)[4]
    return rows


def fit(X, **options):
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 30, "random_state": 0, **options}
    return DenoisingAutoencoder(2, anomaly_score=NAME, **settings).fit(X)


def test_a_name_that_is_not_registered_is_refused(normal, monkeypatch):
    monkeypatch.delitem(SCORES, NAME)
    with pytest.raises(ValueError, match="anomaly_score"):
        fit(normal)


@pytest.mark.parametrize("options", [{}, {"n_members": 2}, {"missing": "mask"}], ids=str)
def test_a_new_score_scores_explains_and_repairs(normal, odd, options):
    detector = fit(normal[:200], **options)
    assert isinstance(detector.detector_.score, LargestError)
    assert (detector.predict(odd) == -1).mean() > 0.9
    assert (detector.predict(normal[200:]) == -1).mean() < 0.2
    assert (detector.explain(odd).argmax(axis=1) == 4).mean() > 0.7
    assert (detector.predict(detector.repair(odd)) == 1).all()


def test_a_new_score_is_the_largest_error(normal, odd):
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 30, "random_state": 0}
    errors = DenoisingAutoencoder(2, anomaly_score="reconstruction", **settings)
    largest = errors.fit(normal[:200]).explain(odd).max(axis=1)
    ratio = -fit(normal[:200]).score_samples(odd) / largest
    np.testing.assert_allclose(ratio, ratio[0])


def test_a_new_score_goes_through_pickles_and_files(normal, odd, tmp_path):
    detector = fit(normal[:200])
    aedetect.save(detector, tmp_path / "detector.aed")
    for twin in (pickle.loads(pickle.dumps(detector)), aedetect.load(tmp_path / "detector.aed")):
        np.testing.assert_array_equal(twin.decision_function(odd), detector.decision_function(odd))
        np.testing.assert_array_equal(twin.explain(odd), detector.explain(odd))


def test_a_new_score_is_exported(normal, odd, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    detector = fit(normal[:200])
    path = tmp_path / "detector.onnx"
    aedetect.to_onnx(detector, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    scores = session.run(["score_samples"], {"X": odd})[0]
    np.testing.assert_allclose(scores.ravel(), detector.score_samples(odd), rtol=1e-3)
