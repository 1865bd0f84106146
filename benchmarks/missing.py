"""Tables with missing cells: missing="mask" beside imputers in front of the same detector.

    python benchmarks/missing.py                        # every table: hours on one core
    python benchmarks/missing.py --max-rows 1000        # smaller tables
    python benchmarks/missing.py --report               # the means of what is done

Needs the ADBench tables as ``adbench/*.npz`` in the folder in AEDETECT_DATA. Half of the normal
rows train, the other half and all anomalies test, columns are scaled by the training half, and a
share of the cells of both is removed at random. Measured are

- auroc: of the anomaly scores of the test rows;
- rmse: of the cells that were removed from normal test rows, in units of their columns' deviation;
- few, many: the share of normal test rows that are flagged among those with fewer and with more
  missing cells than the median, which should be the same.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from quality import Problem, semi
from sklearn.ensemble import IsolationForest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from aedetect import AutoencoderTransformer, DenoisingAutoencoder

DETECTORS: dict[str, Callable] = {
    "autoencoder": lambda seed: AutoencoderTransformer(random_state=seed),
    "denoising": lambda seed: DenoisingAutoencoder(random_state=seed),
    "iforest": lambda seed: IsolationForest(random_state=seed),
}
IMPUTERS: dict[str, Callable] = {
    "mean": lambda seed: SimpleImputer(keep_empty_features=True),
    "iterative": lambda seed: IterativeImputer(random_state=seed, keep_empty_features=True),
    "knn": lambda seed: KNNImputer(keep_empty_features=True),
}


def methods() -> list[str]:
    """Return what is compared, as "detector, how missing cells are met"."""
    masked = ["autoencoder, mask", "denoising, mask"]
    return masked + [f"{detector}, {imputer}" for detector in DETECTORS for imputer in IMPUTERS]


def problems(share: float, seed: int, max_rows: int) -> Iterator[tuple[Problem, Problem]]:
    """Yield problems with a share of the cells removed, and as they were."""
    for whole in semi(seed):
        rng = np.random.default_rng(seed)
        test = rng.permutation(len(whole.X_test))[:max_rows]
        whole = whole._replace(
            X=whole.X[:max_rows], X_test=whole.X_test[test], anomalous=whole.anomalous[test]
        )
        if whole.X.shape[1] > 1 and 0 < whole.anomalous.sum() < len(whole.anomalous):
            X, X_test = (remove(rows, share, rng) for rows in (whole.X, whole.X_test))
            yield whole._replace(X=X, X_test=X_test), whole


def remove(X: NDArray, share: float, rng: np.random.Generator) -> NDArray:
    """Return rows with cells missing at random, but for one in each."""
    missing = rng.random(X.shape) < share
    missing[np.arange(len(X)), rng.integers(X.shape[1], size=len(X))] = False
    return np.where(missing, np.nan, X)


def evaluate(problem: Problem, whole: Problem, method: str, seed: int) -> dict[str, float]:
    name, how = method.split(", ")
    started = time.perf_counter()
    model = DETECTORS[name](seed)
    if how == "mask":
        model.set_params(missing="mask").fit(problem.X)
        restored = model.reconstruct(problem.X_test)
    else:
        model = make_pipeline(IMPUTERS[how](seed), model).fit(problem.X)
        restored = model[0].transform(problem.X_test)
    scores, labels = model.score_samples(problem.X_test), model.predict(problem.X_test)
    seconds = time.perf_counter() - started
    missing = np.isnan(problem.X_test)
    normal = ~problem.anomalous
    removed = missing & normal[:, None]
    number = missing.sum(axis=1)
    few = number <= np.median(number)
    return {
        "auroc": roc_auc_score(problem.anomalous, -scores),
        "rmse": float(np.sqrt(np.square(restored - whole.X_test)[removed].mean())),
        "few": (labels[normal & few] == -1).mean(),
        "many": (labels[normal & ~few] == -1).mean(),
        "seconds": seconds,
    }


def run(path: Path, options: argparse.Namespace) -> None:
    """Fit what is not in the results file yet, and append it."""
    done = set()
    if path.exists():
        done = set(map(tuple, pd.read_csv(path)[["share", "data", "method", "seed"]].to_numpy()))
    for seed in range(options.seeds):
        for share in options.shares:
            for problem, whole in problems(share, seed, options.max_rows):
                for method in options.methods:
                    key = (share, problem.name, method, seed)
                    if key not in done:
                        append(path, key, evaluate(problem, whole, method, seed))


def append(path: Path, key: tuple, measured: dict[str, float]) -> None:
    row = dict(zip(("share", "data", "method", "seed"), key, strict=True)) | measured
    pd.DataFrame([row]).to_csv(path, mode="a", header=not path.exists(), index=False)


def report(path: Path) -> None:
    """Print the means over the tables that all methods have done."""
    measures = ["auroc", "rmse", "few", "many", "seconds"]
    for share, part in pd.read_csv(path).groupby("share"):
        table = part.pivot_table(index="data", columns="method", values=measures)
        table = table[table["auroc"].notna().all(axis=1)]
        means = table.mean().unstack(level=0)[measures]
        means["rmse"] = table["rmse"].median()
        means["auroc rank"] = table["auroc"].rank(axis=1, ascending=False).mean()
        print(f"\n{share:.0%} of the cells missing: {len(table)} tables (rmse: their median)")
        print(means.sort_values("auroc", ascending=False).round(4).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.3])
    parser.add_argument("--methods", nargs="+", default=methods(), choices=methods())
    parser.add_argument("--max-rows", type=int, default=10_000, help="to train and to test on")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("missing.csv"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.report:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(options.out, options)
    report(options.out)


if __name__ == "__main__":
    main()
