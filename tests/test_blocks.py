"""Calibration by blocks of rows in order of time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binomtest
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.model_selection import KFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline

import aedetect
from aedetect import AutoencoderTransformer, ConformalDetector, Monitor
from aedetect.cli import main
from aedetect.conformal.p_values import conformal_p_values
from aedetect.conformal.splitting import split_rows
from aedetect.persistence import info
from aedetect.scoring import alarm_rank, rows_needed
from aedetect.series import WindowTransformer

METHODS = ["score_samples", "decision_function", "predict", "p_values", "select"]


class Nearest(OutlierMixin, BaseEstimator):
    """Scores a row by its distance to the nearest row that it was fitted to."""

    def fit(self, X, y=None):
        self.neighbors_ = NearestNeighbors(n_neighbors=1).fit(X)
        return self

    def score_samples(self, X):
        return -self.neighbors_.kneighbors(X)[0][:, 0]


def make_series(rng, n_rows):
    """Return a stationary series in which a value is 0.95 of the one before, plus noise."""
    return lfilter([1], [1, -0.95], rng.randn(n_rows + 200))[200:, None]


@pytest.fixture(scope="module")
def windows():
    return WindowTransformer(5).fit_transform(make_series(np.random.RandomState(0), 404))


def divide(n_rows, **settings):
    settings = {"cv": None, "calibration_size": 0.3, "random_state": np.random.RandomState(0)} | (
        settings
    )
    return split_rows(np.zeros((n_rows, 1)), **settings)


# The rate of false alarms.


def false_alarms(detector, width=20, n_repeats=30):
    """Return the mean share of alarms in new parts of series without anomalies, and its error."""
    rng = np.random.RandomState(0)
    shares = []
    for _ in range(n_repeats):
        series = make_series(rng, 2000)
        model = make_pipeline(WindowTransformer(width), detector).fit(series[:1200])
        shares.append((model.predict(series[1500:]) == -1).mean())
    return np.mean(shares), np.std(shares) / np.sqrt(n_repeats)


def test_windows_of_autocorrelated_series_keep_the_level_by_blocks_and_not_by_random_rows():
    alpha = 0.1
    by_blocks, error = false_alarms(ConformalDetector(Nearest(), alpha=alpha, block_size=40))
    assert by_blocks - 3 * error <= alpha
    assert by_blocks > alpha / 10  # a detector without alarms would also keep it
    at_random, error = false_alarms(ConformalDetector(Nearest(), alpha=alpha, random_state=0))
    assert at_random - 3 * error > 1.5 * alpha


@pytest.mark.parametrize("block_size", [1, 10])
def test_p_values_of_rows_that_share_their_score_with_their_block(block_size):
    """The strongest dependence there is: 9 calibration blocks of 10 equal scores."""
    rng, n_repeats, t = np.random.RandomState(0), 2000, 0.05
    blocks = rng.randn(n_repeats, 10)
    p = np.array(
        [
            conformal_p_values([np.sort(np.repeat(b[:9], 10))], [b[9:]], block_size)[0]
            for b in blocks
        ]
    )
    n_below = int((p <= t).sum())
    keeps_level = binomtest(n_below, n_repeats, t, alternative="greater").pvalue > 1e-3
    assert keeps_level == (block_size == 10)
    if block_size == 10:  # one block of ten is the oddest
        assert binomtest(int((p <= 0.1).sum()), n_repeats, 0.1).pvalue > 1e-3


def test_the_share_of_any_block_exchanged_with_those_that_calibrate_is_bounded():
    """The sum over all blocks, each in turn the new one, is the bound of the proof."""
    rng, n_blocks, size = np.random.RandomState(0), 8, 5
    blocks = np.round(lfilter([1], [1, -0.9], rng.randn(n_blocks, size)), 1)  # with ties
    for t in (0.2, 0.3, 0.5):
        shares = []
        for new in range(n_blocks):
            calibration = np.sort(np.delete(blocks, new, axis=0).ravel())
            shares.append((conformal_p_values([calibration], [blocks[new]], size) <= t).mean())
        assert np.mean(shares) <= t


def test_a_monitor_needs_independent_rows(windows):
    detector = ConformalDetector(Nearest(), block_size=3).fit(windows)
    with pytest.raises(ValueError, match="Monitor needs independent calibration rows"):
        Monitor(detector).update(windows)


@pytest.mark.parametrize("alpha", [0.1, 0.29, 1 / 3])
@pytest.mark.parametrize("settings", [{}, {"cv": 4}], ids=["", "cv"])
def test_alarms_are_where_p_is_at_most_alpha(windows, alpha, settings):
    detector = ConformalDetector(Nearest(), alpha=alpha, block_size=3, **settings).fit(windows)
    odd = np.r_[windows[:50], windows[:50] + np.linspace(0, 30, 50)[:, None]]
    p, labels = detector.p_values(odd), detector.predict(odd)
    np.testing.assert_array_equal(labels == -1, p <= alpha)
    assert set(labels) == {-1, 1}
    n = len(detector.calibration_scores_)
    assert p.min() == 3 / (n + 3)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.29, 1 / 3])
@pytest.mark.parametrize("block_size", [1, 7])
def test_the_number_of_rows_needed_is_the_least_number_of_blocks(rate, block_size):
    n = rows_needed(rate, block_size)
    assert n % block_size == 0
    assert alarm_rank(n, rate, block_size) >= 1
    assert alarm_rank(n - block_size, rate, block_size) == 0


def test_too_few_blocks_warn_with_the_rows_needed(windows):
    with pytest.warns(UserWarning, match=r"120 calibration rows are too few .* it takes 190"):
        detector = ConformalDetector(Nearest(), block_size=10).fit(windows)
    assert (detector.predict(windows + 9) == 1).all()


# The division of the rows.


def test_the_last_blocks_calibrate_and_a_block_lies_between():
    ((fitted, held_out),) = divide(100, calibration_size=0.25, block_size=10)
    np.testing.assert_array_equal(held_out, np.arange(70, 100))  # 25 rows rounded up to blocks
    np.testing.assert_array_equal(fitted, np.arange(60))


@pytest.mark.parametrize("cv", [4, KFold(4), [(np.arange(20, 80), np.r_[0:20, 80:100])] * 1])
def test_folds_keep_a_block_away_from_the_rows_that_they_hold_out(cv):
    if isinstance(cv, list):
        cv = [*cv, (np.r_[0:20, 80:100], np.arange(20, 80))]
    folds = divide(100, cv=cv, block_size=10)
    np.testing.assert_array_equal(np.sort(np.concatenate([h for _, h in folds])), np.arange(100))
    for fitted, held_out in folds:
        distances = np.abs(fitted[:, None] - held_out).min(axis=1)
        assert distances.min() == 11  # ten rows between


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block_size": 50}, "30 of 100 rows cannot calibrate in blocks of block_size=50"),
        ({"cv": KFold(5, shuffle=True), "block_size": 9}, "less than block_size=9 rows away"),
    ],
)
def test_too_few_rows_for_blocks_are_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        divide(100, **settings)
    with pytest.raises(ValueError, match="'block_size' parameter"):
        ConformalDetector(Nearest(), block_size=0).fit(np.zeros((9, 1)))


def test_calibrating_uses_whole_blocks_of_the_last_rows(windows):
    detector = ConformalDetector(
        Nearest().fit(windows[:200]), prefit=True, alpha=0.3, block_size=30
    )
    detector.calibrate(windows[300:])
    np.testing.assert_array_equal(np.sort(detector.calibration_indices_), np.arange(10, 100))
    with pytest.raises(ValueError, match="a block of block_size=30 rows or more, but X has 20"):
        detector.calibrate(windows[:20])
    assert len(detector.calibration_scores_) == 90


def test_block_size_acts_at_the_next_fit(windows):
    detector = ConformalDetector(Nearest(), alpha=0.2, block_size=6).fit(windows)
    before = {name: getattr(detector, name)(windows) for name in METHODS}
    detector.set_params(block_size=1)
    for name in METHODS:
        np.testing.assert_array_equal(getattr(detector, name)(windows), before[name])
    assert not np.array_equal(detector.fit(windows).p_values(windows), before["p_values"])


def test_methods_that_need_independent_rows_refuse_blocks(windows):
    detector = ConformalDetector(Nearest(), alpha=0.2, block_size=6).fit(windows)
    with pytest.raises(ValueError, match="fpr_interval needs independent calibration rows"):
        detector.fpr_interval()
    ratios = np.ones(len(detector.calibration_scores_)), np.ones(3)
    with pytest.raises(ValueError, match="weights needs independent calibration rows"):
        detector.p_values(windows[:3], weights=ratios)


@pytest.mark.parametrize("prefit", [False, True])
def test_windows_inside_are_refused_with_the_way_to_go(prefit):
    series = make_series(np.random.RandomState(0), 100)
    inner = make_pipeline(WindowTransformer(5), Nearest())
    detector = ConformalDetector(inner.fit(series) if prefit else inner, prefit=prefit)
    with pytest.raises(ValueError, match=r"Put it before: make_pipeline\(WindowTransformer"):
        detector.fit(series)


# Files.


@pytest.fixture(scope="module")
def saved(windows, tmp_path_factory):
    """Return a detector that was calibrated by blocks, and its file."""
    network = AutoencoderTransformer(2, hidden_layer_sizes=(8,), max_epochs=3, random_state=0)
    detector = ConformalDetector(network, alpha=0.2, block_size=10).fit(windows)
    path = tmp_path_factory.mktemp("blocks") / "model.aedetect"
    aedetect.save(detector, path)
    return detector, path


def test_files_keep_the_blocks(saved, windows):
    detector, path = saved
    np.testing.assert_array_equal(aedetect.load(path).p_values(windows), detector.p_values(windows))
    calibration = info(path)["calibration"]
    assert calibration["block_size"] == 10
    flags = detector.p_values(windows)[detector.predict(windows) == -1]
    assert flags.max() <= calibration["false_alarms"] <= 0.2


def test_detectors_of_earlier_versions_have_blocks_of_one_row(windows):
    detector = ConformalDetector(Nearest(), alpha=0.2, random_state=0).fit(windows)
    p = detector.p_values(windows)
    del detector._block_size
    np.testing.assert_array_equal(detector.p_values(windows), p)
    assert detector.fpr_interval()[1] > 0


@pytest.mark.filterwarnings("default:.*too few for any alarm")
def test_the_command_line_counts_blocks(saved, windows, tmp_path, capsys):
    _, path = saved
    np.save(tmp_path / "rows.npy", windows)
    paths = [str(path), str(tmp_path / "rows.npy"), "-o", str(tmp_path / "scores.csv")]
    assert main(["score", *paths, "--alpha", "0.05"]) == 0
    error = capsys.readouterr().err
    assert "it takes 190." in error
    assert "above 0.07692" in error  # 10 / 130
    assert main(["info", str(path), "--card"]) == 0
    assert "blocks of 10 consecutive rows" in capsys.readouterr().out


def test_a_report_of_blocks_has_no_interval(saved, windows):
    pytest.importorskip("matplotlib")
    from aedetect.reporting.calibration import describe_calibration

    detector, _ = saved
    subject = SimpleNamespace(conformal=detector, p_values=detector.p_values(windows))
    assert describe_calibration(subject).interval is None
