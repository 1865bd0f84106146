"""The default score of tables whose training rows are known to be clean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aedetect import DenoisingAutoencoder
from aedetect.model import StateError
from aedetect.scoring.reconstruction import Reconstruction


def fit(X, score, **settings):
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 10, "random_state": 0, **settings}
    return DenoisingAutoencoder(2, anomaly_score=score, **settings).fit(X)


@pytest.mark.parametrize("n_members", [1, 2])
def test_scores_are_weighted_geometric_means_of_three_others(n_members, normal):
    parts = {"activations": 0.4, "kernel_residual": 0.4, "reconstruction": 0.2}
    fitted = {s: fit(normal[:100], s, n_members=n_members) for s in (*parts, "sharp")}
    scores = {name: -detector.score_samples(normal) for name, detector in fitted.items()}
    expected = np.prod([scores[name] ** weight for name, weight in parts.items()], axis=0)
    np.testing.assert_allclose(scores["sharp"], expected, rtol=1e-6)


def test_a_false_cell_lowers_the_score(normal):
    detector = fit(normal[:200], "sharp", max_epochs=40)
    rows = normal[200:].copy()
    rows[:, 3] += 3 * normal.std(axis=0)[3]
    assert np.mean(detector.score_samples(rows) < detector.score_samples(normal[200:])) > 0.9


def test_parts_of_other_scores_are_refused(normal):
    detector = fit(normal[:50], "sharp").detector_
    score = detector.score
    score.check(detector.model)
    for change in (
        {"whitenings": 2 * score.whitenings},
        {"reconstruction": Reconstruction("standardized")},
        {"residual": replace(score.residual, width=-1.0)},
        {"marks": replace(score.marks, scores=score.marks.scores[1:])},
    ):
        with pytest.raises(StateError):
            replace(score, **change).check(detector.model)
