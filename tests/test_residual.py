"""The score by a kernel regression of rows on training rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from aedetect import AutoencoderTransformer
from aedetect.model import StateError
from aedetect.scoring.residual import N_SITES, WIDTHS


def fit(X, **settings):
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 1, "random_state": 0, **settings}
    return AutoencoderTransformer(2, anomaly_score="kernel_residual", **settings).fit(X)


def residuals(squares, rows, points, width):
    """Return the squared residuals of points, regressed on rows at these squared distances."""
    nearest = squares.min(axis=1, keepdims=True)
    weights = np.exp(-(squares - nearest) / (2 * width**2))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.square(weights @ rows - points).sum(axis=1)


def test_scores_are_residuals_of_the_regression_of_nadaraya_and_watson(normal):
    X, X_new = normal[:100], normal[100:]
    detector = fit(X)
    rows, new = (detector.detector_.model.scale(part).astype(float) for part in (X, X_new))
    score = detector.detector_.score
    expected = residuals(cdist(new, rows) ** 2, rows, new, score.width) + score.floor
    np.testing.assert_allclose(-detector.score_samples(X_new), expected, rtol=1e-3)


def test_a_training_row_is_regressed_on_the_others_by_the_best_width(normal):
    X = normal[:100]
    detector = fit(X)
    rows = detector.detector_.model.scale(X).astype(float)
    squares = cdist(rows, rows) ** 2
    np.fill_diagonal(squares, np.inf)
    unit = np.median(np.sqrt(squares.min(axis=1)))
    left_out = {width: residuals(squares, rows, rows, unit * width) for width in WIDTHS}
    best = min(left_out, key=lambda width: np.log(left_out[width]).mean())
    score = detector.detector_.score
    assert score.width == pytest.approx(best * unit)
    np.testing.assert_allclose(-detector.score_samples(X), left_out[best] + score.floor, rtol=1e-3)


def test_a_copy_of_a_pair_of_equal_rows_is_regressed_on_the_other_of_them(normal):
    X = np.r_[normal[:100], normal[:1]]
    detector = fit(X)
    alone, paired = -detector.score_samples(normal[1:2]), -detector.score_samples(normal[:1])
    assert paired < 0.5 * alone


def test_a_false_cell_lowers_the_score(normal):
    detector = fit(normal[:200])
    rows = normal[200:].copy()
    rows[:, 3] += 4 * normal.std(axis=0)[3]
    assert np.mean(detector.score_samples(rows) < detector.score_samples(normal[200:])) > 0.9


def test_rows_are_regressed_on_two_thousand_training_rows():
    detector = fit(np.random.RandomState(0).randn(2100, 3))
    assert detector.detector_.score.points.shape == (N_SITES, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0.0},
        {"floor": 0.0},
        {"points": np.zeros((1, 6), np.float32)},
        {"points": np.zeros((5, 5), np.float32)},
        {"points": np.zeros((5, 6))},
    ],
    ids=str,
)
def test_a_forged_regression_is_refused(change, normal):
    detector = fit(normal[:30]).detector_
    with pytest.raises(StateError):
        replace(detector.score, **change).check(detector.model)
