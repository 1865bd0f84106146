"""Anomalies in series, judged as TSB-AD judges them, and false alarms of calibrated windows.

    python benchmarks/series.py                       # everything
    python benchmarks/series.py detection --seeds 2   # a part
    python benchmarks/series.py alarms --repeats 50

Needs the extra ``plot``. The series are real: sea temperatures (``examples/``, 732 months), and
electroencephalogram (800 rows of four channels) and current through a membrane (12,000 rows, of
which every fourth is taken), which ship with matplotlib.

``detection``: the first 60% of a series train, and anomalies are put into the rest: spikes, shifts,
stuck values, noise, and parts turned round in time. VUS-PR is the volume under the surface of
precision and recall over all lengths of a buffer at the borders of an anomaly (Paparrizos et al.,
"Volume under the surface", PVLDB 15(11), 2022), up to the width of a window. TSB-AD (Liu &
Paparrizos, NeurIPS 2024) ranks detectors of series by it, and finds simple ones ahead.

``alarms``: the share of windows that are flagged in new parts of autocorrelated series without
anomalies, by ConformalDetector with calibration windows drawn at random, with the last windows, and
with blocks of them.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import cbook
from numpy.typing import NDArray
from scipy.signal import lfilter
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aedetect import AutoencoderTransformer, ConformalDetector, DenoisingAutoencoder
from aedetect.series import WindowTransformer, score_timestamps

TEMPERATURES = Path(__file__).parent.parent / "examples" / "sea_temperatures.csv"
WIDTHS = {"sea": 24, "eeg": 32, "membrane": 50}
SHARE_OF_TRAINING = 0.6
N_ANOMALIES = 3  # of one series; the seeds take turns at the kinds
N_THRESHOLDS = 250  # as in the code of the paper
ALPHA = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", default=["detection", "alarms"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=100)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if "detection" in arguments.parts:
        print(compare(arguments.seeds).to_string(float_format="{:.3f}".format), flush=True)
    if "alarms" in arguments.parts:
        print(count_alarms(arguments.repeats).to_string(float_format="{:.3f}".format))


# Detection.


class Residual(OutlierMixin, BaseEstimator):
    """PCA with 90% of the variance; the score is minus the squared residual."""

    def fit(self, X, y=None):
        self.pca_ = PCA(0.9).fit(X)
        return self

    def score_samples(self, X):
        return -((X - self.pca_.inverse_transform(self.pca_.transform(X))) ** 2).sum(axis=1)


class Nearest(OutlierMixin, BaseEstimator):
    """Minus the distance to the nearest training row."""

    def fit(self, X, y=None):
        self.neighbors_ = NearestNeighbors(n_neighbors=1).fit(X)
        return self

    def score_samples(self, X):
        return -self.neighbors_.kneighbors(X)[0][:, 0]


METHODS: dict[str, Callable[[int], BaseEstimator]] = {
    "DenoisingAutoencoder": lambda seed: DenoisingAutoencoder(contamination=0, random_state=seed),
    "AutoencoderTransformer": lambda seed: AutoencoderTransformer(
        contamination=0, random_state=seed
    ),
    "PCA": lambda seed: Residual(),
    "nearest window": lambda seed: Nearest(),
    "IsolationForest": lambda seed: IsolationForest(random_state=seed),
}


def read_series(name: str) -> NDArray:
    """Return the rows of a series, each column with mean 0 and deviation 1."""
    if name == "sea":
        series = pd.read_csv(TEMPERATURES, comment="#", index_col="YEAR").to_numpy().reshape(-1, 1)
    elif name == "eeg":
        series = np.fromfile(cbook.get_sample_data("eeg.dat", asfileobj=False)).reshape(-1, 4)
    else:
        path = cbook.get_sample_data("membrane.dat", asfileobj=False)
        series = np.fromfile(path, np.float32)[::4, None].astype(float)
    return StandardScaler().fit_transform(series)


def put_anomalies(
    series: NDArray, first: int, width: int, seed: int
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return the series with anomalies in one column each behind row ``first``, and their rows."""
    rng, series, is_odd = np.random.RandomState(seed), series.copy(), np.zeros(len(series), bool)
    parts = np.linspace(first, len(series), N_ANOMALIES + 1).astype(int)
    for number, (start, stop) in enumerate(itertools.pairwise(parts)):
        kind, column = (N_ANOMALIES * seed + number) % len(KINDS), rng.randint(series.shape[1])
        length = 1 if kind == 0 else rng.randint(width // 4, width)
        place = rng.randint(start + width, stop - width)
        rows = slice(place, place + length)
        series[rows, column] = KINDS[kind](series[rows, column], rng)
        is_odd[rows] = True
    return series, is_odd


KINDS: list[Callable[[NDArray, np.random.RandomState], NDArray]] = [
    lambda values, rng: values + rng.choice([-2, 2]),  # a spike
    lambda values, rng: values + rng.choice([-1, 1]),  # a shift
    lambda values, rng: np.full_like(values, values[0]),  # stuck
    lambda values, rng: values + 0.7 * rng.randn(len(values)),
    lambda values, rng: values[::-1] - (values[0] - values[-1]),  # turned round
]


def compare(n_seeds: int) -> pd.DataFrame:
    """Return the mean VUS-PR of each method on each series, and that of chance."""
    found: dict[tuple[str, str], list[float]] = {}
    for name, width in WIDTHS.items():
        for seed in range(n_seeds):
            series = read_series(name)
            first = int(SHARE_OF_TRAINING * len(series))
            odd, is_odd = put_anomalies(series, first, width, seed)
            for method, make in METHODS.items():
                model = make_pipeline(WindowTransformer(width), make(seed)).fit(odd[:first])
                scores = score_timestamps(model, odd[first:])
                found.setdefault((method, name), []).append(vus_pr(is_odd[first:], -scores, width))
            chance = np.random.RandomState(seed).rand(len(odd) - first)
            found.setdefault(("chance", name), []).append(vus_pr(is_odd[first:], chance, width))
    table = pd.Series({key: np.mean(values) for key, values in found.items()}).unstack()
    table = table.loc[[*METHODS, "chance"], list(WIDTHS)]
    return table.assign(mean=table.mean(axis=1))


def vus_pr(is_odd: NDArray[np.bool_], anomaly: NDArray, max_buffer: int) -> float:
    """Return the mean area under precision and recall over buffers of 0 to ``max_buffer`` rows.

    Higher values of ``anomaly`` are odder. Paparrizos et al., 2022, section 4; thresholds are 250
    quantiles of ``anomaly``, as in the authors' code.
    """
    places = np.linspace(0, len(anomaly) - 1, N_THRESHOLDS).astype(int)
    is_flagged = anomaly >= np.sort(anomaly)[::-1][places, None]  # (thresholds, rows)
    buffers = range(max_buffer + 1)
    return float(np.mean([_area(is_odd, is_flagged, buffer) for buffer in buffers]))


def _area(is_odd: NDArray[np.bool_], is_flagged: NDArray[np.bool_], buffer: int) -> float:
    labels = soften(is_odd, buffer)
    found = is_flagged @ labels
    precision = found / is_flagged.sum(axis=1)
    n_odd = (is_odd.sum() + labels.sum()) / 2
    parts = [is_flagged[:, part].any(axis=1) for part in runs(labels > 0)]
    recall = np.minimum(found / n_odd, 1) * np.mean(parts, axis=0)
    precision, recall = np.append(1, precision), np.append(0, recall)
    return float(np.diff(recall) @ (precision[1:] + precision[:-1]) / 2)


def soften(is_odd: NDArray[np.bool_], buffer: int) -> NDArray:
    """Return labels that fall as ``sqrt(1 - distance / buffer)`` up to half the buffer away."""
    labels = is_odd.astype(float)
    for part in runs(is_odd):
        for distance in range(1, buffer // 2 + 1):
            for row in (part.start - distance, part.stop - 1 + distance):
                if 0 <= row < len(labels):
                    labels[row] += np.sqrt(1 - distance / buffer)
    return np.minimum(labels, 1)


def runs(is_in: NDArray[np.bool_]) -> list[slice]:
    """Return the runs of rows that are True."""
    borders = np.flatnonzero(np.diff(np.concatenate([[False], is_in, [False]]).astype(int)))
    return [slice(start, stop) for start, stop in borders.reshape(-1, 2)]


# False alarms.


def count_alarms(n_repeats: int) -> pd.DataFrame:
    """Return the share of false alarms of windows by the way of calibration, and its error."""
    rows = {}
    for correlation in (0.5, 0.9, 0.98):
        for width in (10, 30):
            shares = np.array(
                [
                    _alarms_of_one_series(correlation, width, np.random.RandomState(seed))
                    for seed in range(n_repeats)
                ]
            )
            means, errors = shares.mean(axis=0), shares.std(axis=0) / np.sqrt(n_repeats)
            rows[correlation, width] = [
                f"{mean:.3f} ± {error:.3f}" for mean, error in zip(means, errors, strict=True)
            ]
    index = pd.MultiIndex.from_tuples(rows, names=["correlation", "width"])
    ways = ["random windows", "last windows", "blocks of 2 widths", "4 folds by blocks"]
    print(f"\nFalse alarms at alpha={ALPHA}: mean share over {n_repeats} series, standard error")
    return pd.DataFrame(list(rows.values()), index, ways)


def _alarms_of_one_series(correlation: float, width: int, rng: np.random.RandomState) -> list:
    """Return the shares that are flagged of windows of new rows, 500 rows after the others."""
    noise = rng.randn(200 + 6000 + 500 + 1000)
    series = lfilter([1], [1, -correlation], noise)[200:, None]
    windows = WindowTransformer(width).fit(series).transform
    old, new = windows(series[:6000]), windows(series[6500:])
    size, n_fitted = 2 * width, int(0.7 * len(old))
    last = ConformalDetector(Nearest().fit(old[: n_fitted - size]), alpha=ALPHA, prefit=True)
    detectors = [
        ConformalDetector(Nearest(), alpha=ALPHA, random_state=0).fit(old),
        last.calibrate(old[n_fitted:]),
        ConformalDetector(Nearest(), alpha=ALPHA, block_size=size).fit(old),
        ConformalDetector(Nearest(), alpha=ALPHA, block_size=size, cv=4).fit(old),
    ]
    return [(detector.predict(new) == -1).mean() for detector in detectors]


if __name__ == "__main__":
    main()
