"""How fast aedetect trains and scores, beside PyOD, skorch, plain PyTorch and the bare arithmetic.

    python benchmarks/speed.py                       # all rows
    python benchmarks/speed.py training scoring      # some rows
    OMP_NUM_THREADS=1 python benchmarks/speed.py     # on one thread

All competitors of a row get the same data, network, batches and epochs, take turns, and repeat;
medians are compared. Needs the extra ``bench``. Times on one machine say nothing about another:
read the ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import quality
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from on_gpu import Bench
from peers import Pass, bare_step, fit_plain, fit_pyod, logits_loss, make_skorch, pyod_layers
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from torch import nn

import aedetect
from aedetect import AutoencoderTransformer, DenoisingAutoencoder
from aedetect.estimators.base import BaseAutoencoder
from aedetect.model_selection import GridSearch, synthetic_auroc
from aedetect.networks import Autoencoder, Dropout
from aedetect.scoring import SCORES
from aedetect.training.dense import DenseStep

REPEATS = 3


def medians(competitors: dict[str, Pass], repeats: int = REPEATS) -> pd.Series:
    """Return the median seconds of each; they take turns, so that a busy minute hits all.

    A competitor that returns a float has timed itself.
    """
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for turn in range(repeats + 1):
        for name, run in competitors.items():
            started = time.perf_counter()
            own = run()
            if turn:  # the first turn warms up
                elapsed = own if isinstance(own, float) else time.perf_counter() - started
                seconds[name].append(elapsed)
    return pd.Series({name: float(np.median(values)) for name, values in seconds.items()})


def show(title: str, table: pd.DataFrame) -> None:
    print(f"\n{title}\n{table.round(2).to_string()}", flush=True)


def seconds_of_training(detector: BaseAutoencoder, X: NDArray) -> float:
    """Return what the epochs of a fit took, without checks, scaling and threshold."""
    return float(detector.fit(X).history_["seconds"].sum())


def normal_table(n_rows: int, n_features: int) -> NDArray[np.float64]:
    """Return correlated rows, so that there is something to learn."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(n_features // 4 + 1, n_features))
    rows = rng.normal(size=(n_rows, len(mixing))) @ mixing
    return rows + 0.1 * rng.normal(size=rows.shape)


def training() -> None:
    """PyOD's default network 784-64-32-64-784, batch norm, dropout 0.2; 10 epochs of 8,192 rows.

    Training alone, and, for what a user waits for, whole fits, which score the rows as well.
    """
    X = normal_table(8192, 784)
    X /= X.std()
    epochs = 10
    settings = {
        "max_epochs": epochs,
        "validation_fraction": 0,
        "scaling": "standard",
        "schedule": "constant",
        "anomaly_score": "reconstruction",  # as theirs
    }
    ours = Autoencoder(*pyod_layers(784, Dropout))
    theirs = nn.Sequential(*pyod_layers(784, nn.Dropout))
    rows = {}
    for batch_size in (32, 256, 1024):
        common = {"batch_size": batch_size, "epochs": epochs}
        step = bare_step(theirs, torch.from_numpy(X[:batch_size].astype(np.float32)))
        net = make_skorch(theirs, loss=nn.MSELoss, **common)
        x32 = X.astype(np.float32)
        mse = {**common, "loss": F.mse_loss}
        detector = AutoencoderTransformer(
            network=ours, batch_size=batch_size, random_state=0, device="cpu", **settings
        )
        seconds = medians(
            {
                "aedetect": lambda detector=detector: seconds_of_training(detector, X),
                "PyOD": lambda common=common: fit_pyod(X, score=False, **common),
                "skorch": lambda net=net, x=x32: net.fit(x, x),
                "plain": lambda mse=mse: fit_plain(theirs, X, fused=False, **mse),
                "plain fused": lambda mse=mse: fit_plain(theirs, X, fused=True, **mse),
                "floor": lambda step=step, size=batch_size: [
                    step() for _ in range(epochs * len(X) // size)
                ],
            }
        )
        row = seconds / seconds["aedetect"]
        fits = medians(
            {
                "aedetect": lambda detector=detector: detector.fit(X),
                "PyOD": lambda common=common: fit_pyod(X, **common),
            }
        )
        row["whole fit, PyOD"] = fits["PyOD"] / fits["aedetect"]
        rows[f"batch {batch_size}"] = row
    show("Training: seconds against ours (floor: the bare matrix products)", pd.DataFrame(rows).T)


def step() -> None:
    """What writing out the backward pass gains: our defaults on tables, training alone."""
    rows = {}
    for n_features in (10, 40, 200):
        X = normal_table(4096, n_features)
        for batch_size in (32, 256):
            detector = AutoencoderTransformer(
                batch_size=batch_size, max_epochs=5, validation_fraction=0, device="cpu"
            )
            network = detector.fit(X).network_
            bare = bare_step(network, torch.zeros(batch_size, n_features))

            def autograd(detector: AutoencoderTransformer = detector, X: NDArray = X) -> float:
                with mock.patch.object(DenseStep, "accepts", return_value=False):
                    return seconds_of_training(detector, X)

            common = {"batch_size": batch_size, "epochs": 5, "loss": F.mse_loss, "fused": True}
            seconds = medians(
                {
                    "aedetect": lambda detector=detector, X=X: seconds_of_training(detector, X),
                    "with autograd": autograd,
                    "plain fused": lambda n=network, X=X, c=common: fit_plain(n, X, **c),
                    "floor": lambda bare=bare, size=batch_size: [
                        bare() for _ in range(5 * 4096 // size)
                    ],
                }
            )
            rows[f"{n_features} columns, batch {batch_size}"] = seconds / seconds["aedetect"]
    show("The written-out step: seconds against ours", pd.DataFrame(rows).T)


def conv() -> None:
    """The tutorials' batch-norm conv network, 440,865 parameters; 2 epochs of 1,024 images."""
    X = np.random.default_rng(0).random((1024, 784), dtype=np.float32)
    settings = {
        "network": "conv",
        "image_shape": (1, 28, 28),
        "downsample": "maxpool",
        "hidden_layer_sizes": (16, 32, 32),
        "batch_norm": True,
        "latent_activation": "sigmoid",
        "loss": "bce",
        "validation_fraction": 0,
        "device": "cpu",
    }
    network = AutoencoderTransformer(128, max_epochs=1, **settings).fit(X[:64]).network_
    rows = {}
    for batch_size in (64, 256):
        common = {"batch_size": batch_size, "epochs": 2}
        step = bare_step(network, torch.from_numpy(X[:batch_size]))
        net = make_skorch(network, loss=nn.BCEWithLogitsLoss, **common)
        plain = {**common, "loss": logits_loss, "fused": True}
        seconds = medians(
            {
                "aedetect": lambda size=batch_size: seconds_of_training(
                    AutoencoderTransformer(128, batch_size=size, max_epochs=2, **settings), X
                ),
                "skorch": lambda net=net: net.fit(X, X),
                "plain fused": lambda plain=plain: fit_plain(network, X, **plain),
                "floor": lambda step=step, size=batch_size: [
                    step() for _ in range(2 * len(X) // size)
                ],
            }
        )
        rows[f"batch {batch_size}"] = seconds / seconds["aedetect"]
    show("Conv training: seconds against ours (floor: the bare convolutions)", pd.DataFrame(rows).T)


def scoring() -> None:
    """Score many rows, and one."""
    rows = {}
    for n_rows, n_features in ((10_000, 40), (1_000_000, 40), (10_000, 784), (1, 40), (1, 784)):
        X = normal_table(max(n_rows, 2000), n_features)
        ours = AutoencoderTransformer(
            32,
            hidden_layer_sizes=(64,),
            latent_activation="relu",
            batch_norm=True,
            dropout=0.2,
            max_epochs=1,
            anomaly_score="reconstruction",  # as theirs
            device="cpu",
        ).fit(X[:2000])
        theirs = fit_pyod(X[:2000], batch_size=32, epochs=1)
        network = theirs.model.eval()
        X = X[:n_rows]
        times = 200 if n_rows == 1 else 1

        @torch.inference_mode()
        def plain(X: NDArray = X, network: nn.Module = network) -> NDArray:
            x = torch.from_numpy(X.astype(np.float32))
            return (network(x) - x).square().sum(dim=1).numpy()

        competitors: dict[str, Callable] = {
            "aedetect": ours.score_samples,
            "PyOD": theirs.decision_function,
            "plain": lambda X, plain=plain: plain(X),
        }
        seconds = medians(
            {
                name: lambda score=score, X=X, times=times: [score(X) for _ in range(times)]
                for name, score in competitors.items()
            }
        )
        row = seconds / seconds["aedetect"]
        row["our microseconds a row"] = 1e6 * seconds["aedetect"] / (n_rows * times)
        rows[f"{n_rows} x {n_features}"] = row
    show("Scoring: seconds against ours", pd.DataFrame(rows).T)


def scores() -> None:
    """What each anomaly score costs beside the reconstruction error, 20,000 x 20."""
    X, new = np.split(normal_table(24_000, 20), [4000])
    detectors = {
        name: AutoencoderTransformer(max_epochs=1, anomaly_score=name, device="cpu").fit(X)
        for name, score in SCORES.items()
        if not score.needs_variational
    }
    seconds = medians({name: lambda d=d: d.score_samples(new) for name, d in detectors.items()})
    show(
        "Scores: seconds against the reconstruction error's",
        (seconds / seconds["reconstruction"]).to_frame("ratio").T,
    )


def defaults() -> None:
    """Fit and score with defaults: ours, PyOD's autoencoder and an isolation forest."""
    from pyod.models.auto_encoder import AutoEncoder as PyODAutoEncoder

    fits, scored = {}, {}
    for n_rows in (10_000, 40_000):
        # The scores of rows that were trained on are looked up, so others are scored.
        X, new = np.split(normal_table(2 * n_rows, 30), 2)
        makers: dict[str, Callable[[], Any]] = {
            "aedetect": lambda: DenoisingAutoencoder(random_state=0, device="cpu"),
            "PyOD": lambda: PyODAutoEncoder(random_state=0, verbose=0),
            "IsolationForest": lambda: IsolationForest(random_state=0),
        }
        fitted = {name: make().fit(X) for name, make in makers.items()}
        seconds = medians({n: lambda make=make, X=X: make().fit(X) for n, make in makers.items()})
        fits[f"{n_rows} x 30"] = seconds / seconds["aedetect"]
        seconds = medians(
            {n: lambda d=d, new=new: d.decision_function(new) for n, d in fitted.items()}
        )
        scored[f"{n_rows} x 30"] = seconds / seconds["aedetect"]
        scored[f"{n_rows} x 30"]["our rows a second"] = n_rows / seconds["aedetect"]
    show("Fits with defaults: seconds against ours", pd.DataFrame(fits).T)
    show("Scoring with defaults: seconds against ours", pd.DataFrame(scored).T)


class Clock:
    """A callback that notes the AUROC at the end of every epoch."""

    def __init__(self, X: NDArray, anomalous: NDArray) -> None:
        self.X, self.anomalous = X, anomalous
        self.aurocs: list[float] = []

    def setup(self, estimator, context) -> None: ...

    def on_fit_task_begin(self, estimator, context) -> None: ...

    def on_fit_task_end(self, estimator, context, *, fitted_estimator) -> None:
        if context.task_name == "epoch":
            scores = fitted_estimator.score_samples(self.X)
            self.aurocs.append(roc_auc_score(self.anomalous, -scores))

    def teardown(self, estimator, context) -> None: ...


def time_to_auroc() -> None:
    """Seconds until our default has the AUROC that PyOD's default ends with."""
    rows = {}
    for name, problems in (("MNIST one-class", quality.one_class), ("ADBench", quality.semi)):
        theirs = ours = 0.0
        reached = n_problems = 0
        for problem in problems(seed=0):
            started = time.perf_counter()
            peer = fit_pyod(problem.X, batch_size=32, epochs=10)  # its defaults
            theirs += time.perf_counter() - started
            goal = roc_auc_score(problem.anomalous, peer.decision_function(problem.X_test))
            clock = Clock(problem.X_test, problem.anomalous)
            detector = DenoisingAutoencoder(image_shape=problem.image_shape, random_state=0)
            clone(detector).set_callbacks(clock).fit(problem.X)
            enough = np.flatnonzero(np.array(clock.aurocs) >= goal)
            n_epochs = int(enough[0]) + 1 if len(enough) else len(clock.aurocs)
            started = time.perf_counter()
            detector.set_params(max_epochs=n_epochs).fit(problem.X)
            ours += time.perf_counter() - started
            reached += bool(len(enough))
            n_problems += 1
        rows[name] = {"PyOD / ours": theirs / ours, "reached": f"{reached} of {n_problems}"}
    show(
        "Time to PyOD's AUROC (where ours never has it, all our epochs count)", pd.DataFrame(rows).T
    )


def growth() -> None:
    """Time and memory by rows and by columns, each in a process of its own; 2 epochs."""
    rows = {}
    for n_rows, n_features in (
        *((n, 20) for n in (1_000, 10_000, 100_000, 1_000_000)),
        *((2_000, m) for m in (10, 100, 1_000, 2_000)),
    ):
        command = [sys.executable, __file__, "--measure", str(n_rows), str(n_features)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds, data, fit, score = (float(word) for word in output.split())
        rows[f"{n_rows} x {n_features}"] = {
            "fit, microseconds a row": 1e6 * seconds / n_rows,
            "data, MB": data,
            "fit adds, MB": fit,
            "scoring adds, MB": score,
        }
    table = pd.DataFrame(rows).T
    show("Growth", table)
    by_rows = table.iloc[1:4]
    total = np.log(by_rows.iloc[:, 0] * [1e4, 1e5, 1e6])
    slope = np.polyfit(np.log([1e4, 1e5, 1e6]), total, 1)[0]
    print(f"log-log slope of the time in rows, from 10,000: {slope:.2f}")


def measure(n_rows: int, n_features: int) -> None:
    """Print the seconds of a fit and the peak memory in MB: data, added by fit, by scoring."""

    def peak() -> float:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    AutoencoderTransformer(max_epochs=1, device="cpu").fit(np.random.rand(100, n_features))  # noqa: NPY002
    X = np.random.default_rng(0).normal(size=(n_rows, n_features))
    before = peak()
    started = time.perf_counter()
    detector = AutoencoderTransformer(
        max_epochs=2,
        batch_size=256,
        validation_fraction=0,
        anomaly_score="reconstruction",
        device="cpu",
        random_state=0,
    ).fit(X)
    seconds = time.perf_counter() - started
    fitted = peak()
    detector.score_samples(X)
    print(seconds, X.nbytes / 2**20, fitted - before, peak() - fitted)


def ensemble() -> None:
    """The cost of a member, against that of a network alone; batch 256."""
    rows = {}
    for sizes in ((64, 32), (256, 64)):
        for n_features in (10, 64):
            X = normal_table(8192, n_features)
            seconds = medians(
                {
                    str(n): lambda n=n, X=X, sizes=sizes: AutoencoderTransformer(
                        16 if X.shape[1] > 16 else 4,
                        hidden_layer_sizes=sizes,
                        n_members=n,
                        batch_size=256,
                        max_epochs=5,
                        anomaly_score="reconstruction",
                        device="cpu",
                    ).fit(X)
                    for n in (1, 4, 16)
                }
            )
            each = seconds / seconds.index.astype(int)
            rows[f"{n_features} columns, {sizes}"] = each / each["1"]
    show("Ensembles: the cost of one of 1, 4 and 16 members", pd.DataFrame(rows).T)


def grid() -> None:
    """GridSearchCV over 12 candidates and 3 folds; 2,000 x 20, 5 epochs, batch 64."""
    from pyod.models.auto_encoder import AutoEncoder

    X = normal_table(2000, 20)
    X /= X.std()
    x32 = X.astype(np.float32)
    rates = [1e-4, 3e-4, 1e-3, 3e-3]
    decays = [0.0, 1e-5, 1e-4]
    ours = AutoencoderTransformer(
        network=Autoencoder(*pyod_layers(20, Dropout)),
        batch_size=64,
        max_epochs=5,
        validation_fraction=0,
        anomaly_score="reconstruction",  # as theirs
        device="cpu",
    )
    theirs = AutoEncoder(batch_size=64, epoch_num=5, verbose=0)
    net = make_skorch(
        nn.Sequential(*pyod_layers(20, nn.Dropout)), loss=nn.MSELoss, batch_size=64, epochs=5
    )
    penalties = [{"weight_decay": decay} for decay in decays]
    seconds = medians(
        {
            "aedetect": lambda: GridSearchCV(
                ours, {"learning_rate": rates, "weight_decay": decays}, cv=3
            ).fit(X),
            "PyOD": lambda: GridSearchCV(
                theirs,
                {"lr": rates, "optimizer_params": penalties},
                cv=3,
                scoring=lambda detector, X, y=None: -detector.decision_function(X).mean(),
            ).fit(X),
            "skorch": lambda: GridSearchCV(
                net,
                {"lr": rates, "optimizer__weight_decay": decays},
                cv=3,
                scoring="neg_mean_squared_error",
            ).fit(x32, x32),
        }
    )
    show("GridSearchCV: seconds against ours", (seconds / seconds["aedetect"]).to_frame("ratio").T)


def seconds_of_searches(detector: DenoisingAutoencoder, grid: dict, X: NDArray) -> pd.Series:
    """Return the seconds of both searches with one and with two processes."""
    options = {"cv": 3, "refit": False, "scoring": synthetic_auroc()}
    competitors = {
        f"{kind.__name__} n_jobs={n_jobs}": kind(detector, grid, n_jobs=n_jobs, **options)
        for kind in (GridSearchCV, GridSearch)
        for n_jobs in (1, 2)
    }
    runs = {name: lambda one=one: one.fit(X) for name, one in competitors.items()}
    return medians(runs, repeats=1)


def search() -> None:
    """GridSearch beside GridSearchCV, each with the better of one and two processes."""
    X = normal_table(2000, 20)
    few = {"learning_rate": [5e-4, 1e-3, 2e-3, 4e-3], "weight_decay": [0.0, 1e-5, 1e-4]}
    many = {**few, "noise_level": [0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5]}  # 84 candidates
    for title, settings, grid in (
        ("36 default fits", {}, few),
        ("252 fits of (64, 32)", {"hidden_layer_sizes": (64, 32)}, many),
    ):
        detector = DenoisingAutoencoder(random_state=0, device="cpu", **settings)
        seconds = seconds_of_searches(detector, grid, X)
        is_theirs = seconds.index.str.contains("CV")
        ratio = seconds[is_theirs].min() / seconds[~is_theirs].min()
        show(f"Search, {title}: GridSearch is {ratio:.2f} times as fast", seconds.to_frame("s").T)
    sizes = {"hidden_layer_sizes": (64, 32), "anomaly_score": "reconstruction", "device": "cpu"}
    members = {
        str(n): lambda n=n: seconds_of_training(AutoencoderTransformer(n_members=n, **sizes), X)
        for n in (1, 8)
    }
    seconds = medians(members)
    show("Training of 8 members against one", (seconds / seconds["1"]).to_frame("ratio").T)


def gpu(device: str = "cuda", share: float = 1.0) -> None:
    """On a GPU, or several: members, a search, the conv denoiser, one-class fits and scores."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("\nGPU: there is none here")
        return
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    names = device.split(",")
    bench = Bench(names if len(names) > 1 else device, share)
    show(f"On {len(names)} x {name}, {share:g} of the rows", bench.table())


ROWS = {
    row.__name__: row
    for row in (
        *(training, step, conv, scoring, scores),
        *(defaults, time_to_auroc, growth, ensemble, grid, search, gpu),
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "rows",
        nargs="*",
        choices=[*ROWS, []],  # argparse looks for the list of none, too
        metavar="ROW",
        help=f"{', '.join(ROWS)}; default: all",
    )
    parser.add_argument(
        "--device", default="cuda", help="of the row gpu, or several: cuda:0,cuda:1; default: cuda"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the data of the row gpu")
    parser.add_argument("--measure", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    print(
        f"aedetect {aedetect.__version__}, PyTorch {torch.__version__}, {platform.machine()},"
        f" {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )
    for name in options.rows or ROWS:
        started = time.perf_counter()
        if name == "gpu":
            gpu(options.device, options.share)
        else:
            ROWS[name]()
        print(f"({name}: {time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
