"""The command line: ``aedetect demo``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # --help must not wait for torch and scikit-learn
    import pandas as pd
    from numpy.typing import NDArray

    from aedetect import DenoisingAutoencoder

NORMAL_DIGIT = 3
N_PICTURES = 10
IMAGE_SHAPES = {"digits": (8, 8), "mnist": (28, 28)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 for success, 1 for an error, 2 for bad usage.

    Parameters
    ----------
    argv : sequence of str or None, default=None
        The arguments behind ``aedetect``; None takes those of the process.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (ImportError, OSError, ValueError) as error:
        if arguments.debug:
            raise
        print(f"aedetect: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aedetect", description="Anomaly detection with autoencoders."
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="flag anomalous handwritten digits")
    demo.add_argument(
        "--data",
        choices=list(IMAGE_SHAPES),
        default="digits",
        help="digits: 8x8 images that ship with scikit-learn; mnist: 28x28 images from the folder"
        " in $AEDETECT_DATA, else from OpenML (default: digits)",
    )
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("demo"),
        help="folder for picture and report (default: demo)",
    )
    demo.set_defaults(run=_demo)
    return parser


def _demo(arguments: argparse.Namespace) -> None:
    """Train on one digit, compare with two peers, and show the most anomalous test digits."""
    from matplotlib.figure import Figure

    from aedetect import DenoisingAutoencoder, report
    from aedetect.plotting import ReconstructionDisplay

    arguments.out.mkdir(parents=True, exist_ok=True)  # fails now rather than after training
    X_train, X_test, y_test = _demo_problem(arguments.data)
    print(
        f"Digit {NORMAL_DIGIT} is normal. {len(X_train)} of them train;"
        f" {len(X_test)} digits are tested, {(y_test == 1).sum()} of them normal.\n"
    )
    detector = DenoisingAutoencoder(
        image_shape=(1, *IMAGE_SHAPES[arguments.data]),
        random_state=0,
        verbose=sys.stderr.isatty(),
    )
    print(_compare(detector, X_train, X_test, y_test).to_string(float_format="{:.3f}".format))
    labels = detector.predict(X_test)
    print(
        f"\nFlagged {(labels[y_test == -1] == -1).sum()} of {(y_test == -1).sum()} other digits,"
        f" and {(labels[y_test == 1] == -1).sum()} of {(y_test == 1).sum()} normal ones."
    )
    worst = X_test[detector.score_samples(X_test).argsort()[:N_PICTURES]]
    figure = Figure(figsize=(11, 3), layout="constrained")
    figure.suptitle(f"Most anomalous test digits, with their scores (trained on {NORMAL_DIGIT}s)")
    ReconstructionDisplay.from_estimator(
        detector, worst, image_shape=IMAGE_SHAPES[arguments.data], figure=figure
    )
    path = arguments.out / "reconstructions.png"
    figure.savefig(path, dpi=120)
    print(f"Picture: {path}")
    path = report(
        detector,
        X_test,
        y_test,
        arguments.out / "report.html",
        X_train=X_train,
        title=f"Which handwritten digits are not a {NORMAL_DIGIT}?",
    )
    print(f"Report: {path}")


def _demo_problem(data: str) -> tuple[NDArray, NDArray, NDArray]:
    """Return training rows of the normal digit, and test rows of all digits with their labels."""
    import numpy as np

    from aedetect import datasets

    if data == "digits":
        digits = datasets.load_digits()
        return datasets.make_anomaly_split(*digits, normal=NORMAL_DIGIT, random_state=0)
    X_train, y_train = datasets.load_mnist("train")
    X_test, y_test = datasets.load_mnist("test")
    return X_train[y_train == NORMAL_DIGIT], X_test, np.where(y_test == NORMAL_DIGIT, 1, -1)


def _compare(
    detector: DenoisingAutoencoder, X_train: NDArray, X_test: NDArray, y_test: NDArray
) -> pd.DataFrame:
    """Fit ``detector`` and its peers; return one row each: AUROC, average precision, seconds."""
    import pandas as pd
    from sklearn.decomposition import PCA
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import average_precision_score, roc_auc_score

    def pca_scores() -> NDArray:
        pca = PCA(min(16, len(X_train)), random_state=0).fit(X_train)
        residuals = X_test - pca.inverse_transform(pca.transform(X_test))
        return -(residuals**2).sum(axis=1)

    methods: dict[str, Callable[[], NDArray]] = {
        type(detector).__name__: lambda: detector.fit(X_train).score_samples(X_test),
        "PCA reconstruction (16)": pca_scores,
        "IsolationForest": lambda: (
            IsolationForest(random_state=0).fit(X_train).score_samples(X_test)
        ),
    }
    rows = {}
    for name, score in methods.items():
        started = time.perf_counter()
        scores = score()
        rows[name] = {
            "AUROC": roc_auc_score(y_test, scores),
            "average precision": average_precision_score(y_test == -1, -scores),
            "seconds": time.perf_counter() - started,
        }
    return pd.DataFrame.from_dict(rows, orient="index")
