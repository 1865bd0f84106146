"""``aedetect score``: a model file and a table in, scores out, a part at a time."""

from __future__ import annotations

import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from aedetect import ConformalDetector, DenoisingAutoencoder, load
from aedetect.cli.features import known_columns
from aedetect.cli.results import open_results
from aedetect.cli.tables import check_columns, read_chunks
from aedetect.places import rows_of
from aedetect.scoring import alarm_rank, rows_needed

Model = ConformalDetector | DenoisingAutoencoder  # or another of our estimators


def run(arguments: Namespace) -> None:
    """Score the rows of a table and write one line each."""
    model = load(arguments.model)
    if arguments.alpha is not None and not isinstance(model, ConformalDetector):
        raise ValueError(
            f"--alpha={arguments.alpha:g} needs calibration rows, and {arguments.model} has none."
            " Fit it again without --calibration 0."
        )
    _warn_of_too_few(model, arguments)
    with open_results(arguments.out) as write:
        for chunk, X in _progress(_read(model, arguments)):
            with rows_of(X.index):
                results = _results(model, X, arguments)
            write(_with_kept(results, chunk, arguments.keep))


def _warn_of_too_few(model: Model, arguments: Namespace) -> None:
    """Say so if there are too few calibration rows for any alarm, whatever the rows are."""
    if not isinstance(model, ConformalDetector):
        return
    alpha = model.alpha if arguments.alpha is None else arguments.alpha
    n_rows = len(model.calibration_scores_)
    if alarm_rank(n_rows, alpha) == 0:
        warnings.warn(
            f"{n_rows} calibration rows are too few for any alarm at --alpha {alpha:g}: it takes"
            f" {rows_needed(alpha)}. Fit again with more rows or a larger --calibration, or raise"
            f" --alpha above {1 / (n_rows + 1):.4g}.",
            stacklevel=2,
        )


def _read(model: Model, arguments: Namespace) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield parts of the table, and the columns of each that the model scores."""
    for chunk in read_chunks(arguments.table, sep=arguments.sep):
        check_columns(chunk, arguments.keep, arguments.table)
        yield chunk, known_columns(model, chunk, arguments)


def _with_kept(table: pd.DataFrame, chunk: pd.DataFrame, keep: list[str]) -> pd.DataFrame:
    """Return the results behind the columns that are copied."""
    taken = [name for name in keep if name in {"row", *table.columns}]
    if taken:
        raise ValueError(
            f"--keep {' '.join(taken)}: the results have columns of that name. Rename them in the"
            " table, or leave them out of --keep."
        )
    return chunk[list(dict.fromkeys(keep))].join(table).rename_axis(index="row")


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
