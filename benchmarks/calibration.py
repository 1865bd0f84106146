"""Whether ConformalDetector keeps its false alarms, on real tables with clean and unclean rows.

    python benchmarks/calibration.py                           # everything
    python benchmarks/calibration.py forest --fits 2 --tables  # a part, table by table

Needs the extra ``bench``, and the ADBench tables as ``adbench/*.npz`` in the folder in
AEDETECT_DATA.

A detector is fitted to 500 normal rows of a table, anew for every 20 splits. Each split draws from
the other rows 999 normal ones to calibrate with and 500 to test, 40 of which are anomalies. 50 of
the ``unclean`` calibration rows are anomalies. With folds, 20 trees a fold are fitted to the
calibration rows of each split.

How many normal test rows are flagged in one split follows a beta-binomial law, as the rows of a
split share their calibration rows. The mean over the splits is set beside the 95% interval by that
law, and beside the narrower binomial one, which takes all rows of all splits for independent. Both
take the splits for independent, while those of one fit draw from the same rows.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import betabinom, binom, norm
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import StandardScaler

from aedetect import ConformalDetector, DenoisingAutoencoder

TABLES = [
    *("2_annthyroid", "19_landsat", "23_mammography", "27_PageBlocks", "28_pendigits"),
    *("30_satellite", "32_shuttle", "38_thyroid"),
]
METHODS = ["forest", "forest, 5 folds", "denoising", "pyod knn"]
ALPHAS = [0.01, 0.05, 0.1]
FDRS = [0.05, 0.1, 0.2]
N_FITTED, N_CALIBRATION, N_UNCLEAN, N_NORMAL, N_ODD = 500, 999, 50, 460, 40
N_SPLITS = 20  # of one fit
N_POOL = 3000  # rows at most that the splits of one fit are drawn from


class Flags(NamedTuple):
    """What one rule flags in one split."""

    rule: str
    calibration: str
    level: float
    of_normal: float  # share
    of_anomalies: float
    normal_among_flagged: float  # 0 where nothing is flagged

    @classmethod
    def count(
        cls,
        rule: str,
        calibration: str,
        level: float,
        flagged: NDArray[np.bool_],
        n_normal: int = N_NORMAL,
    ) -> Flags:
        normal, anomalies = np.split(flagged, [n_normal])
        false_share = normal.sum() / max(flagged.sum(), 1)
        return cls(rule, calibration, level, normal.mean(), anomalies.mean(), false_share)


def read_table(name: str) -> tuple[NDArray, NDArray]:
    """Return normal rows and anomalies."""
    path = Path(os.environ.get("AEDETECT_DATA", "."), "adbench", f"{name}.npz")
    if not path.exists():
        raise SystemExit(f"There is no {path}: set AEDETECT_DATA.")
    with np.load(path) as data:
        X, odd = data["X"].astype(np.float64), data["y"].astype(bool)
    return X[~odd], X[odd]


class Known(OutlierMixin, BaseEstimator):
    """Passes on scores that are known already, so that many splits cost one pass over the rows."""

    def fit(self, X: NDArray, y: object = None) -> Known:
        self.n_features_in_ = 1
        return self

    def score_samples(self, X: NDArray) -> NDArray:
        return X[:, 0]


def make(method: str, seed: int) -> BaseEstimator:
    if method == "denoising":  # a small budget: 300 steps, a third of the default
        return DenoisingAutoencoder(max_epochs=20, device="cpu", random_state=seed)
    if method == "pyod knn":
        from pyod.models.knn import KNN

        return KNN()
    if method == "forest, 5 folds":
        return IsolationForest(n_estimators=20, random_state=seed)
    return IsolationForest(random_state=seed)


def evaluate(table: str, method: str, seed: int, n_splits: int) -> pd.DataFrame:
    """Return what the rules flag in the splits that share one fit, a row for each."""
    normal, anomalies = read_table(table)
    rng = np.random.default_rng(seed)
    normal = rng.permutation(normal)[: N_FITTED + N_POOL]
    anomalies = rng.permutation(anomalies)[:N_POOL]
    scale = StandardScaler().fit(normal[:N_FITTED]).transform
    rows = tuple(map(scale, (normal[:N_FITTED], normal[N_FITTED:], anomalies)))
    flag = flag_by_folds if "folds" in method else flag_by_one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = pd.DataFrame(flag(make(method, seed), *rows, n_splits, rng))
    return results.assign(table=table, method=method)


def flag_by_one(
    inner: BaseEstimator,
    fitted: NDArray,
    normal: NDArray,
    anomalies: NDArray,
    n_splits: int,
    rng: np.random.Generator,
) -> Iterator[Flags]:
    """Yield what one fitted detector flags when other rows are split again and again."""
    inner.fit(fitted)
    ours = isinstance(inner, DenoisingAutoencoder)
    pyod = not hasattr(inner, "score_samples")
    score = inner.decision_function if pyod else inner.score_samples
    columns = [score(rows)[:, None] for rows in (normal, anomalies)]
    known = ConformalDetector(Known().fit(columns[0]), prefit=True, higher_is_normal=not pyod)
    own = np.r_[tuple(inner.predict(rows) == (1 if pyod else -1) for rows in (normal, anomalies))]
    own_flags = Flags.count("own threshold", "", 0.0, own, len(normal))
    moved = [inner.set_threshold(fpr=alpha).offset_ for alpha in ALPHAS] if ours else []
    for _ in range(n_splits):
        clean, test, unclean = split(*columns, rng)
        yield from flag_by_p(known.calibrate(clean), test, "clean")
        yield from flag_by_p(known.calibrate(unclean), test, "unclean")
        yield own_flags
        for alpha, offset in zip(ALPHAS, moved, strict=bool(moved)):
            yield Flags.count("set_threshold", "", alpha, test[:, 0] < offset)


def flag_by_folds(
    inner: BaseEstimator,
    fitted: NDArray,
    normal: NDArray,
    anomalies: NDArray,
    n_splits: int,
    rng: np.random.Generator,
) -> Iterator[Flags]:
    """Yield for each split what detectors fitted to folds of its calibration rows flag."""
    for _ in range(n_splits):
        clean, test, _ = split(normal, anomalies, rng)
        detector = ConformalDetector(inner, cv=5, random_state=int(rng.integers(2**31)))
        yield from flag_by_p(detector.fit(clean), test, "clean")


def split(
    normal: NDArray, anomalies: NDArray, rng: np.random.Generator
) -> tuple[NDArray, NDArray, NDArray]:
    """Return calibration rows, test rows (normal ones first), and unclean calibration rows."""
    clean, tested = np.split(rng.permutation(normal)[: N_CALIBRATION + N_NORMAL], [N_CALIBRATION])
    odd, mixed_in = np.split(rng.permutation(anomalies)[: N_ODD + N_UNCLEAN], [N_ODD])
    return clean, np.r_[tested, odd], np.r_[clean[N_UNCLEAN:], mixed_in]


def flag_by_p(detector: ConformalDetector, X: NDArray, calibration: str) -> Iterator[Flags]:
    p = detector.p_values(X)
    for alpha in ALPHAS:  # as predict does
        yield Flags.count("predict", calibration, alpha, p <= alpha)
    for fdr in FDRS:
        yield Flags.count("select", calibration, fdr, detector.select(X, fdr=fdr))


def intervals(alpha: float, n_splits: int) -> dict[str, tuple[float, float]]:
    """Return where the mean of the splits' shares lies with a probability of 95%."""
    rank = round(alpha * (N_CALIBRATION + 1))
    law = betabinom(N_NORMAL, rank, N_CALIBRATION + 1 - rank)
    half = norm.ppf(0.975) * law.std() / N_NORMAL / np.sqrt(n_splits)
    low, high = binom.interval(0.95, N_NORMAL * n_splits, alpha)
    n_rows = N_NORMAL * n_splits
    return {
        "beta-binomial": (alpha - half, alpha + half),
        "binomial": (low / n_rows, high / n_rows),
    }


def report(results: pd.DataFrame, n_splits: int, *, tables: bool) -> None:
    by_table = results.groupby(["rule", "calibration", "method", "level", "table"])
    means = by_table.mean(numeric_only=True)
    errors = by_table["normal_among_flagged"].sem()
    for calibration in filter(None, results["calibration"].unique()):
        print(f"\npredict, {calibration} calibration rows: share of normal rows that are flagged")
        print(report_alarms(means.loc["predict", calibration], n_splits).to_string())
        print(f"\nselect, {calibration} calibration rows: share of normal rows among the selected")
        part = means.loc["select", calibration]
        print(report_selected(part, errors.loc["select", calibration]).to_string())
    others = means.loc[means.index.get_level_values("calibration") == "", "of_normal"]
    if len(others):
        print("\nshare of normal rows that other thresholds flag (level 0: the detector's own)")
        others = others.groupby(["rule", "method", "level"])
        print(others.agg(["mean", "min", "max"]).round(4).to_string())
    if tables:
        print(means.round(4).to_string())


def report_alarms(means: pd.DataFrame, n_splits: int) -> pd.DataFrame:
    rows = []
    for (method, alpha), shares in means["of_normal"].groupby(["method", "level"]):
        row = {"method": method, "alpha": alpha, "mean": shares.mean()}
        row |= {"lowest table": shares.min(), "highest table": shares.max()}
        for name, (low, high) in intervals(alpha, n_splits).items():
            row[f"in {name}"] = f"{shares.between(low, high).sum()} of {len(shares)}"
            row[f"above {name}"] = (shares > high).sum()
        row["anomalies found"] = means["of_anomalies"].loc[method, alpha].mean()
        rows.append(row)
    return pd.DataFrame(rows).round(4)


def report_selected(means: pd.DataFrame, errors: pd.Series) -> pd.DataFrame:
    rows = []
    for (method, fdr), shares in means["normal_among_flagged"].groupby(["method", "level"]):
        limits = fdr + 2 * errors.loc[method, fdr]
        row = {"method": method, "fdr": fdr, "mean": shares.mean(), "highest table": shares.max()}
        row["its error"] = errors.loc[method, fdr].loc[shares.idxmax()[-1]]
        row["above by 2 errors"] = (shares.to_numpy() > limits.to_numpy()).sum()
        row["anomalies found"] = means["of_anomalies"].loc[method, fdr].mean()
        rows.append(row)
    return pd.DataFrame(rows).round(4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", help=f"{', '.join(METHODS)}; default: all")
    parser.add_argument("--fits", type=int, default=10, help="a table, of 20 splits each")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--tables", action="store_true", help="also print every table")
    options = parser.parse_args()
    methods = options.methods or METHODS
    if unknown := set(methods) - set(METHODS):
        parser.error(f"methods are {', '.join(METHODS)}, not {', '.join(unknown)}")
    parts = Parallel(n_jobs=options.jobs)(
        delayed(evaluate)(table, method, seed, N_SPLITS)
        for table in TABLES
        for method in methods
        for seed in range(options.fits)
    )
    n_splits = options.fits * N_SPLITS
    print(f"{n_splits} splits of each of {', '.join(TABLES)}")
    for alpha in ALPHAS:
        for name, (low, high) in intervals(alpha, n_splits).items():
            print(f"95% interval of the mean at {alpha}, {name}: {low:.5f} to {high:.5f}")
    report(pd.concat(parts), n_splits, tables=options.tables)


if __name__ == "__main__":
    main()
