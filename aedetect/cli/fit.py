"""``aedetect fit``: train on a table and write a model file."""

from __future__ import annotations

import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd

from aedetect import (
    AutoencoderTransformer,
    ConformalDetector,
    DenoisingAutoencoder,
    VAEDetector,
    save,
)
from aedetect.cli.features import levels_of
from aedetect.cli.tables import leave_out, read_table, with_floats
from aedetect.places import PlaceError

ESTIMATORS = {
    "autoencoder": AutoencoderTransformer,
    "denoising": DenoisingAutoencoder,
    "vae": VAEDetector,
}
Model = ConformalDetector | DenoisingAutoencoder  # or another estimator of this package
MOSTLY = 0.9  # share of the cells that are numbers, for a column of text to be worth a warning
FEW_NUMBERS = 20  # different ones, which may well be categories


def run(arguments: Namespace) -> None:
    """Train an estimator, calibrate it unless ``--calibration`` is 0, and write the model."""
    estimator = ESTIMATORS[arguments.estimator](verbose=sys.stderr.isatty())
    settings = {"random_state": arguments.seed, **dict(arguments.settings)}
    estimator.set_params(**settings)
    table = read_table(arguments.table, sep=arguments.sep)
    X = with_floats(leave_out(table, arguments.drop, arguments.table))
    if estimator.categorical_features == "from_dtype":
        _warn_of_numbers(X)
    if arguments.calibration:
        model = ConformalDetector(
            estimator,
            calibration_size=arguments.calibration,
            random_state=settings["random_state"],
        )
    else:
        model = estimator
    with _naming_drop():
        model.fit(X)
    save(model, arguments.out)
    print(_summary(X, model, arguments), file=sys.stderr)


def _warn_of_numbers(X: pd.DataFrame) -> None:
    """Warn of columns that are categories because of a few cells that are no numbers."""
    for name in X.select_dtypes(["object", "string"]):
        cells = X[name].dropna()
        numbers = pd.to_numeric(cells, errors="coerce")
        others = cells[numbers.isna()]
        if 0 < len(others) < (1 - MOSTLY) * len(cells) and numbers.nunique() > FEW_NUMBERS:
            warnings.warn(
                f"Column {name!r} is taken for categories because of"
                f" {str(others.iloc[0])!r:.40} in row {others.index[0]}: {len(others):,} of"
                f" {len(cells):,} cells are not numbers. If it holds numbers, put numbers there, or"
                " omit the rows.",
                stacklevel=2,
            )


@contextmanager
def _naming_drop() -> Iterator[None]:
    """Let errors about a column of the table end with the option that leaves it out."""
    try:
        yield
    except PlaceError as error:
        if error.column is not None:
            error.args = (f"{error.args[0]} On the command line, --drop {{column}} leaves it out.",)
        raise


def _summary(X: pd.DataFrame, model: Model, arguments: Namespace) -> str:
    trained = model.estimator_ if isinstance(model, ConformalDetector) else model
    losses, n_categories = trained.history_["val_loss"], len(levels_of(trained))
    categories = f", {n_categories} of them categories" if n_categories else ""
    return (
        f"{type(trained).__name__}: {len(X):,} rows of {X.shape[1]} columns{categories},"
        f" {trained.n_iter_} epochs, held-out loss {losses[-1]:.4g}."
        f" {round(len(X) * arguments.calibration):,} rows calibrate."
        f" {arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB."
    )
