"""Monitor: the guarantee, the same bits whatever the batches, drift and anomalies told apart."""

from __future__ import annotations

import copy
import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError

from aedetect import ConformalDetector, DenoisingAutoencoder, Monitor, load, open_rows, save
from aedetect.conformal.bets import CELLS, make_bets
from aedetect.conformal.martingales import PATIENCE, cash_at
from aedetect.conformal.order import edge_ranks, find_bins, fit_bins, in_lexical_order, rank_rows
from aedetect.conformal.reference import Reference
from aedetect.conformal.snapshots import STEPS, rows_after, sums_at, with_sums
from aedetect.conformal.stored import check_monitor
from aedetect.conformal.trajectory import MOST_POINTS, extend, start_trajectory
from aedetect.model import StateError
from aedetect.persistence import SKOPS_TRUSTED, info

CHECKED = {"_state", "_first_row", "n_rows_", "alarms_"}


class Length(OutlierMixin, BaseEstimator):
    """Scores a row by its distance from the origin, in no time."""

    def fit(self, X, y=None):
        self.n_features_in_ = np.shape(X)[1]
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.array(X.columns, dtype=object)
        return self

    def score_samples(self, X):
        numbers = X.select_dtypes("number") if hasattr(X, "columns") else np.asarray(X)
        return -np.sqrt(np.nansum(np.asarray(numbers, dtype=float) ** 2, axis=1))


def calibrated(X, alpha=0.05):
    return ConformalDetector(Length().fit(X), prefit=True, alpha=alpha).calibrate(X)


def normal_rows(n_rows, n_columns=4, seed=0):
    return np.random.RandomState(seed).standard_normal((n_rows, n_columns))


@pytest.fixture(scope="module")
def detector():
    return calibrated(normal_rows(1000))


def state_of(monitor):
    """Return all that a monitor has beside its detector, to the last bit."""
    return plain({**monitor.__getstate__(), "detector": None})


def plain(value):
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, np.random.RandomState):
        return plain(value.get_state(legacy=False))
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value)


# What the guarantee rests on.


def test_every_bet_averages_to_one_under_uniform_p_values():
    factors = make_bets().factors
    cells = factors[:, :-1].reshape(len(factors), -1, CELLS)
    np.testing.assert_allclose(cells.mean(axis=2), 1, rtol=1e-12)
    assert (factors > 0).all()
    assert (factors[:, -1] == 1).all()
    np.testing.assert_allclose(make_bets().weights.sum(axis=0), 1)


def test_the_cash_is_never_negative_and_never_grows():
    cash = cash_at(np.arange(10 * int(PATIENCE)))
    assert cash[0] == 1
    assert (np.diff(cash) < 0).all()
    assert cash.min() > 0


@pytest.mark.parametrize("n_values", [1, 2, 7, 100, 5000])
def test_bins_hold_every_gap_between_calibration_values(n_values):
    values = np.random.RandomState(0).rand(n_values)
    bins = fit_bins(values, values, edge_ranks(n_values))
    assert bins[2].sum() == n_values + 1
    if n_values == 7:  # a bin a gap
        assert (bins[2, :8] == 1).all()


@pytest.mark.parametrize("levels", [None, 3])
def test_p_values_are_uniform_and_independent_even_where_all_values_tie(levels):
    rng = np.random.RandomState(0)
    draws = []
    for _ in range(1500):
        values = rng.rand(23) if levels is None else rng.randint(levels, size=23).astype(float)
        ties = rng.rand(23)
        bins = fit_bins(values[:20], ties[:20], edge_ranks(20))
        edges = in_lexical_order(bins[0, :-1], bins[1, :-1])[None]
        places = find_bins(edges, in_lexical_order(values[20:], ties[20:])[None])
        ranks = rank_rows(bins[2].astype(np.int64)[None], places, np.ones((1, 3), dtype=bool))
        draws.append(ranks.p_values(rng.rand(1, 3))[0])
    p = np.array(draws)
    counts = np.histogramdd(p, bins=3, range=[(0, 1)] * 3)[0].ravel()
    statistic = ((counts - 1500 / 27) ** 2 / (1500 / 27)).sum()
    assert statistic < 54  # chi-squared with 26 degrees of freedom: probability 0.001


def test_ranks_of_a_row_are_those_of_its_sorted_predecessors():
    rng = np.random.RandomState(1)
    bins, joins = rng.randint(5, size=(2, 60)).astype(np.uint8), rng.rand(2, 60) < 0.7
    counts = rng.randint(1, 9, size=(2, 5))
    ranks = rank_rows(counts, bins, joins)
    for line, row in ((0, 0), (0, 41), (1, 59)):
        earlier = np.repeat(np.arange(5), counts[line]).tolist()
        earlier += bins[line, :row][joins[line, :row]].tolist()
        assert ranks.below[line, row] == sum(e < bins[line, row] for e in earlier)
        assert ranks.inside[line, row] == sum(e == bins[line, row] for e in earlier)
        assert ranks.total[line, row] == len(earlier)


def alarms_of_streams(n_streams, alpha, change=None, **settings):
    """Return the kinds of the alarms of many streams."""
    found = []
    for seed in range(n_streams):
        rows = normal_rows(700, 3, seed)
        if change is not None:
            change(rows[200:], np.random.RandomState(seed))
        monitor = Monitor(calibrated(rows[:200]), alpha=alpha, random_state=seed, **settings)
        found.append({alarm.kind for alarm in monitor.update(rows[200:])})
    return found


def test_false_alarms_stay_below_alpha():
    kinds = alarms_of_streams(40, alpha=0.3)
    assert sum(map(bool, kinds)) <= 0.3 * 40 + 9  # 3 standard deviations; far fewer come


def test_alpha_moves_the_levels():
    rows = normal_rows(900)
    rows[400:] += 0.4
    counts = []
    for alpha in (0.5, 1e-9):
        monitor = Monitor(calibrated(rows[:300]), alpha=alpha, random_state=0)
        alarms = monitor.update(rows[300:])
        counts.append(len(alarms))
        assert all(alarm.martingale >= alarm.level for alarm in alarms)
    assert counts[0] > counts[1]


def test_anomalies_raise_no_drift_however_many_and_odd():
    def spoil(rows, rng):
        odd = rng.rand(len(rows)) < 0.3
        rows[odd, 1] += 20

    kinds = alarms_of_streams(20, 0.1, spoil)
    assert sum("anomalies" in kind for kind in kinds) == 20
    assert sum("drift" in kind for kind in kinds) <= 4


# Changes and their description.


def test_a_moved_column_is_named_with_its_size_and_its_first_row(detector):
    rows = normal_rows(3000, seed=1)
    rows[2000:, 2] += 0.7
    monitor = Monitor(detector, random_state=0)
    assert monitor.update(rows[:2000]) == []
    assert monitor.status().verdict == "stable"
    assert monitor.status().since is None
    alarms = monitor.update(rows[2000:])
    assert alarms == monitor.alarms_
    assert {alarm.column for alarm in alarms} <= {"x2", None}
    status = monitor.status()
    assert status.verdict == "drift"
    assert abs(status.since - 2000) < 60
    moved = next(change for change in status.changes if change.column == "x2")
    assert moved.measure == "mean"
    assert abs(moved.size - 0.7) < 0.2
    assert abs(moved.after - moved.before - 0.7) < 0.2
    assert "x2" in " ".join(status.advice)
    assert "x2" in str(status)
    json.dumps(status.to_dict())
    json.dumps([alarm._asdict() for alarm in alarms])


def test_few_odd_rows_are_anomalies(detector):
    rows = normal_rows(2000, seed=2)
    rows[1000::8, 0] += 15
    monitor = Monitor(detector, random_state=0)
    alarms = monitor.update(rows)
    assert alarms[0].row >= 1000
    status = monitor.status()
    assert status.verdict == "anomalies"
    flags = status.changes[0]
    assert flags.measure == "share flagged"
    assert flags.before == pytest.approx(0.05, abs=0.002)
    assert flags.after == pytest.approx(0.05 + 0.125, abs=0.05)
    assert [change.column for change in status.changes[1:]] in ([], ["x0"])


def test_most_rows_odd_is_drift_and_not_anomalies(detector):
    monitor = Monitor(detector, random_state=0)
    odd = normal_rows(100) + np.array([50, 0, 0, 0])
    alarms = monitor.update(np.concatenate([normal_rows(300), odd]))
    assert alarms[0].row < 310
    assert any(alarm.kind == "drift" and alarm.measure == "share flagged" for alarm in alarms)
    assert monitor.status().verdict == "drift"
    assert "x0" in {change.column for change in monitor.status().changes}


def test_rows_that_become_more_usual_are_drift_too(detector):
    monitor = Monitor(detector, random_state=0)
    monitor.update(np.concatenate([normal_rows(200), 0.4 * normal_rows(400)]))
    status = monitor.status()
    assert status.verdict == "drift"
    assert status.changes[0].measure == "mean p-value of unflagged rows"
    assert status.changes[0].after > 0.5
    spreads = [change for change in status.changes if change.measure == "deviation"]
    assert spreads
    assert all(change.after < change.before for change in spreads)


def mixed_table(n_rows, seed=0):
    rng = np.random.RandomState(seed)
    return pd.DataFrame(
        {
            "colour": rng.choice(["red", "green", "blue"], n_rows, p=[0.5, 0.3, 0.2]),
            "when": pd.Timestamp("2020") + pd.to_timedelta(np.arange(n_rows), "D"),
            "size": rng.standard_normal(n_rows),
            "is_new": rng.rand(n_rows) < 0.5,
        }
    )


def fill(table, rng):
    table.loc[rng.rand(len(table)) < 0.3, "size"] = np.nan
    return table


def repaint(table, rng):
    table.loc[rng.rand(len(table)) < 0.5, "colour"] = "green"
    return table


def invent(table, rng):
    table.loc[rng.rand(len(table)) < 0.3, "colour"] = "puce"
    return table


def empty(table, rng):
    table.loc[rng.rand(len(table)) < 0.3, "colour"] = None
    return table


@pytest.mark.parametrize(
    ("change", "column", "measure"),
    [
        (fill, "size", "share missing"),
        (repaint, "colour", "share of 'green'"),
        (invent, "colour", "share of other levels"),
        (empty, "colour", "share missing"),
    ],
)
def test_levels_and_missing_cells_are_monitored(change, column, measure):
    monitor = Monitor(calibrated(mixed_table(600)), random_state=0)
    assert monitor.update(mixed_table(300, 1)) == []
    monitor.update(change(mixed_table(900, 2), np.random.RandomState(0)))
    found = {moved.column: moved for moved in monitor.status().changes}
    assert found[column].measure == measure
    assert found[column].after - found[column].before > 0.15
    assert set(found) <= {column, None}


# The same answer however the rows come.


@pytest.mark.parametrize("sizes", [(1,), (7, 130), (64,), (1500,)])
def test_batches_change_no_bit(detector, sizes):
    rows = normal_rows(1500, seed=3)
    rows[700:, 1] += 0.5
    whole, parts = (Monitor(detector, alpha=0.2, random_state=0) for _ in range(2))
    alarms = whole.update(rows)
    assert alarms
    found, first, number = [], 0, 0
    limit = 130 if sizes == (1,) else len(rows)  # row by row takes long
    while first < limit:
        size = sizes[number % len(sizes)]
        found += parts.update(rows[first : first + size])
        first, number = first + size, number + 1
    parts.update(rows[first:]) if first < len(rows) else None
    assert parts.alarms_ == alarms
    assert state_of(parts) == state_of(whole)
    assert parts.status() == whole.status()


def test_known_scores_give_the_same_answer_and_wrong_ones_are_refused(detector):
    rows = normal_rows(300, seed=4)
    first, second = (Monitor(detector, random_state=0) for _ in range(2))
    first.update(rows)
    second.update(rows, scores=detector.score_samples(rows))
    assert state_of(first) == state_of(second)
    before = state_of(second)
    with pytest.raises(ValueError, match="a number for each of the 300 rows"):
        second.update(rows, scores=np.zeros(299))
    assert state_of(second) == before


def test_the_seed_governs_the_draws_and_leaves_the_global_generator_alone(detector):
    rows = normal_rows(100)
    before = np.random.mtrand._rand.get_state()[1].copy()
    first, second, other = (Monitor(detector, random_state=seed) for seed in (0, 0, 1))
    for monitor in (first, second, other):
        monitor.update(rows)
    assert state_of(first) == state_of(second)
    assert state_of(first) != state_of(other)
    assert (np.random.mtrand._rand.get_state()[1] == before).all()


def test_frames_arrays_and_rows_on_disk_give_the_same_answer(tmp_path):
    rows = normal_rows(400).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    on_disk = open_rows(tmp_path / "rows.npy", cache=tmp_path / "cache")
    frame = pd.DataFrame(rows, columns=list("abcd"))
    from_array = Monitor(calibrated(rows), random_state=0)
    from_frame = Monitor(calibrated(frame), random_state=0)
    from_array.update(rows)
    from_frame.update(frame)
    np.testing.assert_array_equal(from_array.trajectory(), from_frame.trajectory())
    inner = IsolationForest(n_estimators=5, random_state=0).fit(rows)
    of_disk = ConformalDetector(inner, prefit=True).calibrate(rows)
    by_array, by_disk = (Monitor(of_disk, random_state=0) for _ in range(2))
    scores = of_disk.score_samples(rows)
    by_array.update(rows, scores=scores)
    by_disk.update(on_disk, scores=scores)
    assert state_of(by_array) == state_of(by_disk)


def test_memory_is_constant(detector):
    monitor = Monitor(detector, random_state=0)
    monitor.update(normal_rows(100))
    size = len(pickle.dumps(monitor))
    monitor.update(normal_rows(3000, seed=5))
    assert len(pickle.dumps(monitor)) <= size + 100


# Copies and mistakes.


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_goes_on_bit_for_bit(detector, copied):
    rows = normal_rows(500, seed=6)
    rows[200:] += 0.5
    monitor = Monitor(detector, random_state=0)
    monitor.update(rows[:313])
    twin = copied(monitor)
    assert twin.update(rows[313:]) == monitor.update(rows[313:])
    assert state_of(twin) == state_of(monitor)
    assert twin.alarms_ == monitor.alarms_


def test_clone_and_parameters(detector):
    monitor = Monitor(detector, alpha=0.02, random_state=3)
    assert monitor.get_params(deep=False)["alpha"] == 0.02
    assert not hasattr(clone(monitor), "alarms_")


def test_recalibrating_starts_again_and_goes_on_counting_rows():
    rows = normal_rows(1200)
    moved = rows + np.array([0.8, 0, 0, 0])
    monitor = Monitor(calibrated(rows[:400]), random_state=0)
    assert monitor.update(moved[400:700])
    assert monitor.recalibrate(moved[:400]) is monitor
    assert monitor.alarms_ == []
    assert monitor.n_rows_ == 300
    assert monitor.update(moved[700:]) == []
    assert monitor.status().verdict == "stable"
    alarms = monitor.update(moved[:400] + 2)
    assert min(alarm.since for alarm in alarms) > 700


def test_a_failed_recalibration_changes_nothing(detector):
    own = copy.deepcopy(detector)
    monitor = Monitor(own, random_state=0)
    monitor.update(normal_rows(50))
    before, scores = state_of(monitor), own.calibration_scores_
    with pytest.raises(ValueError, match="convert"):
        monitor.recalibrate(np.full((5, 4), "a"))
    assert state_of(monitor) == before
    assert own.calibration_scores_ is scores


def test_another_calibration_is_refused_until_a_reset():
    monitor = Monitor(calibrated(normal_rows(200)), random_state=0)
    monitor.update(normal_rows(20))
    before = state_of(monitor)
    monitor.set_params(detector=calibrated(normal_rows(200, seed=9)))
    for call in (lambda: monitor.update(normal_rows(20)), monitor.status, monitor.trajectory):
        with pytest.raises(ValueError, match=r"other calibration rows.*20 rows.*reset"):
            call()
    assert state_of(monitor) == before
    monitor.reset().update(normal_rows(5))
    assert monitor.n_rows_ == 25


def test_mistakes_are_named_and_nothing_is_lost():
    frame = mixed_table(300)
    monitor = Monitor(calibrated(frame), random_state=0)
    monitor.update(frame[:10])
    before, scores = state_of(monitor), np.zeros(300)
    with pytest.raises(ValueError, match="lacks the column 'colour'"):
        monitor.update(frame.drop(columns="colour"), scores=scores)
    wrong = frame.astype({"size": object})
    wrong.loc[7, "size"] = "big"
    with pytest.raises(ValueError, match="column 'size' holds 'big' in row 7"):
        monitor.update(wrong, scores=scores)
    assert state_of(monitor) == before
    arrays = Monitor(calibrated(normal_rows(50)), random_state=0)
    with pytest.raises(ValueError, match="the 4 columns of the calibration rows"):
        arrays.update(normal_rows(20, 3), scores=scores[:20])


def test_what_is_no_calibrated_detector_is_refused():
    with pytest.raises(TypeError, match="must be a ConformalDetector"):
        Monitor(DenoisingAutoencoder()).update(normal_rows(5))
    with pytest.raises(NotFittedError):
        Monitor(ConformalDetector(Length())).update(normal_rows(5))
    with pytest.raises(NotFittedError, match="Call update"):
        Monitor(calibrated(normal_rows(50))).status()
    folds = ConformalDetector(Length(), cv=2, random_state=0).fit(normal_rows(50))
    with pytest.raises(ValueError, match="needs one inner detector"):
        Monitor(folds).update(normal_rows(5))
    old = calibrated(normal_rows(50))
    del old._reference
    with pytest.raises(ValueError, match="earlier version"):
        Monitor(old).update(normal_rows(5))
    with pytest.raises(ValueError, match="alpha"):
        Monitor(calibrated(normal_rows(50)), alpha=2).update(normal_rows(5))


@pytest.mark.parametrize("n_rows", [1, 2, 5])
def test_any_number_of_calibration_rows_will_do(n_rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few for an alarm of the detector
        monitor = Monitor(calibrated(normal_rows(n_rows)), random_state=0)
    assert monitor.update(normal_rows(300)) == []


def test_wide_rows_are_monitored_by_their_scores_alone():
    rows = normal_rows(500, 300)
    monitor = Monitor(calibrated(rows[:200]), random_state=0)
    monitor.update(rows[200:])
    assert monitor.trajectory().shape[1] == 4
    monitor.update(1.5 * rows[200:])
    assert monitor.status().verdict == "drift"


# Parts.


def test_snapshots_know_the_sums_at_the_rows_that_they_name():
    rng, sums = np.random.RandomState(0), np.arange(3000.0)[:, None]
    snapshots, n_rows = np.zeros((2 * len(STEPS), 1)), 0
    while n_rows < 2500:
        size = rng.randint(1, 200)
        snapshots = with_sums(snapshots, n_rows, sums[n_rows : n_rows + size + 1])
        n_rows += size
        np.testing.assert_array_equal(snapshots[:, 0], rows_after(n_rows))
        since = rng.randint(n_rows)
        found = sums_at(snapshots, n_rows, since)[0]
        assert found == 0 or n_rows - found >= (n_rows - since) / 2
        assert found <= since or n_rows - found >= (n_rows - since) / 2


def test_a_trajectory_thins_out_evenly():
    trajectory, rows = start_trajectory(1), np.arange(1, 2001.0)[:, None]
    for first in range(0, 2000, 37):
        trajectory = extend(trajectory, first, rows[first : first + 37])
    n, stride = trajectory["n_points"], trajectory["stride"]
    assert MOST_POINTS / 2 <= n <= MOST_POINTS
    np.testing.assert_array_equal(trajectory["martingales"][:n, 0], stride * np.arange(1, n + 1))


# Files.


def undated(n_rows, seed=0):
    return mixed_table(n_rows, seed).drop(columns="when")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Return a monitor in the middle of its rows, and a file with it."""
    inner = DenoisingAutoencoder(2, hidden_layer_sizes=(4,), max_epochs=1, random_state=0)
    detector = ConformalDetector(inner, random_state=0).fit(undated(200))
    monitor = Monitor(detector, alpha=0.1, random_state=0)
    monitor.update(undated(70, 1))
    moved = undated(90, 2)
    moved["size"] += 3
    assert monitor.update(moved)
    path = tmp_path_factory.mktemp("monitor") / "monitor.aedetect"
    save(monitor, path)
    return monitor, path


def test_a_file_goes_on_bit_for_bit(stored):
    monitor, path = stored
    twin, original = load(path), copy.deepcopy(monitor)
    assert state_of(twin) == state_of(monitor)
    rows = undated(100, 3)
    assert twin.update(rows) == original.update(rows)
    assert state_of(twin) == state_of(original)
    assert str(twin.status()) == str(original.status())


def test_info_describes_the_detector_of_a_monitor(stored):
    facts = info(stored[1])
    assert facts["class"] == "Monitor"
    assert facts["feature_names"] == ["colour", "size", "is_new"]
    assert facts["parameters"]["alpha"] == 0.1
    assert facts["training"]["epochs"] == 1


def test_skops_carries_a_monitor_of_any_detector(tmp_path):
    inner = EllipticEnvelope(random_state=0)
    detector = ConformalDetector(inner, random_state=0).fit(normal_rows(200))
    monitor = Monitor(detector, random_state=0)
    monitor.update(normal_rows(70))
    skops.io.dump(monitor, tmp_path / "monitor.skops")
    twin = skops.io.load(tmp_path / "monitor.skops", trusted=SKOPS_TRUSTED)
    assert twin.update(normal_rows(70)) == monitor.update(normal_rows(70))
    assert state_of(twin) == state_of(monitor)


FORGED = {
    "other calibration rows": lambda own: own["_state"].update(digest="0"),
    "lost count": lambda own: own.update(n_rows_=7),
    "n_rows is below 0": lambda own: own["_state"]["streams"].update(n_rows=-1),
    "other rows": lambda own: own["_state"]["trajectory"].update(stride=2),
    "no list": lambda own: own.update(alarms_=None),
    "an alarm has the entries": lambda own: own["alarms_"][0].pop("row"),
    "the monitor has the entries": lambda own: own["_state"].pop("sums"),
    "crossed is not": lambda own: own["_state"].update(crossed=np.zeros(3, dtype=bool)),
    "moments is below 0": lambda own: own["_state"]["streams"]["moments"].fill(-1),
    "a bet has no capital": lambda own: own["_state"]["streams"]["moments"].fill(0),
    "sums holds NaN": lambda own: own["_state"]["sums"].fill(np.nan),
    "random_state has a": lambda own: own["_state"].update(random_state=3),
}


@pytest.mark.parametrize("rule", FORGED)
def test_a_forged_state_is_refused(stored, rule):
    monitor = copy.deepcopy(stored[0])
    state = copy.deepcopy({k: v for k, v in monitor.__getstate__().items() if k in CHECKED})
    FORGED[rule](state)
    with pytest.raises(StateError, match=rule):
        check_monitor(state, monitor.detector)


def test_a_forged_reference_is_refused(stored):
    good = stored[0].detector._reference
    forged = {
        "no bins": {"bins": good["bins"][1:]},
        "bins of NaN": {"bins": np.full_like(good["bins"], np.nan)},
        "no gaps": {"bins": np.zeros_like(good["bins"])},
        "no tail": {"tail": 0},
        "a number for a checksum": {"digest": 0},
        "columns of something else": {"marginals": {}},
        "names for some": {"marginals": {**good["marginals"], "names": ["a"]}},
        "columns out of order": {"marginals": {**good["marginals"], "kept": [2, 1, 0]}},
        "no deviation": {"marginals": {**good["marginals"], "deviations": np.zeros(3)}},
        "other levels": {"marginals": {**good["marginals"], "coding": None, "kept": [0]}},
    }
    for wrong in forged.values():
        with pytest.raises(StateError):
            Reference.from_state({**good, **wrong})
