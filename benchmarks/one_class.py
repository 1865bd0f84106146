"""One digit is normal, the nine others are anomalies: AUROC, mean over the ten digits.

Each method learns from one digit and scores digits of all ten. All methods see the same splits, in
grey values from 0 to 1; ours run with their defaults, one configuration for both data sets.

    python benchmarks/one_class.py             # 8x8 digits, half of a digit's images train
    python benchmarks/one_class.py --mnist     # also MNIST (about 15 minutes on two cores)

MNIST: the train images of a digit train, all 10,000 test images are scored; read from the folder in
AEDETECT_DATA, else from OpenML.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector, datasets

Problem = tuple[NDArray, NDArray, NDArray]  # X_train, X_test, y_test in {+1, -1}
Score = Callable[[NDArray, NDArray, int], NDArray]


def digit_problems(seed: int) -> Iterator[Problem]:
    """Yield ten splits of the 8x8 digits."""
    digits = datasets.load_digits()
    for digit in range(10):
        yield datasets.make_anomaly_split(*digits, normal=digit, random_state=seed)


def mnist_problems(seed: int) -> Iterator[Problem]:
    """Yield the ten one-class problems of MNIST's own split."""
    X_train, y_train = datasets.load_mnist("train")
    X_test, y_test = datasets.load_mnist("test")
    for digit in range(10):
        yield X_train[y_train == digit], X_test, np.where(y_test == digit, 1, -1)


def ours(estimator_class: type) -> Score:
    """Score with one of our estimators and its defaults for images."""

    def score(train: NDArray, test: NDArray, seed: int) -> NDArray:
        side = math.isqrt(train.shape[1])
        detector = estimator_class(image_shape=(1, side, side), random_state=seed)
        return detector.fit(train).score_samples(test)

    return score


def pca(n_components: int) -> Score:
    """Score with the reconstruction error of PCA."""

    def score(train: NDArray, test: NDArray, seed: int) -> NDArray:
        model = PCA(n_components, random_state=seed).fit(train)
        return -((test - model.inverse_transform(model.transform(test))) ** 2).sum(axis=1)

    return score


def neighbours(k: int) -> Score:
    """Score with the distance to the k-th neighbour."""
    return lambda train, test, seed: (
        -NearestNeighbors(n_neighbors=k).fit(train).kneighbors(test)[0][:, -1]
    )


def forest(train: NDArray, test: NDArray, seed: int) -> NDArray:
    """Score with an isolation forest."""
    return IsolationForest(random_state=seed).fit(train).score_samples(test)


METHODS: dict[str, Score] = {
    "AutoencoderTransformer": ours(AutoencoderTransformer),
    "DenoisingAutoencoder": ours(DenoisingAutoencoder),
    "VAEDetector": ours(VAEDetector),
    "PCA(16)": pca(16),
    "PCA(32)": pca(32),
    "1 neighbour": neighbours(1),
    "5 neighbours": neighbours(5),
    "IsolationForest": forest,
}


def compare(problems: Callable[[int], Iterator[Problem]], seeds: range) -> pd.DataFrame:
    """Return one row a method: mean AUROC, its deviation over seeds, and average precision."""
    records = []
    for seed in seeds:
        for train, test, y in problems(seed):
            for name, score in METHODS.items():
                started = time.perf_counter()
                scores = score(train, test, seed)
                records.append(
                    {
                        "method": name,
                        "seed": seed,
                        "AUROC": roc_auc_score(y, scores),
                        "AP": average_precision_score(y == -1, -scores),
                        "seconds": time.perf_counter() - started,
                    }
                )
    results = pd.DataFrame(records)
    by_seed = results.groupby(["method", "seed"], sort=False)[["AUROC", "AP", "seconds"]].mean()
    table = by_seed.groupby("method", sort=False).mean()
    table.insert(1, "sd over seeds", by_seed["AUROC"].groupby("method", sort=False).std())
    return table.rename(columns={"seconds": "seconds a fit and score"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", action="store_true", help="also MNIST, one seed")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    print("\nDigits 8x8, five seeds")
    print(compare(digit_problems, range(5)).round(4).to_string())
    if arguments.mnist:
        print("\nMNIST, one seed")
        print(compare(mnist_problems, range(1)).round(4).to_string())


if __name__ == "__main__":
    main()
