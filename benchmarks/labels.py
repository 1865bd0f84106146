"""What a few labels are worth, beside DeepSAD, DevNet and XGBOD.

    python benchmarks/labels.py                                   # everything
    python benchmarks/labels.py --methods without labels          # a part
    python benchmarks/labels.py --report                          # the tables of what is done

Every fit is a line of the results file at once, and what is there is not run again. Needs the extra
``bench`` and the ADBench tables as ``adbench/*.npz`` in the folder in AEDETECT_DATA.

Half of the normal rows and half of the anomalies of a table train, and the others test; columns are
scaled by the training half. Some training anomalies are labelled: 1, 5, 10, or as many as 1% of the
training rows, at most all. The other training anomalies stay among the training rows as unknown.

- mixed: anomalies are labelled at random.
- other kind: the anomalies are divided in two by k-means. Those of the larger cluster are labelled,
  and only those of the smaller one are among the test rows.

DeepSAD and DevNet are those of DeepOD, and XGBOD is that of PyOD, with their defaults. DeepOD 0.2
compares every score of a batch with every label in DevNet's loss, by a wrong shape. Here the loss
compares each score with its own label, as in the paper.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from aedetect import DenoisingAutoencoder

COUNTS = ("1", "5", "10", "1%")
LEAST = 3  # test anomalies of the other kind
FITTED: dict[tuple[str, int], DenoisingAutoencoder] = {}
KEY = ["protocol", "data", "labels", "method", "seed"]


class Problem(NamedTuple):
    """Training rows, some of them known anomalies, and rows to score."""

    protocol: str
    name: str
    n_labels: str  # one of COUNTS
    X: NDArray
    known: NDArray[np.bool_]  # of X
    X_test: NDArray
    anomalous: NDArray[np.bool_]  # of X_test


# Methods: anomaly scores of the test rows, higher is odder.
Method = Callable[[Problem, int], NDArray]


def without(problem: Problem, seed: int) -> NDArray:
    return -_fitted(problem, seed).score_samples(problem.X_test)


def _fitted(problem: Problem, seed: int) -> DenoisingAutoencoder:
    """Return the detector without labels, one for all problems with these training rows."""
    key = (problem.name, seed)
    if key not in FITTED:
        FITTED.clear()
        FITTED[key] = DenoisingAutoencoder(random_state=seed).fit(problem.X)
    return copy.deepcopy(FITTED[key])


def labels(problem: Problem, seed: int) -> NDArray:
    detector = DenoisingAutoencoder(labels="use", random_state=seed)
    return -detector.fit(problem.X, -problem.known.astype(int)).score_samples(problem.X_test)


def feedback(problem: Problem, seed: int) -> NDArray:
    detector = _fitted(problem, seed)
    anomalies = problem.X[problem.known]
    return -detector.feedback(anomalies, -np.ones(len(anomalies))).score_samples(problem.X_test)


def deepsad(problem: Problem, seed: int) -> NDArray:
    from deepod.models import DeepSAD

    detector = DeepSAD(device="cpu", verbose=0, random_state=seed)
    return _of_deepod(detector, problem)


def devnet(problem: Problem, seed: int) -> NDArray:
    from deepod.models import DevNet

    class Repaired(DevNet):
        def training_forward(self, batch_x, net, criterion):
            rows, y = batch_x
            return criterion(y, net(rows.float()).view(-1))

    return _of_deepod(Repaired(device="cpu", verbose=0, random_state=seed), problem)


def _of_deepod(detector, problem: Problem) -> NDArray:
    detector.fit(problem.X, problem.known.astype(int))
    return detector.decision_function(problem.X_test)


def xgbod(problem: Problem, seed: int) -> NDArray:
    from pyod.models.xgbod import XGBOD

    detector = XGBOD(random_state=seed).fit(problem.X, problem.known.astype(int))
    return detector.decision_function(problem.X_test)


METHODS: dict[str, Method] = {
    "without": without,
    "labels": labels,
    "feedback": feedback,
    "DeepSAD": deepsad,
    "DevNet": devnet,
    "XGBOD": xgbod,
}


def read_tables(max_rows: int) -> Iterator[tuple[str, NDArray, NDArray[np.bool_]]]:
    folder = Path(os.environ.get("AEDETECT_DATA", "."), "adbench")
    paths = sorted(folder.glob("*.npz"), key=lambda path: int(path.stem.split("_")[0]))
    if not paths:
        raise SystemExit(f"There are no tables in {folder}: set AEDETECT_DATA.")
    for path in paths:
        with np.load(path) as data:
            X, y = data["X"].astype(np.float64), data["y"].astype(bool)
        kept = np.random.default_rng(0).permutation(len(X))[:max_rows]
        yield path.stem, X[kept], y[kept]


def problems(seed: int, max_rows: int) -> Iterator[Problem]:
    for name, X, y in read_tables(max_rows):
        rng = np.random.default_rng(seed)
        train = np.concatenate(
            [rng.permutation(rows)[: -(-len(rows) // 2)] for rows in map(np.flatnonzero, (~y, y))]
        )
        train = rng.permutation(train)
        test = np.setdiff1d(np.arange(len(X)), train)
        x = StandardScaler().fit(X[train]).transform(X)
        kinds = np.zeros(len(X), dtype=int)  # 1 and 2 for the anomalies of two kinds
        kinds[y] = 1 + KMeans(2, n_init=5, random_state=seed).fit_predict(x[y])
        large = int(np.bincount(kinds[train], minlength=3)[1:].argmax()) + 1
        choices = {
            "mixed": (y[train], np.ones(len(test), dtype=bool)),
            "other kind": (kinds[train] == large, kinds[test] != large),
        }
        for protocol, (candidates, scored) in choices.items():
            rows = test[scored]
            if y[rows].sum() < LEAST:
                continue
            for count in COUNTS:
                n_labels = -(-len(train) // 100) if count == "1%" else int(count)
                known = np.zeros(len(train), dtype=bool)
                known[np.flatnonzero(candidates)[:n_labels]] = True
                yield Problem(protocol, name, count, x[train], known, x[rows], y[rows])


def run(options: argparse.Namespace) -> None:
    """Fit what is not in the results file yet, and append it."""
    done = set()
    if options.out.exists():
        done = set(map(tuple, pd.read_csv(options.out, dtype={"labels": str})[KEY].to_numpy()))
    for seed in range(options.seeds):
        for problem in problems(seed, options.max_rows):
            if problem.n_labels not in options.counts:
                continue
            for method in options.methods:
                key = (problem.protocol, problem.name, problem.n_labels, method, seed)
                if key not in done:
                    row = dict(zip(KEY, key, strict=True)) | evaluate(problem, method, seed)
                    has_header = options.out.exists()
                    pd.DataFrame([row]).to_csv(
                        options.out, mode="a", header=not has_header, index=False
                    )


def evaluate(problem: Problem, method: str, seed: int) -> dict[str, float]:
    started = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        scores = METHODS[method](problem, seed)
    return {
        "auroc": roc_auc_score(problem.anomalous, scores),
        "ap": average_precision_score(problem.anomalous, scores),
        "seconds": time.perf_counter() - started,
    }


def report(path: Path) -> None:
    """Print means over tables and seeds, and on how many tables labels do harm."""
    results = pd.read_csv(path, dtype={"labels": str})
    for protocol, part in results.groupby("protocol", sort=False):
        by_data = part.pivot_table(
            index=["labels", "data"], columns="method", values=["auroc", "ap"]
        ).dropna()
        print(f"\n{protocol}")
        means = by_data.groupby("labels").mean().reindex(list(COUNTS)).dropna()
        counts = by_data.groupby("labels").size().reindex(means.index)
        for measure in ("auroc", "ap"):
            print(f"{measure}, mean over tables that all have done\n")
            print(means[measure].assign(tables=counts).round(3).to_string(), "\n")
        auroc = by_data["auroc"]
        if {"without", "labels"} <= set(auroc):
            gain = auroc["labels"] - auroc["without"]
            print("AUROC of labels less that without\n")
            print(
                gain.groupby("labels")
                .agg(
                    mean="mean",
                    least="min",
                    better=lambda gain: int((gain > 0.005).sum()),
                    worse=lambda gain: int((gain < -0.005).sum()),
                )
                .reindex(means.index)
                .round(3)
                .to_string()
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--counts", nargs="+", default=list(COUNTS), choices=COUNTS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--max-rows", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("labels.csv"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.report:
        run(options)
    report(options.out)


if __name__ == "__main__":
    main()
