"""The rows of ``speed.py gpu``: seconds on a GPU beside what is aimed at.

    python benchmarks/speed.py gpu                               # on CUDA
    python benchmarks/speed.py gpu --device cpu --share 0.005    # that all of it runs

Images are random: what they show does not matter to their times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from aedetect import AutoencoderTransformer, DenoisingAutoencoder
from aedetect.model_selection import GridSearch, synthetic_auroc

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
    device : str
    share : float
        Of the rows and fits; below 1 the numbers say nothing.
    """

    def __init__(self, device: str, share: float) -> None:
        self.device, self.share = device, share
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
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()

    def pixels(self, n_rows: int) -> NDArray[np.float32]:
        return self.rng.random((n_rows, 784), dtype=np.float32)

    def correlated(self) -> NDArray[np.float64]:
        return self.rng.normal(size=(self.count(2000, 60), 6)) @ self.rng.normal(size=(6, 20))

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
        """Yield the time of a search; networks of a GPU are trained one after the other."""
        X, n_candidates = self.correlated(), self.count(16)
        grid = {"learning_rate": np.geomspace(1e-4, 1e-2, n_candidates).tolist()}
        detector = DenoisingAutoencoder(random_state=0, device=self.device)
        search = GridSearch(detector, grid, cv=4, refit=False, scoring=synthetic_auroc())
        seconds = self.seconds(lambda: search.fit(X))
        n_fits = 4 * n_candidates
        yield f"search of {n_fits} candidate-folds, s", seconds, ""
        yield "512 candidate-folds at that rate, s", 512 * seconds / n_fits, "3"

    def conv(self) -> Iterator[Row]:
        """Yield the time of an epoch of tutorial C's network."""
        X = self.pixels(self.count(60_000, 64))
        for precision in ("float32", "tf32", "bf16") if self.device != "cpu" else ("float32",):
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
        yield "ten one-class fits, s", time.perf_counter() - started, "8"
        X = self.pixels(self.count(60_000, 64))
        yield "scores of 60,000 images, s", self.seconds(lambda: detector.score_samples(X)), "0.1"
        detector.set_params(anomaly_score="reconstruction").fit(classes[0])
        seconds = self.seconds(lambda: detector.score_samples(X))
        yield "their reconstruction errors, s", seconds, "0.1"
