"""Scores by the workers of Ray and Dask, one of which is killed, beside those of one process.

    OMP_NUM_THREADS=1 python benchmarks/engines.py --rows 5_000_000

Needs the extras ``parquet``, ``ray`` and ``dask``. The rate of an engine is that after its start:
from the first part of the rows that is scored to the last. It is compared with as many plain
processes as there are workers, side by side, before and after the engine: on an idle machine that
is the rate of one process times the number of processors, and on a busy one it is as fair.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from aedetect import DenoisingAutoencoder, open_rows
from aedetect.rows import Rows, score_parts
from aedetect.rows.scoring import PartScorer
from aedetect.scale.engines import ENGINES

N_COLUMNS = 40
CHUNK = 100_000  # rows
N_PARTS = 3  # that a plain process scores
DIES_AT = 3  # call of the worker that is killed


class Deadly:
    """Scores as another model does, but kills the first process that comes to its third call."""

    def __init__(self, model: Any, folder: str) -> None:
        self.model, self.offset_ = model, model.offset_
        self.spared, self.folder, self.n_calls = os.getpid(), Path(folder), 0

    def score_samples(self, X: Any) -> Any:
        self.n_calls += 1
        if os.getpid() != self.spared and self.n_calls == DIES_AT:
            try:
                (self.folder / "killed").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
            except FileExistsError:
                pass
        return self.model.score_samples(X)


@contextmanager
def cluster(engine: str, n_workers: int) -> Iterator[None]:
    """Run an engine with so many workers."""
    if engine == "ray":
        import ray

        ray.init(num_cpus=n_workers, include_dashboard=False, object_store_memory=250_000_000)
        yield
        ray.shutdown()
    else:
        from distributed import Client

        with Client(n_workers=n_workers, threads_per_worker=1, dashboard_address=None):
            yield


def rate_of_processes(model: Any, rows: Rows, n_processes: int) -> float:
    """Return the rows a second of plain processes that score side by side, all together."""
    with multiprocessing.get_context("fork").Pool(n_processes) as pool:
        tasks = [(model, rows)] * n_processes
        return sum(pool.starmap(rate_alone, tasks, chunksize=1))


def rate_alone(model: Any, rows: Rows) -> float:
    score = PartScorer(model, rows, CHUNK)
    score(0)  # loads what is loaded once
    started = time.perf_counter()
    for number in range(N_PARTS):
        score(number * CHUNK)
    return N_PARTS * CHUNK / (time.perf_counter() - started)


def measure(engine: str, model: Any, rows: Rows, n_workers: int) -> dict[str, float]:
    """Return the seconds of the start, and the rate behind it."""
    times: list[float] = []

    def timed(task: Callable[[int], Any], firsts: Any) -> Iterator[tuple[int, Any]]:
        for result in ENGINES[engine](task, firsts):
            times.append(time.perf_counter())
            yield result

    with tempfile.TemporaryDirectory() as folder, cluster(engine, n_workers):
        started = time.perf_counter()
        deadly = Deadly(model, folder)
        path = score_parts(deadly, rows, Path(folder) / "x.parquet", resume=True, compute=timed)
        assert (Path(folder) / "killed").exists()
        assert (pd.read_parquet(path)["row"] == np.arange(len(rows))).all()
    n_rows = len(rows) * (1 - 1 / len(times))  # without those of the first part
    return {"start": times[0] - started, "rate": n_rows / (times[-1] - times[0])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--engines", nargs="+", choices=("ray", "dask"), default=["ray", "dask"])
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    planes = rng.normal(size=(4, N_COLUMNS))

    def chunks() -> Iterator[Any]:
        own = np.random.default_rng(1)
        for first in range(0, options.rows, CHUNK):
            shape = min(CHUNK, options.rows - first)
            yield own.normal(size=(shape, 4)) @ planes + 0.1 * own.normal(size=(shape, N_COLUMNS))

    n_workers = joblib.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        rows = open_rows(chunks, cache=folder)
        model = DenoisingAutoencoder(random_state=0, max_epochs=3).fit(rows[:100_000])
        print(f"{len(rows):,} rows of {N_COLUMNS} columns, {n_workers} workers, one is killed")
        alone = [rate_of_processes(model, rows, n_workers)]
        for engine in options.engines:
            result = measure(engine, model, rows, n_workers)
            alone.append(rate_of_processes(model, rows, n_workers))
            own = statistics.mean(alone[-2:])
            share = result["rate"] / own
            print(
                f"{engine}: start {result['start']:.0f} s, then {result['rate']:,.0f} rows/s;"
                f" {n_workers} plain processes {own:,.0f} rows/s; ratio {share:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
