"""What the detectors find with their defaults, beside their peers, on five protocols.

    python benchmarks/quality.py                                    # everything: hours
    python benchmarks/quality.py semi --methods knn pca denoising   # a part
    python benchmarks/quality.py --report                           # the tables of what is done

Every fit is a line of the results file at once, and what is there is not run again. Needs the extra
``bench``, and the ADBench tables as ``adbench/*.npz`` in the folder in AEDETECT_DATA; MNIST is read
from there too, else from OpenML.

- semi: ADBench, clean training rows. Half of the normal rows train, the other half and all
  anomalies test; at most 10,000 rows; columns scaled by the training half. The usual protocol
  resamples small sets before it splits them, so that test rows are trained on; this one does not.
- contaminated: ADBench, all rows train and are scored, no labels.
- one_class: MNIST, one digit trains, the 10,000 test images are scored.
- few_images: MNIST, 1,000 images of one digit train, the 10,000 test images are scored.
- multimodal: MNIST, nine digits train, the 10,000 test images are scored.

Methods whose name ends in "told ..." are also told about the training rows, by ``contamination``:
that they are clean, or that a tenth of them are anomalies. They run on one protocol each. Other
detectors take no such hint, or only for their threshold: IsolationForest scores all rows equally
with any ``contamination``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector, datasets

MAX_ROWS = 10_000
MEASURES = ["auroc", "ap"]


class Problem(NamedTuple):
    """Rows to train on and to score; where they are the same, ``X_test`` is ``X``."""

    name: str
    X: NDArray
    X_test: NDArray
    anomalous: NDArray[np.bool_]  # of X_test
    image_shape: tuple[int, int, int] | None = None  # None for a table


# Methods: anomaly scores of the test rows, higher is odder.
Method = Callable[[Problem, int], NDArray]


def knn(problem: Problem, seed: int) -> NDArray:
    neighbours = NearestNeighbors(n_neighbors=5).fit(problem.X)
    # Without an argument a row is no neighbour of itself.
    asked = None if problem.X_test is problem.X else problem.X_test
    return neighbours.kneighbors(asked)[0][:, -1]


def dte_np(problem: Problem, seed: int) -> NDArray:
    """DTE-NP of Livernoche et al., ICLR 2024: the mean distance to the 5 nearest rows."""
    neighbours = NearestNeighbors(n_neighbors=5).fit(problem.X)
    asked = None if problem.X_test is problem.X else problem.X_test
    return neighbours.kneighbors(asked)[0].mean(axis=1)


def wide_neighbours(problem: Problem, seed: int) -> NDArray:
    """The mean logarithm of the distances to the nearest tenth of 1,000 training rows."""
    chosen = np.random.default_rng(seed).permutation(len(problem.X))[:1000]
    n_neighbours = max(1, len(chosen) // 10)
    neighbours = NearestNeighbors(n_neighbors=n_neighbours + 1).fit(problem.X[chosen])
    distances = neighbours.kneighbors(problem.X_test)[0]
    is_own = np.zeros(len(distances), dtype=bool)  # whether the nearest row is the row itself
    if problem.X_test is problem.X:
        is_own[chosen] = True
    others = np.where(is_own[:, None], distances[:, 1:], distances[:, :-1])
    return np.log(others + 0.01 * others.mean()).mean(axis=1)


def lof(problem: Problem, seed: int) -> NDArray:
    if problem.X_test is problem.X:
        return -LocalOutlierFactor().fit(problem.X).negative_outlier_factor_
    return -LocalOutlierFactor(novelty=True).fit(problem.X).score_samples(problem.X_test)


def pca(problem: Problem, seed: int) -> NDArray:
    model = PCA(0.9, svd_solver="full").fit(problem.X)
    restored = model.inverse_transform(model.transform(problem.X_test))
    return np.square(restored - problem.X_test).sum(axis=1)


def of_scikit_learn(make: Callable) -> Method:
    """Return the method of a detector whose ``score_samples`` is higher for normal rows."""

    def method(problem: Problem, seed: int) -> NDArray:
        return -make(seed).fit(problem.X).score_samples(problem.X_test)

    return method


def of_pyod(name: str, module: str) -> Method:
    def method(problem: Problem, seed: int) -> NDArray:
        detector_class = getattr(importlib.import_module(f"pyod.models.{module}"), name)
        detector = detector_class(random_state=seed, verbose=0).fit(problem.X)
        return detector.decision_function(problem.X_test)

    return method


def of_aedetect(detector_class: Callable, **parameters: object) -> Method:
    """Return the method of one of ours with its defaults: those for images, where rows are such."""

    def method(problem: Problem, seed: int) -> NDArray:
        detector = detector_class(image_shape=problem.image_shape, random_state=seed, **parameters)
        return -detector.fit(problem.X).score_samples(problem.X_test)

    return method


# One epoch of steps that are too small to change a weight of float32.
UNTRAINED = {"learning_rate": 1e-12, "max_epochs": 1}
METHODS: dict[str, Method] = {
    "autoencoder": of_aedetect(AutoencoderTransformer),
    "denoising": of_aedetect(DenoisingAutoencoder),
    "vae": of_aedetect(VAEDetector),
    "autoencoder unshifted": of_aedetect(AutoencoderTransformer, max_shift=0),
    "autoencoder x4": of_aedetect(AutoencoderTransformer, n_members=4),
    "denoising x4": of_aedetect(DenoisingAutoencoder, n_members=4),
    "vae x4": of_aedetect(VAEDetector, n_members=4),
    "denoising told clean": of_aedetect(DenoisingAutoencoder, contamination=0),
    "denoising told 0.1": of_aedetect(DenoisingAutoencoder, contamination=0.1),
    # How much of the default is the work of the network: its error alone, the default score of a
    # network as it was drawn, and the parts of the scores that no network is needed for.
    "network alone": of_aedetect(DenoisingAutoencoder, anomaly_score="reconstruction"),
    "network untrained": of_aedetect(DenoisingAutoencoder, **UNTRAINED),
    "network untrained, told clean": of_aedetect(
        DenoisingAutoencoder, contamination=0, **UNTRAINED
    ),
    "density": of_aedetect(DenoisingAutoencoder, anomaly_score="density", **UNTRAINED),
    "kernel residual": of_aedetect(
        DenoisingAutoencoder, anomaly_score="kernel_residual", **UNTRAINED
    ),
    "knn": knn,
    "dte-np": dte_np,
    "wide neighbours": wide_neighbours,
    "lof": lof,
    "iforest": of_scikit_learn(lambda seed: IsolationForest(random_state=seed)),
    "ocsvm": of_scikit_learn(lambda seed: OneClassSVM()),
    "pca": pca,
    "mcd": of_scikit_learn(lambda seed: EllipticEnvelope(random_state=seed)),
    "pyod autoencoder": of_pyod("AutoEncoder", "auto_encoder"),
    "pyod vae": of_pyod("VAE", "vae"),
}
# The protocols of the methods that are told about training rows, or differ from others on images.
ONLY = {
    "denoising told clean": ("semi",),
    "network untrained, told clean": ("semi",),
    "denoising told 0.1": ("contaminated",),
    "autoencoder unshifted": ("one_class", "few_images", "multimodal"),
}


def read_tables(seed: int) -> Iterator[tuple[str, NDArray, NDArray[np.bool_]]]:
    """Yield the ADBench tables, at most ``MAX_ROWS`` rows of each."""
    folder = Path(os.environ.get("AEDETECT_DATA", "."), "adbench")
    paths = sorted(folder.glob("*.npz"), key=lambda path: int(path.stem.split("_")[0]))
    if not paths:
        raise SystemExit(f"There are no tables in {folder}: set AEDETECT_DATA.")
    for path in paths:
        with np.load(path) as data:
            X, y = data["X"].astype(np.float64), data["y"].astype(bool)
        kept = np.random.default_rng(seed).permutation(len(X))[:MAX_ROWS]
        yield path.stem, X[kept], y[kept]


def semi(seed: int) -> Iterator[Problem]:
    for name, X, y in read_tables(seed):
        normal = np.random.default_rng(seed).permutation(np.flatnonzero(~y))
        train = normal[: len(normal) // 2]
        test = np.setdiff1d(np.arange(len(X)), train)
        scaler = StandardScaler().fit(X[train])
        yield Problem(name, scaler.transform(X[train]), scaler.transform(X[test]), y[test])


def contaminated(seed: int) -> Iterator[Problem]:
    for name, X, y in read_tables(seed):
        scaled = StandardScaler().fit_transform(X)
        yield Problem(name, scaled, scaled, y)


def one_class(seed: int) -> Iterator[Problem]:
    yield from of_digits(lambda y, digit: y == digit)


def few_images(seed: int) -> Iterator[Problem]:
    for problem in one_class(seed):
        kept = np.random.default_rng(seed).permutation(len(problem.X))[:1000]
        yield problem._replace(X=problem.X[kept])


def multimodal(seed: int) -> Iterator[Problem]:
    yield from of_digits(lambda y, digit: y != digit)


def of_digits(is_normal: Callable[[NDArray, int], NDArray[np.bool_]]) -> Iterator[Problem]:
    X, y = datasets.load_mnist("train")
    X_test, y_test = datasets.load_mnist("test")
    for digit in range(10):
        anomalous = ~is_normal(y_test, digit)
        yield Problem(f"digit {digit}", X[is_normal(y, digit)], X_test, anomalous, (1, 28, 28))


PROTOCOLS = {p.__name__: p for p in (semi, contaminated, one_class, few_images, multimodal)}


def run(path: Path, protocols: list[str], methods: list[str], n_seeds: int) -> None:
    """Fit what is not in the results file yet, and append it."""
    done = set()
    if path.exists():
        done = set(map(tuple, pd.read_csv(path)[["protocol", "data", "method", "seed"]].to_numpy()))
    for protocol in protocols:
        for seed in range(n_seeds):
            for problem in PROTOCOLS[protocol](seed):
                for method in methods:
                    key = (protocol, problem.name, method, seed)
                    if key not in done and protocol in ONLY.get(method, PROTOCOLS):
                        append(path, key, evaluate(problem, method, seed))


def evaluate(problem: Problem, method: str, seed: int) -> dict[str, float]:
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = METHODS[method](problem, seed)
    return {
        "auroc": roc_auc_score(problem.anomalous, scores),
        "ap": average_precision_score(problem.anomalous, scores),
        "seconds": time.perf_counter() - started,
    }


def append(path: Path, key: tuple, measures: dict[str, float]) -> None:
    row = dict(zip(("protocol", "data", "method", "seed"), key, strict=True)) | measures
    pd.DataFrame([row]).to_csv(path, mode="a", header=not path.exists(), index=False)


def report(path: Path, *, tables: bool) -> None:
    """Print a table for each protocol: means over data sets and seeds, and how they compare.

    ``tables`` adds the means of every data set.
    """
    results = pd.read_csv(path)
    for protocol, part in results.groupby("protocol", sort=False):
        by_data = part.pivot_table(index="data", columns="method", values=MEASURES)
        complete = by_data.dropna()
        auroc = complete["auroc"]
        by_seed = part[part["data"].isin(complete.index)].groupby(["method", "seed"])
        table = pd.DataFrame(
            {
                "AUROC": auroc.mean(),
                "AP": complete["ap"].mean(),
                "error over data": auroc.sem(),
                "deviation over seeds": by_seed["auroc"].mean().groupby("method").std(),
                "mean rank": auroc.rank(axis=1, ascending=False).mean(),
                "seconds": by_seed["seconds"].sum().groupby("method").mean(),
            }
        )
        if "knn" in auroc:
            table["wins against knn"] = auroc.gt(auroc["knn"], axis=0).sum()
        n_seeds = part["seed"].nunique()
        print(f"\n{protocol}: {len(complete)} data sets that all have done, {n_seeds} seeds")
        print(table.sort_values("mean rank").round(4).to_string())
        if tables:
            for measure in MEASURES:
                print(f"\n{protocol}, {measure} of every data set")
                print(by_data[measure].round(3).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "protocols",
        nargs="*",
        choices=[*PROTOCOLS, []],  # argparse looks for the list of none, too
        metavar="PROTOCOL",
        help=f"{', '.join(PROTOCOLS)}; default: all",
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("quality.csv"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--tables", action="store_true", help="also print every data set")
    options = parser.parse_args()
    if not options.report:
        run(options.out, options.protocols or list(PROTOCOLS), options.methods, options.seeds)
    report(options.out, tables=options.tables)


if __name__ == "__main__":
    main()
