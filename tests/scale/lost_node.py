"""Scores rows on two nodes of an engine, one of which goes for good in the midst.

    python lost_node.py ENGINE FOLDER

Leaves ``scores.parquet`` in the folder, and ``gone`` once the node has been taken away.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd

from aedetect import AutoencoderTransformer, open_rows, scale
from aedetect.rows import scoring

PART_ROWS = 100


class Slow:
    """Scores as another model does, but takes its time, and tells which process has begun."""

    def __init__(self, model, folder):
        self.model, self.folder = model, folder
        self.feature_names_in_, self.offset_ = model.feature_names_in_, model.offset_
        self.first = os.getpid()

    def score_samples(self, X):
        if os.getpid() != self.first:
            (self.folder / f"begun-{os.getpid()}").touch()
            time.sleep(0.2)
        return self.model.score_samples(X)


def two_nodes_of_ray():
    """Start two nodes; return functions that take one away and close the other."""
    import ray
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    node = cluster.add_node(**size)
    ray.init(cluster.address, log_to_driver=False)

    def close():
        ray.shutdown()
        cluster.shutdown()

    return lambda: cluster.remove_node(node, allow_graceful=False), close


def two_nodes_of_dask():
    """Start two workers that nothing starts again; return functions that kill one and the other."""
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=0, dashboard_address=None)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
    options = ["--no-nanny", "--nthreads", "1", "--no-dashboard"]
    workers = [subprocess.Popen([*command, *options]) for _ in range(2)]
    Client(cluster).wait_for_workers(2, timeout=60)
    return workers[0].kill, workers[1].kill


def main(engine: str, folder: Path) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(3000, 4)), columns=list("abcd"))
    model = AutoencoderTransformer(2, max_epochs=1, random_state=0).fit(frame)
    scoring.PART_ROWS = PART_ROWS
    remove, close = {"ray": two_nodes_of_ray, "dask": two_nodes_of_dask}[engine]()

    def take_a_node_away():
        while len(list(folder.glob("begun-*"))) < 2:
            time.sleep(0.01)
        remove()
        (folder / "gone").touch()

    Thread(target=take_a_node_away, daemon=True).start()
    out = folder / "scores.parquet"
    scale.score(Slow(model, folder), open_rows(frame), out, engine=engine)
    table = pd.read_parquet(out)
    assert (folder / "gone").stat().st_mtime < out.stat().st_mtime, "the node went too late"
    np.testing.assert_array_equal(table["row"], np.arange(len(frame)))
    np.testing.assert_array_equal(table["score"], model.score_samples(frame))
    sys.stdout.write("every row once\n")
    sys.stdout.flush()
    close()
    os._exit(0)  # threads of Dask would wait for the workers


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
