"""The three meanings of ``contamination``: unknown, a share, and none."""

from __future__ import annotations

import numpy as np
import pytest

from aedetect import DenoisingAutoencoder

SETTINGS = {"hidden_layer_sizes": (8,), "max_epochs": 5, "random_state": 0, "scaling": None}


def make(contamination, **settings):
    return DenoisingAutoencoder(2, contamination=contamination, **{**SETTINGS, **settings})


@pytest.fixture(scope="module")
def rows():
    """Return 200 rows of which the first 20 are far off, each elsewhere."""
    rng = np.random.RandomState(0)
    X = rng.randn(200, 2) @ rng.randn(2, 5) + 0.2 * rng.randn(200, 5)
    X[:20] += 10 * rng.choice([-1, 1], (20, 5))
    return X


def test_rows_that_are_taken_for_anomalies_have_no_part_in_the_fit(rows):
    """Moved further out, they change nothing for the others."""
    moved = rows.copy()
    moved[:20] *= 3
    for contamination in (0.1, "auto"):
        detector, other = (make(contamination).fit(X) for X in (rows, moved))
        for method in ("reconstruct", "score_samples"):
            found, expected = (getattr(d, method)(rows[20:]) for d in (detector, other))
            assert np.array_equal(found, expected) == (contamination == 0.1)


@pytest.mark.parametrize("anomaly_score", ["auto", "reconstruction"])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_fit_predict_flags_the_share(rows, share, anomaly_score):
    labels = make(share, anomaly_score=anomaly_score).fit_predict(rows)
    assert (labels == -1).mean() == pytest.approx(share)
    n_found = (labels[:20] == -1).sum()
    assert n_found == min(20, 200 * share)


def test_of_clean_rows_none_is_flagged_and_odder_ones_are(rows):
    detector = make(0).fit(rows[20:])
    assert (detector.predict(rows[20:]) == 1).all()
    assert (detector.predict(rows[:20]) == -1).all()
    assert detector.score_samples(rows[20:]).min() == detector.offset_


def test_a_share_of_training_rows_with_missing_cells_is_flagged(rows):
    X = rows.copy()
    X[np.random.RandomState(1).rand(*X.shape) < 0.1] = np.nan
    labels = make(0.1, missing="mask", max_epochs=20).fit_predict(X)
    assert (labels == -1).mean() == pytest.approx(0.1)
    assert (labels[:20] == -1).mean() > 0.8


@pytest.mark.parametrize("n_rows", [2, 3, 4, 12])
@pytest.mark.parametrize("validation_fraction", [0.0, 0.1, 0.9])
def test_two_rows_are_left_to_train_on(rows, n_rows, validation_fraction):
    detector = make(0.5, validation_fraction=validation_fraction).fit(rows[:n_rows])
    assert np.isfinite(detector.score_samples(rows)).all()
