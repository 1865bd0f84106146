"""``aedetect fit``: train on a table and write a model file."""

from __future__ import annotations

import sys
from argparse import Namespace

import pandas as pd

from aedetect import (
    AutoencoderTransformer,
    ConformalDetector,
    DenoisingAutoencoder,
    VAEDetector,
    save,
)
from aedetect.cli.tables import read_numbers

ESTIMATORS = {
    "autoencoder": AutoencoderTransformer,
    "denoising": DenoisingAutoencoder,
    "vae": VAEDetector,
}


def run(arguments: Namespace) -> None:
    """Train an estimator, calibrate it unless ``--calibration`` is 0, and write the model."""
    estimator = ESTIMATORS[arguments.estimator](verbose=sys.stderr.isatty())
    settings = {"random_state": arguments.seed, **dict(arguments.settings)}
    estimator.set_params(**settings)
    X = read_numbers(arguments.table, sep=arguments.sep, drop=arguments.drop)
    if arguments.calibration:
        model = ConformalDetector(
            estimator,
            calibration_size=arguments.calibration,
            random_state=settings["random_state"],
        ).fit(X)
        trained = model.estimator_
    else:
        model = trained = estimator.fit(X)
    save(model, arguments.out)
    print(_summary(X, trained, arguments), file=sys.stderr)


def _summary(X: pd.DataFrame, trained: DenoisingAutoencoder, arguments: Namespace) -> str:
    losses = trained.history_["val_loss"]
    return (
        f"{type(trained).__name__}: {len(X):,} rows of {X.shape[1]} columns,"
        f" {trained.n_iter_} epochs, held-out loss {losses[-1]:.4g}."
        f" {round(len(X) * arguments.calibration):,} rows calibrate."
        f" {arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB."
    )
