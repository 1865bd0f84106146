"""What the ONNX file of a detector weighs, how exactly it agrees, and what a row takes.

    OMP_NUM_THREADS=1 python benchmarks/onnx_latency.py

Needs the extra ``onnx``. Python's ``score_samples`` and onnxruntime take turns on one thread;
medians of a run are compared. Times on one machine say nothing about another: read the ratios.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import torch
from numpy.typing import NDArray

from aedetect import AutoencoderTransformer, VAEDetector, datasets, to_onnx
from aedetect.estimators.base import BaseAutoencoder

BATCHES = (1, 7, 1000)
REPEATS = 30
DETECTORS: dict[str, BaseAutoencoder] = {
    "dense": AutoencoderTransformer(random_state=0),
    "residual": AutoencoderTransformer(network="residual", random_state=0),
    "VAE": VAEDetector(anomaly_score="elbo", random_state=0),
    "conv": AutoencoderTransformer(network="conv", image_shape=(1, 8, 8), random_state=0),
}


def medians(competitors: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of each; they take turns, so that a busy moment hits all."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(REPEATS):
        for name, run in competitors.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def single_threaded(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def measure(detector: BaseAutoencoder, X: NDArray, folder: Path) -> dict[str, float]:
    path = to_onnx(detector.fit(X), folder / "detector.onnx", dtype="float32")
    session = single_threaded(path)
    rows = np.resize(X, (1000, X.shape[1]))
    (scores,) = session.run(["score_samples"], {"X": rows})
    row = {
        "file (MB)": path.stat().st_size / 1e6,
        "difference": np.abs(scores / detector.score_samples(rows) - 1).max(),
    }
    for n_rows in BATCHES:
        part = rows[:n_rows]
        taken = medians(
            {
                "Python": lambda part=part: detector.score_samples(part),
                "ONNX": lambda part=part: session.run(["score_samples"], {"X": part}),
            }
        )
        row[f"us a row of {n_rows}"] = 1e6 * taken["ONNX"] / n_rows
        row[f"Python / ONNX, {n_rows}"] = taken["Python"] / taken["ONNX"]
    return row


def main() -> None:
    torch.set_num_threads(1)
    X, _ = datasets.load_digits()
    with tempfile.TemporaryDirectory() as folder:
        table = {name: measure(d, X, Path(folder)) for name, d in DETECTORS.items()}
    print(pd.DataFrame(table).T.to_string(float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
