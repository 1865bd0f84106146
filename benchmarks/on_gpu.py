"""The rows of ``speed.py gpu``: seconds on a GPU beside what is aimed at.

    python benchmarks/speed.py gpu                               # on CUDA
    python benchmarks/speed.py gpu --device cuda:0,cuda:1        # on two GPUs
    python benchmarks/speed.py gpu --device cpu --share 0.005    # that all of it runs

Images are random: what they show does not matter to their times.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import KFold, ParameterGrid

from aedetect import AutoencoderTransformer, DenoisingAutoencoder
from aedetect.estimators.memo import open_memo, rehearse, with_memo
from aedetect.model_selection import GridSearch, synthetic_auroc
from aedetect.training import train_together

TUTORIAL_C = {
    "latent_dim": 128,
    "network": "conv",
    "image_shape": (1, 28, 28),
    "downsample": "maxpool",
    "hidden_layer_sizes": (16, 32, 32),
    "batch_norm": True,
    "latent_activation": "sigmoid",
    "loss": "bce",
    "validation_fraction": 0,
    "anomaly_score": "reconstruction",
}
Row = tuple[str, float, str]  # what, seconds or a ratio, what is aimed at


class Bench:
    """All measurements on one device.

    Parameters
    ----------
    device : str or list of str
    share : float
        Of the rows and fits; below 1 the numbers say nothing.
    """

    def __init__(self, device: str | list[str], share: float) -> None:
        self.device, self.share = device, share
        self.on_cuda = "cuda" in str(device)
        self.rng = np.random.default_rng(0)

    def table(self) -> pd.DataFrame:
        rows = [
            row for part in (self.members, self.search, self.conv, self.images) for row in part()
        ]
        return pd.DataFrame(rows, columns=["", "measured", "aimed at"]).set_index("")

    def count(self, number: int, least: int = 1) -> int:
        return max(least, round(self.share * number))

    def seconds(self, run: Callable[[], object]) -> float:
        """Return the time of a second call, once the device is done."""
        for _ in range(2):
            self.wait()
            started = time.perf_counter()
            run()
            self.wait()
        return time.perf_counter() - started

    def wait(self) -> None:
        for number in range(torch.cuda.device_count() if self.on_cuda else 0):
            torch.cuda.synchronize(number)

    def pixels(self, n_rows: int) -> NDArray[np.float32]:
        return self.rng.random((n_rows, 784), dtype=np.float32)

    def correlated(self, n_rows: int = 2000) -> NDArray[np.float64]:
        return self.rng.normal(size=(self.count(n_rows, 80), 6)) @ self.rng.normal(size=(6, 20))

    def members(self) -> Iterator[Row]:
        """Yield the cost of eight members, training alone."""
        X, seconds = self.correlated(), {}
        for n_members in (1, 8):
            detector = AutoencoderTransformer(
                hidden_layer_sizes=(64, 32), n_members=n_members, device=self.device
            )
            epochs = [detector.fit(X).history_["seconds"].sum() for _ in range(3)]
            seconds[n_members] = float(np.median(epochs))
        yield "training of one network, s", seconds[1], ""
        yield "training of 8 members against one", seconds[8] / seconds[1], "1.3"

    def search(self) -> Iterator[Row]:
        """Yield the times of a search: of its networks, of all of it, and of lone networks.

        Each fold trains on 2,000 rows, of which a tenth is held out, for 35 epochs of 29 steps.
        """
        X = self.correlated(2667)
        grid = {
            "learning_rate": np.geomspace(1e-4, 1e-2, self.count(16)).tolist(),
            "noise_level": np.linspace(0.1, 0.8, self.count(8, 2)).tolist(),
        }
        detector = DenoisingAutoencoder(
            batch_size=64, max_epochs=self.count(35), random_state=0, device=self.device
        )
        folds = [rows for rows, _ in KFold(4).split(X)]
        tasks = [(candidate, X[rows]) for candidate in ParameterGrid(grid) for rows in folds]
        for _ in range(2):  # the first call starts the device
            with open_memo() as memo:
                estimator = with_memo(detector, memo)
                jobs = [rehearse(clone(estimator).set_params(**one), rows) for one, rows in tasks]
            self.wait()
            started = time.perf_counter()
            train_together([job for job in jobs if job is not None])
            self.wait()
            seconds = time.perf_counter() - started
        yield f"training of {len(jobs)} candidate-folds, 1,015 steps, s", seconds, "3 for 512"
        for n_jobs in (1, min(8, os.cpu_count() or 1)):
            search = GridSearch(
                detector, grid, cv=4, refit=False, scoring=synthetic_auroc(), n_jobs=n_jobs
            )
            seconds = self.seconds(lambda search=search: search.fit(X))
            yield f"all of their search, n_jobs={n_jobs}, s", seconds, "3 for 512"
        started = time.perf_counter()
        detector.fit(X[folds[0]])
        yield "one lone fit of them, s", time.perf_counter() - started, ""

    def conv(self) -> Iterator[Row]:
        """Yield the time of an epoch of tutorial C's network."""
        X = self.pixels(self.count(60_000, 64))
        for precision in ("float32", "tf32", "bf16") if self.on_cuda else ("float32",):
            for batch_size, aim in ((64, "0.35"), (512, "0.15")):
                detector = DenoisingAutoencoder(
                    **TUTORIAL_C,
                    batch_size=batch_size,
                    max_epochs=4,
                    precision=precision,
                    device=self.device,
                ).fit(X)
                seconds = float(np.median(detector.history_["seconds"][1:]))
                yield f"conv epoch, batch {batch_size}, {precision}, s", seconds, aim

    def images(self) -> Iterator[Row]:
        """Yield the times of ten one-class fits, and of scores."""
        classes = [self.pixels(self.count(6_000, 40)) for _ in range(10)]
        settings = {"image_shape": (1, 28, 28), "random_state": 0, "device": self.device}
        if self.share < 1:
            settings["max_epochs"] = 1
        started = time.perf_counter()
        for X in classes:
            detector = DenoisingAutoencoder(**settings).fit(X)
        self.wait()
        yield "ten one-class fits, s", time.perf_counter() - started, "8 (3 as one batch)"
        X = self.pixels(self.count(60_000, 64))
        yield "scores of 60,000 images, s", self.seconds(lambda: detector.score_samples(X)), "0.1"
        detector.set_params(anomaly_score="reconstruction").fit(classes[0])
        seconds = self.seconds(lambda: detector.score_samples(X))
        yield "their reconstruction errors, s", seconds, "0.1"
