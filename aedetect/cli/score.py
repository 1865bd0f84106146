"""``aedetect score``: a model file and a table in, scores out, a part at a time."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import pandas as pd
from tqdm import tqdm

from aedetect import ConformalDetector, DenoisingAutoencoder, load
from aedetect.cli.tables import check_columns, numbers, read_chunks
from aedetect.estimators.places import rows_of
from aedetect.files import atomic_write

Model = ConformalDetector | DenoisingAutoencoder  # or another of our estimators


def run(arguments: Namespace) -> None:
    """Score the rows of a table and write one line each."""
    model = load(arguments.model)
    if arguments.alpha is not None and not isinstance(model, ConformalDetector):
        raise ValueError(
            f"--alpha={arguments.alpha:g} needs calibration rows, and {arguments.model} has none."
            " Fit it again without --calibration 0."
        )
    with nullcontext(sys.stdout) if arguments.out is None else atomic_write(arguments.out) as file:
        for chunk, X in _progress(_read(model, arguments)):
            with rows_of(X.index):
                table = _results(model, X, arguments)
            for name in reversed(arguments.keep):
                table.insert(0, name, chunk[name])
            table.to_csv(file, header=chunk.index[0] == 0, index_label="row")


def _read(model: Model, arguments: Namespace) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield parts of the table, and the columns of each that the model knows."""
    names = getattr(model, "feature_names_in_", None)
    for chunk in read_chunks(arguments.table, sep=arguments.sep):
        check_columns(chunk, arguments.keep, arguments.table)
        columns = list(chunk.columns if names is None else names)
        check_columns(chunk, columns, arguments.table)
        yield chunk, numbers(chunk[columns], arguments.table)


def _progress(parts: Iterator) -> Iterator:
    with tqdm(unit=" rows", unit_scale=True, disable=not sys.stderr.isatty()) as bar:
        for chunk, X in parts:
            yield chunk, X
            bar.update(len(X))


def _results(model: Model, X: pd.DataFrame, arguments: Namespace) -> pd.DataFrame:
    """Return ``score``, ``p_value`` where it is calibrated, ``anomaly`` and what explains it."""
    table = pd.DataFrame({"score": model.score_samples(X)}, index=X.index)
    is_anomaly = table["score"] < model.offset_
    if isinstance(model, ConformalDetector):
        table["p_value"] = model.p_values(X)
        if arguments.alpha is not None:
            is_anomaly = table["p_value"] <= arguments.alpha
    table["anomaly"] = is_anomaly.astype(int)
    return table.join(_reasons(model, X, arguments.explain))


def _reasons(model: Model, X: pd.DataFrame, n_features: int) -> pd.DataFrame:
    """Return the features that add most to each row's oddity, with what they add."""
    contributions = np.asarray(model.explain(X)) if n_features else np.empty((len(X), 0))
    order = np.argsort(-contributions, axis=1, kind="stable")[:, :n_features]
    columns = {}
    for rank, features in enumerate(order.T, start=1):
        columns[f"feature_{rank}"] = np.asarray(X.columns)[features]
        columns[f"contribution_{rank}"] = contributions[np.arange(len(X)), features]
    return pd.DataFrame(columns, index=X.index)
