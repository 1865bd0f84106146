"""Kill processes that open, fit and score rows on disk, with SIGKILL at random moments.

    python tests/fuzz/fuzz_row_kills.py --kills 20 --seed 0

Every process opens a parquet file with a cache, fits in pools with a checkpoint, saves the model
and writes the scores; it takes what the killed ones before it have left. Weights, history,
threshold and scores must then be those of a process that was left alone, bit for bit. POSIX alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fuzz_kills import is_running, kill, outcome, wait_for

from aedetect import DenoisingAutoencoder, load, open_rows, save
from aedetect.estimators import pooled
from aedetect.rows import plan, score, scoring
from aedetect.training import checkpoint

N_ROWS = 40_000
STAGES = {"opening": "cache/*.rows", "fitting": "model", "scoring": "scores.parquet"}


def write_table(path):
    """Write rows of numbers and of levels."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N_ROWS, 3)) @ rng.normal(size=(3, 8))
    rows += 0.3 * rng.normal(size=rows.shape)
    frame = pd.DataFrame(rows.astype(np.float32)).add_prefix("x")
    frame["kind"] = np.where(rows[:, 0] > 0, "high", "low")
    frame.to_parquet(path)


def work(folder):
    """Open, fit, save and score, as far as it has not been done; return the outcome."""
    rows = open_rows(folder.parent / "x.parquet", cache=folder / "cache", memory=400_000)
    if not (folder / "model").exists():
        estimator = DenoisingAutoencoder(2, hidden_layer_sizes=(8,), max_epochs=20, random_state=0)
        estimator.set_params(checkpoint=folder / "fit.ckpt")
        save(estimator.fit(rows), folder / "model")
    model = load(folder / "model")
    path = score(model, rows, folder / "scores.parquet")
    scores = pd.read_parquet(path)
    return outcome(model) | {name: scores[name].to_numpy() for name in scores}


def start(folder):
    """Work in a new process, which writes the outcome to a file; return its number."""
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        np.savez(folder.parent / f"{folder.name}.npz", **work(folder))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def stage_of(folder):
    """Return what the process that was killed was doing."""
    return next((stage for stage, done in STAGES.items() if not any(folder.glob(done))), "reading")


def wait_for_stage(stage, number, folder):
    """Wait until a process has come to a stage, or has ended."""
    order = [*STAGES, "reading"]
    while order.index(stage_of(folder / "killed")) < order.index(stage) and is_running(number):
        time.sleep(0.005)


def fuzz(folder, n_kills, rng):
    """Return how often processes were killed in each stage, once all agrees."""
    (folder / "alone").mkdir()
    (folder / "killed").mkdir()
    began = time.perf_counter()
    wait_for(start(folder / "alone"))
    seconds = time.perf_counter() - began
    counts = dict.fromkeys([*STAGES, "reading"], 0)
    while True:
        number = start(folder / "killed")
        if sum(counts.values()) == n_kills:
            wait_for(number)
            break
        wait_for_stage(list(STAGES)[len(STAGES) * sum(counts.values()) // n_kills], number, folder)
        time.sleep(rng.uniform(0, 0.05 * seconds))
        if not kill(number):
            break
        counts[stage_of(folder / "killed")] += 1
    alone, killed = (dict(np.load(folder / f"{name}.npz")) for name in ("alone", "killed"))
    differing = [key for key in alone if not np.array_equal(alone[key], killed[key])]
    left = sorted(str(path.relative_to(folder / "killed")) for path in folder.glob("killed/**/.*"))
    if differing or left or not np.array_equal(alone["row"], np.arange(N_ROWS)):
        sys.exit(f"{differing} differ, {left} are left after {counts}")
    print(f"{counts}, {N_ROWS:,} rows once, same bits", flush=True)
    return counts


def main():
    """Work until enough processes were killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    plan.MIN_BLOCKS = pooled.MIN_BLOCKS = 3
    checkpoint.SHARE = float("inf")  # a checkpoint after every pool
    scoring.PART_ROWS = 300
    rng = np.random.RandomState(arguments.seed)
    n_killed = 0
    while n_killed < arguments.kills:
        with tempfile.TemporaryDirectory() as folder:
            write_table(Path(folder) / "x.parquet")
            counts = fuzz(Path(folder), arguments.kills - n_killed, rng)
            n_killed += sum(counts.values())


if __name__ == "__main__":
    main()
