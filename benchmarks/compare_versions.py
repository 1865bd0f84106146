"""Scores of 14 configurations, kept in a file or compared with those of another version.

``python benchmarks/compare_versions.py keep scores.npz`` with the one version,
``python benchmarks/compare_versions.py compare scores.npz`` with the other.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from same_bits import CASES


def answers(case: str) -> dict[str, np.ndarray]:
    n_features, estimator = CASES[case]
    rng = np.random.RandomState(0)
    X = rng.rand(330, n_features)
    if estimator.missing == "mask":
        X[rng.rand(*X.shape) < 0.2] = np.nan
        X[:, 0] = rng.rand(len(X))
    estimator.set_params(max_epochs=3, random_state=0).fit(X[:200])
    few = X[195:205]
    return {
        "scores": estimator.score_samples(X),
        "offset": np.array([estimator.offset_]),
        "codes": estimator.transform(X),
        "rows": estimator.reconstruct(X),
        "explained": estimator.explain(few),
        "repaired": estimator.repair(few) if n_features < 100 else few,
    }


if __name__ == "__main__":
    action, path = sys.argv[1:]
    found = {f"{c}/{k}": v for c in CASES for k, v in answers(c).items()}
    if action == "keep":
        np.savez(path, **found)
        sys.exit()
    kept = np.load(path)
    for name, values in found.items():
        before = kept[name]
        scale = np.maximum(np.abs(before), 1e-3 * np.nanmax(np.abs(before)))
        worst = np.nanmax(np.abs(values - before) / scale)
        sys.stdout.write(f"{name:40} {worst:.1e}{' <<<' if worst > 1e-6 else ''}\n")
