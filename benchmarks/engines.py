"""Scores by the workers of Ray and Dask, one of which is killed, beside those of one process.

    OMP_NUM_THREADS=1 python benchmarks/engines.py --rows 5_000_000

Needs the extras ``parquet``, ``ray`` and ``dask``. Behind the start, which is over with the first
part of the rows, an engine is as fast as its workers are busy with scores, and as these take no
more of the processor than in this process. Both shares are printed: on a machine that does other
work, the clock tells little. Their product is the share of the goal that is reached.
"""

from __future__ import annotations

import argparse
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
from aedetect.scale.engines import ENGINES, WORKERS_OF_DASK

N_COLUMNS = 40
CHUNK = 100_000  # rows
N_PARTS = 5  # that this process scores
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
        import dask
        from distributed import Client

        dask.config.set(WORKERS_OF_DASK)
        with Client(n_workers=n_workers, threads_per_worker=1, dashboard_address=None):
            yield


class Timed:
    """Returns the result of a call, its seconds, and those of the processor."""

    def __init__(self, task: Callable[[int], Any]) -> None:
        self._task = task

    def __call__(self, first: int) -> tuple[Any, float, float]:
        clock, processor = time.perf_counter(), time.process_time()
        result = self._task(first)
        return result, time.perf_counter() - clock, time.process_time() - processor


def measure(engine: str, model: Any, rows: Rows, n_workers: int) -> dict[str, float]:
    """Return seconds of the start, and what workers did behind it."""
    ends, clocks, processors = [], [], []

    def timed(task: Callable[[int], Any], firsts: Any) -> Iterator[tuple[int, Any]]:
        for first, (result, clock, processor) in ENGINES[engine](Timed(task), firsts):
            ends.append(time.perf_counter())
            clocks.append(clock)
            processors.append(processor)
            yield first, result

    with tempfile.TemporaryDirectory() as folder, cluster(engine, n_workers):
        started = time.perf_counter()
        deadly = Deadly(model, folder)
        path = score_parts(
            deadly, rows, Path(folder) / "x.parquet", resume=True, first_row=0, compute=timed
        )
        assert (Path(folder) / "killed").exists()
        assert (pd.read_parquet(path)["row"] == np.arange(len(rows))).all()
    seconds = ends[-1] - ends[0]
    return {
        "start": ends[0] - started,
        "rate": len(rows) * (1 - 1 / len(ends)) / seconds,
        "busy": sum(clocks[1:]) / (n_workers * seconds),
        "processor": statistics.median(processors) * len(ends) / len(rows),
    }


def processor_alone(model: Any, rows: Rows) -> float:
    """Return the median of the processor's seconds a row in this process."""
    score = Timed(PartScorer(model, rows, CHUNK))
    return statistics.median(score(number * CHUNK)[2] for number in range(N_PARTS)) / CHUNK


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
        alone = [processor_alone(model, rows)]
        for engine in options.engines:
            result = measure(engine, model, rows, n_workers)
            alone.append(processor_alone(model, rows))
            own = statistics.mean(alone[-2:])
            shares = result["busy"], own / result["processor"]
            print(
                f"{engine}: start {result['start']:.0f} s, then {result['rate']:,.0f} rows/s; busy"
                f" {shares[0]:.2f}, rows a second of the processor {shares[1]:.2f} of those of this"
                f" process ({1 / own:,.0f}); product {shares[0] * shares[1]:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
