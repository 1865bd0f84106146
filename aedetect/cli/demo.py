"""``aedetect demo``: flag odd digits and odd machines, beside other detectors."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from aedetect import (
    AutoencoderTransformer,
    ConformalDetector,
    DenoisingAutoencoder,
    datasets,
    report,
)

ALPHA = 0.05  # the share of normal rows that may be flagged
NORMAL_DIGITS = {"digits": [0, 1, 2, 3, 4], "mnist": [3]}
N_COMPONENTS = 16  # of PCA
N_PICTURES, N_MACHINES = 10, 4  # that are shown
IMAGE_SHAPES = {"digits": (8, 8), "mnist": (28, 28)}
N_MNIST = 2000  # images at most that train or are tested


class Problem(NamedTuple):
    """Normal rows to train on; rows to score, one in twenty of them an anomaly; their labels."""

    X_train: Any
    X_test: Any
    y_test: NDArray[np.int_]


def run(arguments: Namespace) -> dict[str, Any]:
    """Flag anomalies among digits and in a table, and write pictures and reports."""
    import jinja2  # noqa: F401  # if one of these is missing, fail before training
    import matplotlib.figure  # noqa: F401

    arguments.out.mkdir(parents=True, exist_ok=True)
    print(
        f"Each detector has an alarm that flags {ALPHA:.0%} of normal rows, on average over samples"
        " of calibration rows.\nOne test row in twenty is an anomaly.",
        flush=True,
    )
    return {
        "digits": _flag_digits(arguments.data, arguments.out),
        "machines": _flag_machines(arguments.out),
    }


def _flag_digits(data: str, folder: Path) -> dict[str, Any]:
    problem = _digits(data)
    names = ", ".join(map(str, NORMAL_DIGITS[data]))
    print(f"\nDigits: normal are {names}. {_sizes(problem)}", flush=True)
    image_shape = IMAGE_SHAPES[data]
    alarm = _alarm(_with_bar(AutoencoderTransformer(image_shape=(1, *image_shape))))
    peers = {
        "PCA (16 components)": PCA(N_COMPONENTS, random_state=0),
        "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
        "IsolationForest": IsolationForest(random_state=0),
    }
    results = _compare(alarm, peers, problem)
    title = f"The oddest test digits and their scores (normal: {names})"
    picture = _draw(alarm, problem.X_test, image_shape, title, folder)
    print(f"Picture: {picture}", flush=True)
    path = _report(alarm, problem, folder / "digits.html", f"Which digits are none of {names}?")
    return {"results": results, "picture": str(picture), "report": path}


def _flag_machines(folder: Path) -> dict[str, Any]:
    X_train, _ = datasets.make_machines(1000, random_state=0)
    problem = Problem(X_train, *datasets.make_machines(500, n_anomalies=25, random_state=1))
    print(
        f"\nMachines: a table with columns of text; an anomaly has one wrong cell."
        f" {_sizes(problem)}",
        flush=True,
    )
    alarm = _alarm(_with_bar(DenoisingAutoencoder()))
    peers = {
        name: make_pipeline(_coded_columns(), peer)
        for name, peer in {
            "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
            "IsolationForest": IsolationForest(random_state=0),
        }.items()
    }
    results = _compare(alarm, peers, problem)
    print(_wrong_cells(alarm, problem.X_test), flush=True)
    path = _report(alarm, problem, folder / "machines.html", "Which machines are odd?")
    return {"results": results, "report": path}


def _digits(data: str) -> Problem:
    load = {"digits": datasets.load_digits, "mnist": datasets.load_mnist}[data]
    X, y = load()
    n_normal = min(N_MNIST, np.isin(y, NORMAL_DIGITS[data]).sum() // 2)
    X_train, X_test, y_test = datasets.make_anomaly_split(
        X, y, normal=NORMAL_DIGITS[data], n_test_anomalies=round(n_normal / 19), random_state=0
    )
    kept = np.sort(np.r_[np.flatnonzero(y_test == 1)[:n_normal], np.flatnonzero(y_test == -1)])
    return Problem(X_train[:n_normal], X_test[kept], y_test[kept])


def _sizes(problem: Problem) -> str:
    return f"{len(problem.X_train):,} rows train, {len(problem.X_test):,} are tested."


def _with_bar(estimator: Any) -> Any:
    return estimator.set_params(random_state=0, verbose=sys.stderr.isatty())


def _alarm(detector: Any) -> ConformalDetector:
    return ConformalDetector(detector, alpha=ALPHA, random_state=0)


def _coded_columns() -> Any:
    """Return the step that turns a mixed table into numbers, for detectors that need them."""
    numbers = make_column_selector(dtype_include="number")
    others = make_column_selector(dtype_exclude="number")
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((StandardScaler(), numbers), (one_hot, others))


def _compare(
    alarm: ConformalDetector, peers: dict[str, Any], problem: Problem
) -> dict[str, dict[str, float]]:
    """Fit ``alarm``, and the peers with an alarm around each; print and return the results."""
    alarms = {type(alarm.estimator).__name__: alarm}
    alarms |= {name: _alarm(peer) for name, peer in peers.items()}
    results = {name: _result(each, problem) for name, each in alarms.items()}
    low, high = alarm.fpr_interval()
    print(
        f"{_table(results, (problem.y_test == -1).sum())}\n"
        f"Expected with {len(alarm.calibration_scores_)} calibration rows: {low:.1%} to {high:.1%}"
        " false alarms, with a probability of 95%.",
        flush=True,
    )
    return results


def _result(alarm: ConformalDetector, problem: Problem) -> dict[str, float]:
    started = time.perf_counter()
    scores = alarm.fit(problem.X_train).score_samples(problem.X_test)
    seconds = time.perf_counter() - started
    is_anomaly = problem.y_test == -1
    flagged = scores < alarm.offset_
    return {
        "auroc": float(roc_auc_score(problem.y_test, scores)),
        "average_precision": float(average_precision_score(is_anomaly, -scores)),
        "found": int(flagged[is_anomaly].sum()),
        "false_alarms": float(flagged[~is_anomaly].mean()),
        "seconds": seconds,
    }


def _table(results: dict[str, dict[str, float]], n_anomalies: int) -> str:
    table = pd.DataFrame.from_dict(results, orient="index")
    columns = {
        "AUROC": table["auroc"].map("{:.3f}".format),
        "average precision": table["average_precision"].map("{:.3f}".format),
        "anomalies found": table["found"].map(lambda found: f"{found:.0f} of {n_anomalies}"),
        "false alarms": table["false_alarms"].map("{:.1%}".format),
        "seconds": table["seconds"].map("{:.1f}".format),
    }
    return pd.DataFrame(columns).to_string()


def _draw(
    alarm: ConformalDetector, X: NDArray, image_shape: tuple[int, int], title: str, folder: Path
) -> Path:
    """Draw the oddest rows and their reconstructions, and return the path of the picture."""
    from matplotlib.figure import Figure

    from aedetect.plotting import ReconstructionDisplay

    oddest = X[alarm.score_samples(X).argsort()[:N_PICTURES]]
    figure = Figure(figsize=(11, 3), layout="constrained")
    figure.suptitle(title)
    ReconstructionDisplay.from_estimator(
        alarm.estimator_, oddest, image_shape=image_shape, figure=figure
    )
    path = folder / "reconstructions.png"
    figure.savefig(path, dpi=120)
    return path


def _wrong_cells(alarm: ConformalDetector, X: pd.DataFrame) -> str:
    """Return lines that name the cells of the oddest rows that ``repair`` changes."""
    oddest = X.iloc[alarm.score_samples(X).argsort()[:N_MACHINES]]
    rows, repaired_rows = oddest.to_dict("records"), alarm.repair(oddest).to_dict("records")
    lines = ["The oddest machines, and what would make each of them normal:"]
    for number, row, repaired in zip(oddest.index, rows, repaired_rows, strict=True):
        changes = [
            f"{name} {_text(row[name])} -> {_text(value)}"
            for name, value in repaired.items()
            if value != row[name]
        ]
        lines.append(f"  machine {number}, model {row['model']}: {', '.join(changes)}")
    return "\n".join(lines)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, Real) else str(value)


def _report(alarm: ConformalDetector, problem: Problem, path: Path, title: str) -> str:
    report(alarm, problem.X_test, problem.y_test, path, X_train=problem.X_train, title=title)
    print(f"Report: {path}", flush=True)
    return str(path)
