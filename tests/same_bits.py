"""Compares what rows get alone, in company and on several threads, to the last bit.

Run as a script, it prints every comparison that differs, one a line, for the cases that are named
or for all. The tests do so under smaller instruction sets, which libraries read once, as they are
loaded.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.networks import Autoencoder

N_THREADS = (1, 3)
ALONE = (0, 5, 29, 31, 32, 62, 63, 64, 329, 511, 512, 1099)  # in large tiles and small ones
IMAGE = {"network": "conv", "image_shape": (1, 14, 14), "hidden_layer_sizes": (8, 16)}


class Attention(nn.Module):
    """A layer of a transformer over the columns of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.outward = nn.Linear(1, 16), nn.Linear(16, 1)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)

    def forward(self, x):
        return self.outward(self.layer(self.inward(x[..., None])))[..., 0]


def own_network():
    """Return a network of a user's own, in which every kind of elementwise function comes."""
    torch.manual_seed(0)
    encoder = nn.Sequential(Attention(), nn.Linear(20, 33), nn.Mish(), nn.Linear(33, 7))
    return Autoencoder(encoder, nn.Sequential(nn.Softplus(), nn.Linear(7, 20)))


# Name -> (columns, estimator).
CASES = {
    "one column": (1, AutoencoderTransformer(hidden_layer_sizes=(33, 5), activation="gelu")),
    "default": (49, DenoisingAutoencoder()),
    "batch norm": (3, AutoencoderTransformer(batch_norm=True, activation="sigmoid")),
    "tied": (33, DenoisingAutoencoder(tied_weights=True, activation="tanh")),
    "residual": (40, AutoencoderTransformer(network="residual", activation="silu")),
    "vae": (300, VAEDetector(anomaly_score="elbo")),
    "bce": (64, AutoencoderTransformer(loss="bce", anomaly_score="reconstruction")),
    "missing": (12, DenoisingAutoencoder(missing="mask")),
    "members": (20, AutoencoderTransformer(n_members=3, anomaly_score="standardized")),
    "own": (20, AutoencoderTransformer(network=own_network())),
    "wide": (784, VAEDetector(hidden_layer_sizes=(800, 100), anomaly_score="sap")),
    "conv": (196, AutoencoderTransformer(**IMAGE, activation="gelu")),
    "conv, transposed": (
        196,
        VAEDetector(**IMAGE, upsample="transpose", batch_norm=True, anomaly_score="robust"),
    ),
    "clean": (20, DenoisingAutoencoder(contamination=0, n_members=2)),
    "clean, missing": (12, DenoisingAutoencoder(contamination=0, missing="mask")),
    "density": (300, DenoisingAutoencoder(anomaly_score="density")),
    "conv, unpooled": (
        196,
        DenoisingAutoencoder(
            **IMAGE, downsample="maxpool", upsample="unpool", anomaly_score="activations"
        ),
    ),
}


def differences(case: str) -> Iterator[str]:
    """Yield every comparison of a case that differs."""
    n_features, estimator = CASES[case]
    rng = np.random.RandomState(0)
    X = rng.rand(1100, n_features)
    if estimator.missing == "mask":
        X[rng.rand(*X.shape) < 0.2] = np.nan
        X[:, 0] = rng.rand(len(X))
    estimator.set_params(max_epochs=1, random_state=0).fit(X[:60])
    order = rng.permutation(len(X))
    before, expected = torch.get_num_threads(), {}
    for n_threads, method in itertools.product(N_THREADS, ("score_samples", "transform")):
        torch.set_num_threads(n_threads)
        evaluate = getattr(estimator, method)
        whole = expected.setdefault(method, evaluate(X))
        found = {
            "whole": np.array_equal(evaluate(X), whole),
            "shuffled": np.array_equal(evaluate(X[order]), whole[order]),
            "seven": np.array_equal(evaluate(X[3:10]), whole[3:10]),
            **{f"row {i}": np.array_equal(evaluate(X[[i]]), whole[[i]]) for i in ALONE},
        }
        torch.set_num_threads(before)
        unequal = [name for name, equal in found.items() if not equal]
        if unequal:
            yield f"{case}: {method} on {n_threads} threads: {', '.join(unequal)}"


if __name__ == "__main__":
    lines = itertools.chain.from_iterable(map(differences, sys.argv[1:] or CASES))
    sys.stdout.write("\n".join(lines))
