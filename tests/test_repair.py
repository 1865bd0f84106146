"""The nearest normal version of a row."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from aedetect import AutoencoderTransformer, VAEDetector
from aedetect.scoring import SCORES
from aedetect.scoring.repair import repair


def fit(X, score="auto", estimator_class=AutoencoderTransformer, **settings):
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 60, **settings}
    return estimator_class(2, anomaly_score=score, random_state=0, **settings).fit(X)


@pytest.fixture(scope="module")
def detector(normal):
    return fit(normal[:200])


def falsify(X, n_cells=1, deviations=6.0):
    """Return rows of which some cells each are moved, and which those are."""
    rng, rows = np.random.RandomState(1), X.copy()
    for row in rows:
        columns = rng.permutation(X.shape[1])[:n_cells]
        row[columns] += deviations * X.std(axis=0)[columns]
    return rows, rows != X


@pytest.mark.parametrize("score", SCORES)
def test_anomalies_become_normal_by_few_features(score, normal):
    detector = fit(normal[:200], score, VAEDetector, beta=0.1, max_epochs=40)
    rows, _ = falsify(normal[200:208])
    odd = detector.predict(rows) == -1
    assert odd.any()
    repaired = detector.repair(rows)
    assert (detector.predict(repaired) == 1).all()
    n_changed = (repaired != rows).sum(axis=1)
    assert (n_changed[odd] >= 1).all()
    assert n_changed[odd].mean() < 2.5
    np.testing.assert_array_equal(repaired[~odd], rows[~odd])


@pytest.mark.parametrize("settings", [{"n_members": 2}, {"loss": "huber"}], ids=str)
def test_ensembles_and_other_losses_are_repaired(settings, normal):
    detector = fit(normal[:200], max_epochs=40, **settings)
    rows, _ = falsify(normal[200:208])
    assert (detector.predict(detector.repair(rows)) == 1).all()


def test_normal_rows_come_back_as_they_are(detector, normal):
    rows = normal[detector.predict(normal) == 1]
    repaired = detector.repair(rows)
    assert repaired is not rows
    np.testing.assert_array_equal(repaired, rows)


def test_the_false_cell_is_changed_and_moves_back(detector, normal):
    clean = normal[200:]
    rows, false = falsify(clean)
    odd = detector.predict(rows) == -1
    repaired = detector.repair(rows)
    changed = repaired != rows
    alone = odd & (changed.sum(axis=1) == 1)
    assert alone.mean() > 0.5
    assert (changed[alone] == false[alone]).all(axis=1).mean() > 0.9
    deviations = clean.std(axis=0)
    before = (np.abs(rows - clean) / deviations)[odd].sum()
    after = (np.abs(repaired - clean) / deviations)[odd].sum()
    assert after < 0.6 * before


def test_more_false_cells_take_more_features(detector, normal):
    counts = []
    for n_cells in (1, 3):
        rows, _ = falsify(normal[200:220], n_cells)
        counts.append((detector.repair(rows) != rows).sum(axis=1).mean())
    assert counts[1] > counts[0] + 0.5


def test_a_repair_stops_once_the_row_is_normal(detector, normal):
    """The row halfway back to the odd one is odd again."""
    rows, _ = falsify(normal[200:220])
    odd = detector.predict(rows) == -1
    repaired = detector.repair(rows)[odd]
    back = repaired + 0.1 * (rows[odd] - repaired)
    assert (detector.predict(back) == -1).mean() > 0.9


def test_a_row_is_repaired_alone_as_in_a_batch(detector, normal):
    # Close, not bit for bit: gradients are products that round by the size of the batch.
    rows, _ = falsify(normal[200:210])
    alone = np.vstack([detector.repair(row[None]) for row in rows])
    together = detector.repair(rows)
    np.testing.assert_array_equal(alone != rows, together != rows)
    np.testing.assert_allclose(alone / normal.std(axis=0), together / normal.std(axis=0), atol=0.05)
    np.testing.assert_array_equal(detector.repair(rows), together)


def test_many_rows_are_repaired_in_blocks(detector, normal, monkeypatch):
    rows, _ = falsify(normal[200:210])
    whole = detector.repair(rows)
    monkeypatch.setattr("aedetect.scoring.detector.REPAIRED", 3)
    np.testing.assert_array_equal(detector.repair(rows) != rows, whole != rows)


def test_a_dataframe_comes_back_with_its_names_and_index(normal):
    frame = pd.DataFrame(normal, columns=list("abcdef"), index=range(1000, 1240))
    detector = fit(frame[:200], max_epochs=10)
    rows = frame[200:210].copy()
    rows["b"] += 100
    repaired = detector.repair(rows)
    assert isinstance(repaired, pd.DataFrame)
    pd.testing.assert_index_equal(repaired.index, rows.index)
    assert repaired.columns.tolist() == list("abcdef")
    assert (repaired["b"] != rows["b"]).all()
    np.testing.assert_array_equal(detector.predict(repaired), 1)
    nameless = fit(normal[:200], max_epochs=10).repair(pd.DataFrame(rows.to_numpy()))
    assert isinstance(nameless, pd.DataFrame)
    np.testing.assert_allclose(nameless.to_numpy(), repaired.to_numpy())


def test_the_dtype_is_kept(detector, normal):
    rows, _ = falsify(normal[200:205])
    for dtype in (np.float32, np.float64):
        repaired = detector.repair(rows.astype(dtype))
        assert repaired.dtype == dtype
        assert (detector.predict(repaired) == 1).all()


def test_bce_rows_stay_in_the_unit_interval(digits):
    X = digits[0][digits[1] == 0]
    detector = fit(X[:120], "reconstruction", loss="bce", max_epochs=40)
    rows = X[120:130].copy()
    rows[:, 27:30] = 1 - rows[:, 27:30]
    rows[:, 35:38] = 1 - rows[:, 35:38]
    assert (detector.predict(rows) == -1).any()
    repaired = detector.repair(rows)
    assert repaired.min() >= 0
    assert repaired.max() <= 1
    assert (detector.predict(repaired) == 1).all()


def test_images_are_repaired(digits):
    X = digits[0][digits[1] == 0]
    detector = fit(
        X[:120], "auto", image_shape=(1, 8, 8), network="conv", hidden_layer_sizes=(4, 8)
    )
    rows = X[120:130].copy()
    rows.reshape(-1, 8, 8)[:, 3:5, 3:5] = 1
    odd = detector.predict(rows) == -1
    assert odd.any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        repaired = detector.repair(rows)
    assert (detector.predict(repaired) == 1).mean() > 0.8
    assert (repaired != rows)[odd].mean() < 0.5


def test_what_cannot_be_made_normal_comes_back_closer_with_a_warning(normal):
    detector = fit(normal[:200], max_epochs=10)
    rows, _ = falsify(normal[200:203])
    detector.offset_ = -1e-9  # no row scores as high
    with pytest.warns(UserWarning, match="3 anomalies could not be made normal"):
        repaired = detector.repair(rows)
    assert (detector.score_samples(repaired) > detector.score_samples(rows)).all()


def test_the_search_asks_a_wide_row_no_more_often_than_a_narrow_one():
    counts = []
    for n_features in (10, 300):
        asked = []

        def log_score(x, asked=asked):
            asked.append(len(x))
            return torch.log(x.square().sum(dim=1))

        x = torch.zeros(1, n_features)
        x[0, 3] = 9.0
        own, is_number = torch.eye(n_features).bool(), torch.ones(n_features).bool()
        typical = torch.zeros(n_features)
        repaired = repair(log_score, torch.zeros_like, x, typical, own, is_number, limit=0.0)
        assert (repaired != x).nonzero().tolist() == [[0, 3]]
        assert log_score(repaired) <= 0
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_repair_before_fit_is_refused(normal):
    with pytest.raises(ValueError, match="not fitted yet"):
        AutoencoderTransformer().repair(normal)
