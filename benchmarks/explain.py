"""Whether explanations find the false cells of a row, and what it takes to make a row normal.

    python benchmarks/explain.py                        # all tables; SHAP takes most of the time
    python benchmarks/explain.py --tables wine WBC --rows 10 --shap-rows 2

Known cells of normal rows, kept out of the fit, are falsified, one kind at a time:

- shift: 1 to 3 cells move by three deviations of their column, up or down.
- swap: 1 to 3 cells take the value of another row, where it differs.
- dependency: the same for one cell of a column that the others foretell (half of its variance by a
  forest, or the best foretold one); it keeps its marginal distribution.

Each method gives every cell a number. AP is the average precision over the cells of all rows,
hit@1 the share of rows where a false cell comes first. All are of one DenoisingAutoencoder with
its defaults. Repair is compared with replacing values by their reconstructions until the row counts
as normal: that of the largest residual, or the one after which the score is best.

Needs the extra ``bench``, and the ADBench tables as ``adbench/*.npz`` in the folder in
AEDETECT_DATA.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import average_precision_score

from aedetect import DenoisingAutoencoder

MAX_ROWS = 2_000
KINDS = ("shift", "swap", "dependency")


class Problem(NamedTuple):
    """A fitted detector and rows with false cells."""

    detector: DenoisingAutoencoder
    train: NDArray
    rows: NDArray
    false: NDArray[np.bool_]  # of the cells of rows


def read_normal_rows(path: Path, seed: int) -> tuple[NDArray, NDArray]:
    """Return the normal rows to train on and those to falsify, without constant columns."""
    with np.load(path) as data:
        X = data["X"][data["y"] == 0].astype(np.float64)
    X = X[np.random.default_rng(seed).permutation(len(X))[:MAX_ROWS]]
    train, rest = np.array_split(X, 2)
    varies = train.std(axis=0) > 0
    return train[:, varies], rest[:, varies]


def find_dependent(train: NDArray, seed: int) -> NDArray[np.intp]:
    """Return the columns that the others foretell."""
    explained = []
    for column in range(train.shape[1]):
        forest = ExtraTreesRegressor(
            50, min_samples_leaf=2, bootstrap=True, oob_score=True, random_state=seed
        )
        others = np.delete(train, column, axis=1)[:500]
        explained.append(forest.fit(others, train[:500, column]).oob_score_)
    explained = np.array(explained)
    return np.flatnonzero(explained >= min(0.5, explained.max()))


def falsify(
    kind: str, X: NDArray, train: NDArray, dependent: NDArray, rng: np.random.Generator
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return rows with false cells, and which those are."""
    rows, deviation = X.copy(), train.std(axis=0)
    for row in rows:
        columns, n_cells = np.arange(X.shape[1]), rng.integers(1, 4)
        if kind == "dependency":
            columns, n_cells = dependent, 1
        for column in rng.permutation(columns)[:n_cells]:
            if kind == "shift":
                row[column] += 3 * deviation[column] * rng.choice([-1, 1])
            else:
                row[column] = rng.choice(train[train[:, column] != row[column], column])
    return rows, rows != X


# Explanations: a number for each cell, higher is odder.


def by_explain(problem: Problem) -> NDArray:
    return problem.detector.explain(problem.rows)


def by_z(problem: Problem) -> NDArray:
    return np.abs(problem.rows - problem.train.mean(axis=0)) / problem.train.std(axis=0)


def by_residual(problem: Problem) -> NDArray:
    residuals = problem.detector.reconstruct(problem.rows) - problem.rows
    return np.abs(residuals) / problem.train.std(axis=0)


def by_shap(problem: Problem) -> NDArray:
    """Return SHAP values of minus the score, by the explainer's defaults: 100 rows, 10 orders."""
    import shap

    model = problem.detector.score_samples
    explainer = shap.PermutationExplainer(
        lambda X: -model(X), shap.maskers.Independent(problem.train, max_samples=100), seed=0
    )
    budget = 10 * (2 * problem.rows.shape[1] + 1)
    return explainer(problem.rows, max_evals=budget, silent=True).values


METHODS: dict[str, Callable[[Problem], NDArray]] = {
    "explain": by_explain,
    "|z|": by_z,
    "residual": by_residual,
    "SHAP": by_shap,
}


def judge_explanations(problem: Problem, n_shap_rows: int) -> list[dict[str, object]]:
    """Return a record for each method; all are also judged on the rows that SHAP explains."""
    records: list[dict[str, object]] = []
    few = problem._replace(rows=problem.rows[:n_shap_rows], false=problem.false[:n_shap_rows])
    for part, which in (("all rows", problem), ("SHAP's rows", few)):
        for method, explain in METHODS.items():
            if len(which.rows) == 0 or (method == "SHAP" and which is problem):
                continue
            started = time.perf_counter()
            values = explain(which)
            seconds = (time.perf_counter() - started) / len(which.rows)
            first = which.false[np.arange(len(values)), values.argmax(axis=1)]
            precision = average_precision_score(which.false.ravel(), values.ravel())
            records.append(
                {
                    "part": part,
                    "method": method,
                    "AP": precision,
                    "hit@1": first.mean(),
                    "seconds": seconds,
                }
            )
    return records


# Repairs: rows that count as normal.


def replace_until_normal(problem: Problem, *, by_score: bool) -> NDArray:
    """Return rows whose values were replaced by their reconstructions, one after the other."""
    detector, rows = problem.detector, problem.rows.copy()
    deviation = problem.train.std(axis=0)
    n_features = rows.shape[1]
    for _ in range(n_features):
        odd = np.flatnonzero(detector.predict(rows) == -1)
        if len(odd) == 0:
            break
        restored = detector.reconstruct(rows[odd])
        if by_score:
            copies = np.repeat(rows[odd, None], n_features, axis=1)
            diagonal = np.arange(n_features)
            copies[:, diagonal, diagonal] = restored
            scores = detector.score_samples(copies.reshape(-1, n_features))
            chosen = scores.reshape(-1, n_features).argmax(axis=1)
        else:
            chosen = (np.abs(restored - rows[odd]) / deviation).argmax(axis=1)
        rows[odd, chosen] = restored[np.arange(len(odd)), chosen]
    return rows


REPAIRS: dict[str, Callable[[Problem], NDArray]] = {
    "repair": lambda problem: problem.detector.repair(problem.rows),
    "greedy by residual": partial(replace_until_normal, by_score=False),
    "greedy by score": partial(replace_until_normal, by_score=True),
}


def judge_repairs(problem: Problem) -> list[dict[str, object]]:
    """Return a record for each way to repair the rows that count as anomalies."""
    odd = problem.detector.predict(problem.rows) == -1
    problem = problem._replace(rows=problem.rows[odd], false=problem.false[odd])
    if not odd.any():
        return []
    records: list[dict[str, object]] = []
    for method, repair in REPAIRS.items():
        started = time.perf_counter()
        repaired = repair(problem)
        seconds = (time.perf_counter() - started) / len(repaired)
        moved = np.abs(repaired - problem.rows) / problem.train.std(axis=0)
        records.append(
            {
                "method": method,
                "rows": len(repaired),
                "normal": (problem.detector.predict(repaired) == 1).mean(),
                "features changed": (moved > 0).sum(axis=1).mean(),
                "distance": moved.sum(axis=1).mean(),
                "seconds": seconds,
            }
        )
    return records


def run(paths: list[Path], n_rows: int, n_shap_rows: int, seed: int, out: Path) -> None:
    """Print the tables after each data set, so that a run can be cut short."""
    explanations, repairs = [], []
    for path in paths:
        train, rest = read_normal_rows(path, seed)
        detector = DenoisingAutoencoder(random_state=seed).fit(train)
        dependent, rng = find_dependent(train, seed), np.random.default_rng(seed)
        for kind in KINDS:
            clean = rest[rng.permutation(len(rest))[:n_rows]]
            problem = Problem(detector, train, *falsify(kind, clean, train, dependent, rng))
            key = {"table": path.stem, "kind": kind}
            explanations += [
                {**key, **record} for record in judge_explanations(problem, n_shap_rows)
            ]
            repairs += [{**key, **record} for record in judge_repairs(problem)]
        pd.DataFrame(explanations).to_csv(out.with_suffix(".cells.csv"), index=False)
        pd.DataFrame(repairs).to_csv(out.with_suffix(".repairs.csv"), index=False)
        print(f"{path.stem} done", flush=True)
    report(pd.DataFrame(explanations), pd.DataFrame(repairs))


def report(explanations: pd.DataFrame, repairs: pd.DataFrame) -> None:
    """Print the means over tables."""
    for part, records in explanations.groupby("part", sort=False):
        table = records.pivot_table(
            index="method", columns="kind", values=["AP", "hit@1"], sort=False
        )
        print(f"\n{records['table'].nunique()} tables, {part}\n{table.round(3).to_string()}")
        print(f"median seconds a row\n{records.groupby('method')['seconds'].median().to_string()}")
        seconds = records.pivot_table(index=["table", "kind"], columns="method", values="seconds")
        if "SHAP" in seconds:
            ratio = seconds["SHAP"] / seconds["explain"]
            print(f"SHAP takes {ratio.median():.0f} times as long (median)")
    columns = ["normal", "features changed", "distance", "seconds"]
    table = repairs.groupby("method", sort=False)[columns].mean()
    weighted = repairs[columns].mul(repairs["rows"], axis=0).groupby(repairs["method"]).sum()
    weighted = weighted.div(repairs.groupby("method")["rows"].sum(), axis=0)
    print(f"\nrepairs, mean over tables and kinds\n{table.round(3).to_string()}")
    print(f"\nrepairs, mean over all {repairs['rows'].sum() // len(REPAIRS)} anomalies")
    print(weighted.reindex(table.index).round(3).to_string())
    by_kind = repairs.pivot_table(index="method", columns="kind", values="features changed")
    print(f"\nfeatures changed\n{by_kind.round(2).to_string()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="*", help="parts of their names; default: all")
    parser.add_argument("--rows", type=int, default=100, help="falsified rows of each kind")
    parser.add_argument("--shap-rows", type=int, default=10, help="of those, explained by SHAP")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("explain.csv"))
    options = parser.parse_args()
    folder = Path(os.environ.get("AEDETECT_DATA", "."), "adbench")
    paths = sorted(folder.glob("*.npz"), key=lambda path: int(path.stem.split("_")[0]))
    if options.tables:
        paths = [p for p in paths if any(name in p.stem for name in options.tables)]
    if not paths:
        raise SystemExit(f"There are no such tables in {folder}: set AEDETECT_DATA.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(paths, options.rows, options.shap_rows, options.seed, options.out)


if __name__ == "__main__":
    main()
