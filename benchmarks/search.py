"""What searches without labels are worth: AUROC of their picks, less that of the defaults.

    python benchmarks/search.py                      # the ADBench tables in AEDETECT_DATA
    python benchmarks/search.py --tables wine WBC    # some of them
    python benchmarks/search.py --max-rows 500       # a shorter run

All rows of a table train, anomalies among them, and no label is used: the contaminated protocol of
``quality.py``. A search compares candidates on two folds by

- held-out: ``score``, the mean score of held-out rows, as scikit-learn does with ``scoring=None``;
- box: ``synthetic_auroc(kind="box")``;
- labels: the AUROC by true labels, which shows how much there was to gain.

Its pick and the default estimator are then fitted to all rows, and their AUROC is compared.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aedetect import DenoisingAutoencoder
from aedetect.model_selection import GridSearch, synthetic_auroc

NETWORKS = {
    "latent_dim": [2, 8],
    "hidden_layer_sizes": [(32,), (128, 32)],
    "noise_level": [0.1, 0.5],
}
SCORES = ["robust", "sharp", "relative", "standardized", "reconstruction", "neighbors", "sap"]
SEARCHES: dict[str, tuple[dict[str, Any], dict[str, list]]] = {
    "networks, default score": ({}, NETWORKS),
    "networks, reconstruction error": ({"anomaly_score": "reconstruction"}, NETWORKS),
    "scores, default network": ({}, {"anomaly_score": SCORES}),
}
SCORINGS = ("held-out", "box", "labels")


def mean_score(detector: DenoisingAutoencoder, X: NDArray, y: NDArray) -> float:
    return detector.score(X)


SCORERS = {"held-out": mean_score, "box": synthetic_auroc("box"), "labels": "roc_auc"}


def gains(X: NDArray, y: NDArray, name: str, n_jobs: int | None) -> dict[str, float]:
    """Return the AUROC of the pick by each scoring less that of the default, for one search."""
    settings, grid = SEARCHES[name]
    detector = DenoisingAutoencoder(random_state=0, **settings)
    options = {"refit": False, "n_jobs": n_jobs}
    search = GridSearch(detector, grid, scoring=SCORERS, cv=2, **options).fit(X, y)
    # The default, then all candidates of the grid, fitted to all rows.
    everything = [(np.arange(len(X)),) * 2]
    final = GridSearch(detector, [{}, grid], scoring="roc_auc", cv=everything, **options).fit(X, y)
    default, *aurocs = final.cv_results_["mean_test_score"]
    picks = {key: search.cv_results_[f"rank_test_{key}"].argmin() for key in SCORINGS}
    return {key: aurocs[pick] - default for key, pick in picks.items()}


def load(path: Path, max_rows: int) -> tuple[NDArray, NDArray]:
    """Return at most so many rows of a table, and +1 for normal ones and -1 for anomalies."""
    with np.load(path, allow_pickle=False) as file:
        X, is_anomaly = file["X"].astype(float), file["y"].ravel() == 1
    chosen = np.random.RandomState(0).permutation(len(X))[:max_rows]
    return X[chosen], np.where(is_anomaly[chosen], -1, 1)


def report(results: pd.DataFrame) -> None:
    """Print means over tables, with standard errors, and how many tables gain and lose."""
    groups = results.groupby("search", sort=False)[list(SCORINGS)]
    print("\nMean gain over the defaults, AUROC\n" + groups.mean().round(3).to_string())
    print("\nStandard error\n" + groups.sem().round(3).to_string())
    for word, sign in (("better", 1), ("worse", -1)):
        count = groups.agg(lambda gain, sign=sign: int((sign * gain > 0.001).sum()))
        print(f"\nTables on which the pick is {word} by more than 0.001\n{count.to_string()}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", nargs="*", help="a part of the names of files")
    parser.add_argument("--max-rows", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=None)
    arguments = parser.parse_args()
    folder = Path(os.environ.get("AEDETECT_DATA", "data")) / "adbench"
    rows = []
    for path in sorted(folder.glob("*.npz")):
        if arguments.tables and not any(part in path.stem for part in arguments.tables):
            continue
        X, y = load(path, arguments.max_rows)
        if (y == -1).sum() < 4:
            continue  # too few for an AUROC on each fold
        for name in SEARCHES:
            row = {"table": path.stem, "search": name, **gains(X, y, name, arguments.jobs)}
            print(" ".join(f"{v:.3f}" if isinstance(v, float) else v for v in row.values()))
            rows.append(row)
    report(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
