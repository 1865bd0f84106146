"""Fit many times in one process, and print how much memory each fit leaves behind.

    python tests/fuzz/memory.py --fits 1000

The slope is that of a line through the resident memory after each fit, without the first tenth,
in which PyTorch and the allocator set up what they keep. The program fails above ``--bound``.
"""

from __future__ import annotations

import argparse
import gc
import sys

import numpy as np
import psutil

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector

BASE = {"hidden_layer_sizes": (16,), "max_epochs": 2, "random_state": 0}
ESTIMATORS = [
    AutoencoderTransformer(2, **BASE),
    DenoisingAutoencoder(2, n_members=3, dropout=0.1, batch_norm=True, **BASE),
    VAEDetector(2, network="residual", warm_start=True, **BASE),
    AutoencoderTransformer(2, network="conv", image_shape=(1, 2, 3), **BASE),
]


def main():
    """Fit, measure, and compare with the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--bound", type=float, default=4.0, help="KiB that a fit may leave behind")
    arguments = parser.parse_args()
    X = np.random.RandomState(0).randn(100, 6)
    process = psutil.Process()
    resident = np.empty(arguments.fits)
    for number in range(arguments.fits):
        estimator = ESTIMATORS[number % len(ESTIMATORS)]
        estimator.fit(X).score_samples(X)
        if number % 50 == 0:
            gc.collect()
        resident[number] = process.memory_info().rss / 2**10
    settled = resident[arguments.fits // 10 :]
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0]
    print(
        f"{arguments.fits} fits: {resident[0] / 2**10:.1f} MiB after the first,"
        f" {resident[-1] / 2**10:.1f} MiB after the last, slope {slope:.3f} KiB a fit"
    )
    if slope > arguments.bound:
        sys.exit(f"That is more than {arguments.bound} KiB.")


if __name__ == "__main__":
    main()
