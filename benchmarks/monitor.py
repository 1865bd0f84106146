"""False alarms and delays of Monitor, beside ADWIN, Page-Hinkley and two-sample tests on windows.

    python benchmarks/monitor.py --jobs 2                  # everything
    python benchmarks/monitor.py --share 0.05              # peers with as many as alpha allows

Needs the extra ``bench``. A stream has ten columns of independent normal numbers: 1,000 rows to
calibrate with, and 4,000 rows to monitor. From row 1,000 of these on, one column is shifted by
0.25, 0.5 or 1 deviation, or drifts by 0.5 or 1 deviation over 2,000 rows. The detector scores rows
by their distance from the mean.

A peer is given the calibration rows first. It watches each column, and its first alarm in any
counts. Its threshold is set on other streams without change, so that the share of these with an
alarm equals the share that Monitor has, or ``--share``. Delays count from the change, and
infinitely many rows where no alarm comes. Streams with an alarm before the change do not count for
the delay.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from river.drift import ADWIN, PageHinkley
from scipy.stats import ks_2samp, ttest_ind_from_stats
from sklearn.base import BaseEstimator, OutlierMixin

from aedetect import ConformalDetector, DenoisingAutoencoder, Monitor

N_COLUMNS, N_CALIBRATION, N_ROWS, CHANGE = 10, 1000, 4000, 1000
ALPHA = 0.05
WINDOWS = [100, 400]  # rows of the two-sample tests
EVERY = 20  # rows from one window to the next
CLOCK = 10  # rows between two looks of ADWIN at its window
Stream = NDArray[np.float64]  # (N_CALIBRATION + N_ROWS, N_COLUMNS)


class Distance(OutlierMixin, BaseEstimator):
    """Scores a row by its distance from the mean."""

    def fit(self, X: NDArray, y: object = None) -> Distance:
        self.mean_, self.n_features_in_ = X.mean(axis=0), X.shape[1]
        return self

    def score_samples(self, X: NDArray) -> NDArray:
        return -((X - self.mean_) ** 2).sum(axis=1)


def make_stream(seed: int, change: NDArray | float = 0.0, kind: str = "normal") -> Stream:
    rows = np.random.default_rng(seed).standard_normal((N_CALIBRATION + N_ROWS, N_COLUMNS))
    rows[N_CALIBRATION + CHANGE :, 0] += change
    return np.round(rows) if kind == "whole numbers" else rows


CHANGES: dict[str, NDArray | float] = {
    "shift 0.25": 0.25,
    "shift 0.5": 0.5,
    "shift 1": 1.0,
    "drift to 0.5": np.minimum(np.arange(N_ROWS - CHANGE) / 2000, 1) * 0.5,
    "drift to 1": np.minimum(np.arange(N_ROWS - CHANGE) / 2000, 1) * 1.0,
}


# Monitor: the row of its first alarm.


def first_alarm(rows: Stream, alpha: float = ALPHA, n_calibration: int = N_CALIBRATION) -> float:
    calibration = rows[N_CALIBRATION - n_calibration : N_CALIBRATION]
    detector = ConformalDetector(Distance().fit(calibration), prefit=True).calibrate(calibration)
    monitor = Monitor(detector, alpha=alpha, random_state=0)
    for part in np.split(rows[N_CALIBRATION:], 8):
        if alarms := monitor.update(part):
            return alarms[0].row
    return np.inf


# Peers: the rows at which a statistic of any column reaches a new maximum, and these maxima.

Path = tuple[NDArray, NDArray]


def records(rows: NDArray, statistics: NDArray) -> Path:
    """Return where the largest statistic grows; ``statistics`` has shape (n_looks, n_columns)."""
    largest = np.maximum.accumulate(statistics.max(axis=1))
    grows = np.append(True, np.diff(largest) > 0)
    return rows[grows], largest[grows]


class Recorded(PageHinkley):
    """Page-Hinkley that raises no alarm and keeps its statistic."""

    statistic = 0.0

    def _test_both(self, increase: float, decrease: float) -> bool:
        self.statistic = max(increase, decrease)
        return False


def page_hinkley(rows: Stream, delta: float) -> Path:
    """Return the path of river's statistic, of all columns at once; a part is checked with it."""
    forget, mean = PageHinkley().alpha, np.zeros(N_COLUMNS)
    up, down, lowest, highest = np.zeros((4, N_COLUMNS))
    lowest += np.inf
    highest -= 1  # as river starts
    statistics = np.empty(rows.shape)
    for number, values in enumerate(rows):
        mean += (values - mean) / (number + 1)
        up, down = (forget * s + values - mean + d for s, d in ((up, -delta), (down, delta)))
        np.minimum(lowest, up, out=lowest)
        np.maximum(highest, down, out=highest)
        statistics[number] = np.maximum(up - lowest, highest - down)
    test = Recorded(delta=delta)
    for value in rows[:300, 0].tolist():
        test.update(value)
    assert abs(test.statistic - statistics[299, 0]) < 1e-9
    return records(np.arange(N_ROWS), statistics[N_CALIBRATION:])


def windows(rows: Stream, width: int) -> tuple[NDArray, NDArray]:
    """Return the numbers of the last rows of windows, and windows (n_windows, width, n_columns)."""
    last = np.arange(width, N_ROWS + 1, EVERY) - 1
    places = last[:, None] + np.arange(1 - width, 1)
    return last, rows[N_CALIBRATION:][places]


def t_test(rows: Stream, width: int) -> Path:
    last, parts = windows(rows, width)
    known = rows[:N_CALIBRATION]
    statistics = ttest_ind_from_stats(
        *(parts.mean(axis=1), parts.std(axis=1, ddof=1), width),
        *(known.mean(axis=0), known.std(axis=0, ddof=1), N_CALIBRATION),
    ).statistic
    return records(last, abs(statistics))


def kolmogorov_smirnov(rows: Stream, width: int) -> Path:
    """Return the path of the two-sample statistic, whose p-value has one order with it."""
    last, parts = windows(rows, width)
    statistics = np.empty((len(last), N_COLUMNS))
    steps = np.arange(width + 1) / width
    for column in range(N_COLUMNS):
        known, own = np.sort(rows[:N_CALIBRATION, column]), np.sort(parts[:, :, column], axis=1)
        below = np.searchsorted(known, own, side="left") / N_CALIBRATION
        at_most = np.searchsorted(known, own, side="right") / N_CALIBRATION
        distances = np.maximum(below - steps[:-1], steps[1:] - at_most)
        statistics[:, column] = distances.max(axis=1)
    expected = ks_2samp(parts[0, :, 0], rows[:N_CALIBRATION, 0], method="asymp").statistic
    assert abs(statistics[0, 0] - expected) < 1e-12
    return records(last, statistics)


def adwin(rows: Stream, delta: float) -> float:
    """Return the row of the first alarm of any column."""
    first = np.inf
    for column in range(N_COLUMNS):
        test = ADWIN(delta=delta, clock=CLOCK)
        for number, value in enumerate(rows[:, column].tolist()):
            if number - N_CALIBRATION >= first:
                break
            test.update(value)
            if test.drift_detected and number >= N_CALIBRATION:
                first = number - N_CALIBRATION
                break
    return first


PEERS: dict[str, Callable[[Stream], Path]] = {
    **{f"Page-Hinkley, delta={d:g}": lambda rows, d=d: page_hinkley(rows, d) for d in (0.005, 0.1)},
    **{f"t-test, {w} rows": lambda rows, w=w: t_test(rows, w) for w in WINDOWS},
    **{f"KS test, {w} rows": lambda rows, w=w: kolmogorov_smirnov(rows, w) for w in WINDOWS},
}


def paths(rows: Stream) -> dict[str, Path]:
    return {name: peer(rows) for name, peer in PEERS.items()}


def row_of(path: Path, threshold: float) -> float:
    reached = np.flatnonzero(path[1] > threshold)
    return path[0][reached[0]] if len(reached) else np.inf


def tune_adwin(share: float, seeds: range, parallel: Parallel) -> float:
    """Return the confidence at which this share of streams without change raises an alarm."""
    low, high = -12.0, -1.0  # of its logarithm to the base 10
    for _ in range(8):
        middle = (low + high) / 2
        calls = (delayed(adwin)(make_stream(seed), 10**middle) for seed in seeds)
        is_above = np.isfinite(parallel(calls)).mean() > share
        low, high = (low, middle) if is_above else (middle, high)
    return 10**low


def delays(rows: list[float]) -> dict[str, Any]:
    found = np.array(rows, dtype=float)
    counted = found[found >= CHANGE] - CHANGE
    lowest, median, highest = np.quantile(counted, [0.25, 0.5, 0.75], method="higher")
    return {"median": median, "quarter": lowest, "three quarters": highest}


def count_false(n_streams: int, parallel: Parallel) -> float:
    """Print the false alarms of Monitor; return their share at ALPHA."""
    shares = []
    for kind, n_calibration in (("normal", N_CALIBRATION), ("whole numbers", 100)):
        rows = parallel(
            delayed(first_alarm)(make_stream(seed, kind=kind), ALPHA, n_calibration)
            for seed in range(n_streams)
        )
        shares.append(float(np.isfinite(rows).mean()))
        print(
            f"{kind}, {n_calibration} calibration rows: {shares[-1]:.2%} of {n_streams} streams"
            f" without change have an alarm at alpha={ALPHA:g}"
        )
    return shares[0]


def compare(target: float, n_tuning: int, n_shifted: int, parallel: Parallel) -> None:
    """Print the delays of all; ``target`` is the share of false alarms of the peers."""
    tuning = range(10**6, 10**6 + n_tuning)
    shifted = range(2 * 10**6, 2 * 10**6 + n_shifted)
    unchanged = parallel(delayed(paths)(make_stream(seed)) for seed in tuning)
    thresholds = {
        name: np.quantile([path[name][1][-1] for path in unchanged], 1 - target, method="higher")
        for name in PEERS
    }
    delta = tune_adwin(target, tuning, parallel)
    rows = []
    for change, size in CHANGES.items():
        streams = [make_stream(seed, size) for seed in shifted]
        found = parallel(delayed(paths)(stream) for stream in streams)
        first = {
            "Monitor": parallel(delayed(first_alarm)(stream) for stream in streams),
            f"ADWIN, delta={delta:.1g}": parallel(delayed(adwin)(s, delta) for s in streams),
            **{
                name: [row_of(path[name], threshold) for path in found]
                for name, threshold in thresholds.items()
            },
        }
        rows += [{"method": m, "change": change, **delays(alarms)} for m, alarms in first.items()]
        print(pd.DataFrame(rows[-len(first) :]).to_string(), file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    print(f"\nrows from the change to the alarm; peers with {target:.1%} false alarms")
    for column in ("median", "quarter", "three quarters"):
        print(f"\n{column}")
        print(table.pivot(index="method", columns="change", values=column).to_string())


def weigh(n_columns: int) -> None:
    """Print the time of a Monitor beside that of the scores that it needs."""
    rows = np.random.default_rng(0).standard_normal((6000, n_columns))
    inner = DenoisingAutoencoder(max_epochs=2, random_state=0)
    detector = ConformalDetector(inner, random_state=0).fit(rows[:2000])
    monitor = Monitor(detector, random_state=0)
    ratios = []
    for n_rows in (1, 4000):
        part, seconds = rows[2000 : 2000 + n_rows], np.empty((9, 2))
        for times in seconds:
            started = time.process_time()
            scores = detector.score_samples(part)
            scored = time.process_time()
            monitor.update(part, scores=scores)
            times[:] = scored - started, time.process_time() - scored
        ratios.append(float(np.median(seconds[:, 1] / seconds[:, 0])))
    print(
        f"{n_columns} columns: a Monitor adds {ratios[0]:.2f} times the time of the score to one"
        f" row, {ratios[1]:.2f} to 4,000 rows"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=1000, help="without change")
    parser.add_argument("--tuning", type=int, default=1000, help="streams to set thresholds on")
    parser.add_argument("--shifted", type=int, default=300, help="streams of each change")
    parser.add_argument("--share", type=float, help="false alarms of the peers; default: measured")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    for n_columns in (5, 10, 30, 100):
        weigh(n_columns)
    with Parallel(n_jobs=options.jobs) as parallel:
        share = options.share or count_false(options.streams, parallel)
        compare(max(share, 1 / options.tuning), options.tuning, options.shifted, parallel)


if __name__ == "__main__":
    main()
