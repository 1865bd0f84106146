"""Kill fits with SIGKILL at random moments, and compare what the last one ends with.

    python tests/fuzz/fuzz_kills.py --kills 60 --seed 0

Every fit runs in a process of its own, forked from this one. Half of the kills wait for a
checkpoint that is just being written. A fit that was killed is started again, on the same file,
until it ends by itself; its weights, history and threshold must then be those of a fit that was
left alone, bit for bit. POSIX alone.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from torch import nn

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.networks import Autoencoder

IMAGE = {"network": "conv", "image_shape": (1, 4, 4), "hidden_layer_sizes": (4, 4)}


def custom_network():
    """Return a network that draws its dropout from PyTorch's global generator."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2))
    return Autoencoder(nn.Sequential(encoder, nn.Linear(32, 3)), nn.Linear(3, 16))


BASE = {"hidden_layer_sizes": (32,), "anomaly_score": "reconstruction", "random_state": 0}
PROBLEMS = {
    "dense": lambda: AutoencoderTransformer(3, max_epochs=60, **BASE),
    "conv": lambda: AutoencoderTransformer(3, max_epochs=20, **{**BASE, **IMAGE}),
    "ensemble": lambda: DenoisingAutoencoder(3, n_members=4, max_epochs=60, **BASE),
    "VAE": lambda: VAEDetector(
        3, max_epochs=60, **{**BASE, "random_state": np.random.RandomState(5)}
    ),
    "dropout and batch norm": lambda: AutoencoderTransformer(
        3, n_members=2, dropout=0.2, batch_norm=True, max_epochs=50, **BASE
    ),
    "custom network": lambda: AutoencoderTransformer(
        network=custom_network(), optimizer="sgd", max_epochs=50, **BASE
    ),
    "early stopping": lambda: AutoencoderTransformer(
        3, learning_rate=0.02, schedule="constant", patience=20, max_epochs=300, **BASE
    ),
}


def make_rows():
    """Return 400 rows of 16 correlated columns."""
    rng = np.random.RandomState(0)
    return rng.randn(400, 5) @ rng.randn(5, 16) + 0.3 * rng.randn(400, 16)


def outcome(estimator):
    """Return all that a fit ends with, but for the seconds it took."""
    weights = estimator.__getstate__()["detector_"]["model"]["weights"]
    arrays = {f"weight {name}": weight for name, weight in weights.items()}
    arrays |= {k: v for k, v in estimator.history_.items() if k != "seconds"}
    return arrays | {"offset": np.array(estimator.offset_)}


def start(estimator, result):
    """Fit in a new process, which writes the outcome to a file; return its number."""
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        np.savez(result, **outcome(estimator.fit(make_rows())))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait_for(number):
    """Wait for a child to end; one that failed ends this program."""
    if os.waitpid(number, 0)[1]:
        sys.exit("A fit failed.")


def partial_of(checkpoint, number):
    """Return the pattern of the file that a process has open while it writes a checkpoint."""
    return f".{checkpoint.name}.{number}-*.partial"


def wait_for_write(checkpoint, number):
    """Wait until a checkpoint is being written, or the process has ended."""
    partial = partial_of(checkpoint, number)
    while not any(checkpoint.parent.glob(partial)) and is_running(number):
        time.sleep(0.0005)


def is_running(number):
    """Return whether a child is alive; one that has ended stays to be waited for."""
    return os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def kill(number):
    """Kill a child and return whether it was still alive; one that failed ends this program."""
    os.kill(number, signal.SIGKILL)
    _, status = os.waitpid(number, 0)
    if os.WIFEXITED(status):
        if os.WEXITSTATUS(status):
            sys.exit("A fit failed.")
        return False
    return True


def kill_until_done(make, n_kills, seconds, folder, rng):
    """Fit, killed up to ``n_kills`` times; return the outcome and how often what was hit."""
    checkpoint, result = folder / "fit.ckpt", folder / "result.npz"
    counts = {"killed": 0, "in a write": 0, "resumed": 0}
    while True:
        counts["resumed"] += checkpoint.exists()
        number = start(make().set_params(checkpoint=checkpoint), result)
        if counts["killed"] == n_kills:
            wait_for(number)
            break
        time.sleep(rng.uniform(0, 0.7 * seconds))
        if rng.rand() < 0.5:
            wait_for_write(checkpoint, number)
        if not kill(number):
            break
        counts["killed"] += 1
        counts["in a write"] += any(folder.glob(partial_of(checkpoint, number)))
    leftovers = sorted(path.name for path in folder.iterdir() if path != result)
    if leftovers:
        sys.exit(f"Left behind: {leftovers}")
    return dict(np.load(result)), counts


def fuzz(name, n_kills, rng):
    """Return the counts of one problem, once its outcome is that of a fit left alone."""
    make = PROBLEMS[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        began = time.perf_counter()
        wait_for(start(make(), folder / "alone.npz"))
        seconds = time.perf_counter() - began
        alone = dict(np.load(folder / "alone.npz"))
        (folder / "alone.npz").unlink()
        found, counts = kill_until_done(make, n_kills, seconds, folder, rng)
    differing = [key for key in alone if not np.array_equal(alone[key], found[key])]
    if differing or alone.keys() != found.keys():
        sys.exit(f"{name}: {differing} differ after {counts}")
    print(f"{name}: {counts}, {len(alone['loss'])} epochs, same bits", flush=True)
    return counts


def main():
    """Run the problems in turn until enough processes were killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    AutoencoderTransformer(max_epochs=1).fit(make_rows())  # imports, once for all children
    rng = np.random.RandomState(arguments.seed)
    total = {"killed": 0, "in a write": 0, "resumed": 0}
    per_fit = -(-arguments.kills // len(arguments.problems))
    while total["killed"] < arguments.kills:
        for name in arguments.problems:
            counts = fuzz(name, per_fit, rng)
            total = {key: total[key] + counts[key] for key in total}
    print(f"total: {total}, nothing lost")


if __name__ == "__main__":
    main()
