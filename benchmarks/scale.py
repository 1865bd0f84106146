"""Rows larger than memory: peak of memory, rows a second, and rows that are sorted.

    OMP_NUM_THREADS=1 python benchmarks/scale.py --rows 50_000_000 --memory 256MB --limit 900

Needs the extra ``parquet``. A parquet file of 40 float32 columns is written to a temporary folder,
sorted by cluster; 50 million rows take 8 GB, and the cache as much again. Every task runs in a
process of its own. ``--limit`` is the RLIMIT_DATA in MB, of which the imports take about 400.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

N_COLUMNS = 40
N_CLUSTERS = 64
N_NEW = 20_000  # rows of each kind that the AUROC is taken of
HANGS = 300  # seconds after which a task that runs out of memory is given up
CHUNK = 100_000  # rows that are written at a time


# Data.


def make_chunk(clusters: NDArray[np.intp], seed: int, *, odd: bool = False) -> NDArray[np.float32]:
    """Return a row of each of some clusters, which lie in planes of three dimensions.

    An odd row is a normal one half of whose columns come from another row.
    """
    shared, rng = np.random.default_rng(0), np.random.default_rng(seed)
    centres = 2 * shared.normal(size=(N_CLUSTERS, N_COLUMNS))
    planes = shared.normal(size=(N_CLUSTERS, 3, N_COLUMNS)).astype(np.float32)
    codes = rng.normal(size=(len(clusters), 1, 3)).astype(np.float32)
    rows = (codes @ planes[clusters])[:, 0] + centres[clusters]
    rows += 0.3 * rng.normal(size=rows.shape)
    if odd:
        half = rng.permuted(np.tile(np.arange(N_COLUMNS) < N_COLUMNS // 2, (len(rows), 1)), axis=1)
        rows = np.where(half, rows, rows[rng.permutation(len(rows))])
    return rows.astype(np.float32)


def write_tables(folder: Path, n_rows: int, *, shuffled: bool) -> None:
    """Write a table of sorted rows, the same rows shuffled, and a CSV file of some of them."""
    from pyarrow.parquet import ParquetWriter

    clusters = np.arange(n_rows) * N_CLUSTERS // n_rows
    orders = {"sorted": np.arange(n_rows)}
    if shuffled:
        orders["shuffled"] = np.random.default_rng(1).permutation(n_rows)
    for name, order in orders.items():
        writer = None
        for first in range(0, n_rows, CHUNK):
            table = as_table(make_chunk(clusters[order[first : first + CHUNK]], first))
            writer = writer or ParquetWriter(
                folder / f"{name}.parquet", table.schema, compression="none", use_dictionary=False
            )
            writer.write_table(table)
        writer.close()
    few = pd.DataFrame(make_chunk(clusters[:CHUNK], 0)).add_prefix("c")
    few.to_csv(folder / "some.csv", index=False, float_format="%.5g")


def as_table(rows: NDArray[np.float32]) -> Any:
    import pyarrow as pa

    return pa.table({f"c{number}": rows[:, number] for number in range(N_COLUMNS)})


# Tasks, each in a process of its own.


def estimator(**options: Any) -> Any:
    from aedetect import DenoisingAutoencoder

    return DenoisingAutoencoder(random_state=0, **options)


def fit_and_score(path: Path, memory: str, epochs: int) -> dict[str, Any]:
    """Open, fit and score the whole file."""
    from pyarrow.parquet import ParquetFile

    from aedetect import open_rows
    from aedetect.rows import score

    started = time.perf_counter()
    rows = open_rows(path, memory=memory)
    opened = time.perf_counter()
    detector = estimator(max_epochs=epochs).fit(rows)
    fitted = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = score(detector, rows, Path(folder) / "scores.parquet")
        n_scores = ParquetFile(out).metadata.num_rows  # pandas would read by a dataset
    ended = time.perf_counter()
    assert n_scores == len(rows)
    return {
        "open (s)": opened - started,
        "fit (s)": fitted - opened,
        "score (s)": ended - fitted,
        **peaks(),
    }


def fit_in_memory(path: Path, memory: str, epochs: int) -> dict[str, Any]:
    """Fit to the whole file as a frame."""
    X = pd.read_parquet(path)
    estimator(max_epochs=1, anomaly_score="reconstruction").fit(X)
    return peaks()


def read_by_dataset(path: Path, memory: str, epochs: int) -> dict[str, Any]:
    """Read the whole file through pyarrow.dataset, as it comes."""
    import torch  # noqa: F401  # as much is in memory as in a fit
    from pyarrow.dataset import dataset

    import aedetect.estimators  # noqa: F401

    n_rows = sum(len(batch) for batch in dataset(path).to_batches())
    return {"rows": n_rows, **peaks()}


def compare_speed(path: Path, memory: str, epochs: int) -> dict[str, Any]:
    """Train on as many rows from disk as in memory, in turns; seconds of the processor count."""
    from aedetect import open_rows

    rows = open_rows(path, memory=memory)
    rows = rows[: min(len(rows), 1_000_000)]
    X = rows.to_numpy()
    whole_passes = math.ceil(n_pools(rows))  # pools of about one pass
    rates: dict[str, list[float]] = {"disk": [], "memory": []}
    for _ in range(3):
        for name, table, n_epochs in (("disk", rows, whole_passes), ("memory", X, 1)):
            n_rows = len(X) * (whole_passes / n_pools(rows) if name == "disk" else 1)
            started = time.process_time()
            fit = estimator(max_epochs=n_epochs, anomaly_score="reconstruction").fit
            fit(table)
            rates[name].append(n_rows / (time.process_time() - started))
    best = {name: max(values) for name, values in rates.items()}
    return {
        "disk (rows/s)": best["disk"],
        "memory (rows/s)": best["memory"],
        "ratio": best["disk"] / best["memory"],
    }


def n_pools(rows: Any) -> float:
    from aedetect.rows import count_blocks, pool_blocks

    n_blocks = count_blocks(len(rows))
    return n_blocks / min(pool_blocks(rows.memory, N_COLUMNS, 1), n_blocks)


def measure_reading(path: Path, memory: str, epochs: int) -> dict[str, Any]:
    """Rows a second into the cache, and from the cache into a pool."""
    import torch

    from aedetect import open_rows
    from aedetect.estimators.pooled import DiskPools, PooledRows
    from aedetect.model import fit_columns

    rates, clock = {}, time.process_time  # other processes may be busy
    for name, source in (("parquet -> cache", path), ("CSV -> cache", path.with_name("some.csv"))):
        open_rows(source)[:1].to_numpy()  # imports, and the file is in the system's cache
        started = clock()
        rows = open_rows(source, memory=memory)
        rates[f"{name} (rows/s)"] = len(rows) / (clock() - started)
    rows = open_rows(path, memory=memory)
    reader = rows.reader()
    columns = fit_columns(reader[:100_000], None, "standard", "mse")
    pooled = PooledRows(reader, N_COLUMNS, 1)
    pooled.split(0.1, np.random.RandomState(0))
    tamed = np.zeros(N_COLUMNS, dtype=bool)
    pools = DiskPools(reader, pooled._plan, pooled._left_out, columns, tamed, torch.device("cpu"))
    pools.load(0)
    started = clock()
    n_rows = sum(len(pools.load(epoch)) for epoch in range(1, 4))
    rates["cache -> pool (rows/s)"] = n_rows / (clock() - started)
    return rates


def compare_orders(path: Path, memory: str, epochs: int) -> dict[str, Any]:
    """AUROC of a fit to the sorted file, and of one to the shuffled file."""
    from sklearn.metrics import roc_auc_score

    from aedetect import open_rows

    clusters = np.random.default_rng(2).integers(0, N_CLUSTERS, N_NEW)
    new = [make_chunk(clusters, 3), make_chunk(clusters, 4, odd=True)]
    labels = np.repeat([0, 1], N_NEW)
    areas = {}
    for name in ("sorted", "shuffled"):
        rows = open_rows(path.with_name(f"{name}.parquet"), memory=memory)
        detector = estimator(max_epochs=epochs).fit(rows)
        areas[name] = roc_auc_score(labels, -detector.score_samples(np.concatenate(new)))
    return {**areas, "difference": areas["sorted"] - areas["shuffled"]}


def peaks() -> dict[str, float]:
    """Return the peak of resident memory of this process in MB, and its data at the end."""
    status = Path("/proc/self/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "peak (MB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "anonymous at the end (MB)": int(lines["RssAnon"].split()[0]) / 1e3,
    }


TASKS: dict[str, Callable[[Path, str, int], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        fit_and_score,
        fit_in_memory,
        read_by_dataset,
        compare_speed,
        measure_reading,
        compare_orders,
    )
}


def run(task: str, path: Path, memory: str, epochs: int, limit: int | None) -> dict[str, Any]:
    """Return the result of a task in another process, or how it ended."""
    command = [sys.executable, __file__, "--task", task, "--path", str(path)]
    command += ["--memory", memory, "--epochs", str(epochs)]
    command += ["--limit", str(limit)] if limit else []
    patience = HANGS if task in ("fit_in_memory", "read_by_dataset") else None
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired:  # threads without memory may wait for each other
        return {"died": f"no answer in {HANGS} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
        return {"died": last[:100]}
    return json.loads(done.stdout.splitlines()[-1])


def show(title: str, result: dict[str, Any]) -> None:
    print(title)
    for name, value in result.items():
        print(f"    {name}: {value if isinstance(value, str) else f'{value:,.4g}'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--memory", default="64MB")
    parser.add_argument("--limit", type=int, default=640, help="RLIMIT_DATA in MB")
    parser.add_argument("--epochs", type=int, default=10, help="pools that are trained on")
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--path", type=Path)
    parser.add_argument("--only", choices=TASKS, nargs="+", default=list(TASKS))
    options = parser.parse_args()
    if options.task:
        if "--limit" in sys.argv:
            resource.setrlimit(resource.RLIMIT_DATA, (options.limit * 10**6,) * 2)
        print(json.dumps(TASKS[options.task](options.path, options.memory, options.epochs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        measure_all(Path(folder), options)


def measure_all(folder: Path, options: argparse.Namespace) -> None:
    write_tables(folder, options.rows, shuffled="compare_orders" in options.only)
    path, small = folder / "sorted.parquet", folder / "small"
    size = path.stat().st_size / 1e6
    print(
        f"{options.rows:,} rows of {N_COLUMNS} columns, {size:,.0f} MB; pools of {options.memory}"
    )
    for name in ("fit_and_score", "fit_in_memory", "read_by_dataset"):
        if name in options.only:
            result = run(name, path, options.memory, options.epochs, options.limit)
            show(f"{name} under {options.limit} MB", result)
    if "fit_and_score" in options.only:
        small.mkdir()
        write_tables(small, options.rows // 5, shuffled=False)
        few = small / "sorted.parquet"
        result = run("fit_and_score", few, options.memory, options.epochs, options.limit)
        show("fit_and_score of a fifth of the rows", result)
    for name in ("compare_speed", "measure_reading", "compare_orders"):
        if name in options.only:
            show(name, run(name, path, options.memory, options.epochs, None))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
