"""``aedetect demo``: flag anomalous digits, and compare with PCA and IsolationForest."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

from aedetect import DenoisingAutoencoder, datasets, report

NORMAL_DIGIT = 3
N_PICTURES = 10
IMAGE_SHAPES = {"digits": (8, 8), "mnist": (28, 28)}


def run(arguments: Namespace) -> dict[str, Any]:
    """Train on one digit, compare with two other methods, and write a picture and a report."""
    import matplotlib.figure  # noqa: F401  # if it is missing, fail before training

    arguments.out.mkdir(parents=True, exist_ok=True)
    X_train, X_test, y_test = _demo_problem(arguments.data)
    print(
        f"Digit {NORMAL_DIGIT} is normal. {len(X_train)} of them train;"
        f" {len(X_test)} digits are tested, {(y_test == 1).sum()} of them normal.\n"
    )
    image_shape = IMAGE_SHAPES[arguments.data]
    detector = DenoisingAutoencoder(
        image_shape=(1, *image_shape), random_state=0, verbose=sys.stderr.isatty()
    )
    measures, scores = _compare(detector, X_train, X_test, y_test)
    print(measures.to_string(float_format="{:.3f}".format))
    is_flagged = scores < detector.offset_
    print(
        f"\nFlagged {is_flagged[y_test == -1].sum()} of {(y_test == -1).sum()} other digits,"
        f" and {is_flagged[y_test == 1].sum()} of {(y_test == 1).sum()} normal ones."
    )
    worst = X_test[scores.argsort()[:N_PICTURES]]
    picture = _draw(detector, worst, image_shape, arguments.out)
    print(f"Picture: {picture}")
    path = report(
        detector,
        X_test,
        y_test,
        arguments.out / "report.html",
        X_train=X_train,
        title=f"Which handwritten digits are not a {NORMAL_DIGIT}?",
    )
    print(f"Report: {path}")
    return {
        "measures": measures.to_dict(orient="index"),
        "picture": str(picture),
        "report": str(path),
    }


def _demo_problem(data: str) -> tuple[NDArray, NDArray, NDArray]:
    """Return training rows of the normal digit, and test rows of all digits with their labels."""
    if data == "digits":
        digits = datasets.load_digits()
        return datasets.make_anomaly_split(*digits, normal=NORMAL_DIGIT, random_state=0)
    X_train, y_train = datasets.load_mnist("train")
    X_test, y_test = datasets.load_mnist("test")
    return X_train[y_train == NORMAL_DIGIT], X_test, np.where(y_test == NORMAL_DIGIT, 1, -1)


def _compare(
    detector: DenoisingAutoencoder, X_train: NDArray, X_test: NDArray, y_test: NDArray
) -> tuple[pd.DataFrame, NDArray]:
    """Fit three methods; return AUROC, average precision and seconds, and the detector's scores."""
    methods: dict[str, Callable[[], NDArray]] = {
        type(detector).__name__: lambda: detector.fit(X_train).score_samples(X_test),
        "PCA reconstruction (16)": lambda: _pca_scores(X_train, X_test),
        "IsolationForest": lambda: (
            IsolationForest(random_state=0).fit(X_train).score_samples(X_test)
        ),
    }
    measures, scores = {}, {}
    for name, score in methods.items():
        started = time.perf_counter()
        scores[name] = score()
        seconds = time.perf_counter() - started
        measures[name] = {
            "AUROC": roc_auc_score(y_test, scores[name]),
            "average precision": average_precision_score(y_test == -1, -scores[name]),
            "seconds": seconds,
        }
    return pd.DataFrame.from_dict(measures, orient="index"), scores[type(detector).__name__]


def _pca_scores(X_train: NDArray, X_test: NDArray) -> NDArray:
    pca = PCA(min(16, len(X_train)), random_state=0).fit(X_train)
    residuals = X_test - pca.inverse_transform(pca.transform(X_test))
    return -(residuals**2).sum(axis=1)


def _draw(
    detector: DenoisingAutoencoder, rows: NDArray, image_shape: tuple[int, int], folder: Path
) -> Path:
    """Draw rows and their reconstructions, and return the path of the picture."""
    from matplotlib.figure import Figure

    from aedetect.plotting import ReconstructionDisplay

    figure = Figure(figsize=(11, 3), layout="constrained")
    figure.suptitle(f"Most anomalous test digits, with their scores (trained on {NORMAL_DIGIT}s)")
    ReconstructionDisplay.from_estimator(detector, rows, image_shape=image_shape, figure=figure)
    path = folder / "reconstructions.png"
    figure.savefig(path, dpi=120)
    return path
