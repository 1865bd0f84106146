"""``aedetect score``: score the rows of a table in chunks."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from aedetect import ConformalDetector, DenoisingAutoencoder
from aedetect.cli.alpha import check_alpha
from aedetect.cli.features import load_detector, model_columns, text_columns
from aedetect.cli.parts import score_in_parts
from aedetect.cli.results import open_results
from aedetect.cli.tables import check_columns, read_chunks
from aedetect.conformal import scores_and_p_values
from aedetect.places import rows_of

Model = ConformalDetector | DenoisingAutoencoder  # or another estimator of this package


def run(arguments: Namespace) -> dict[str, Any]:
    """Score the rows of a table and write one line each."""
    model = load_detector(arguments.model)
    check_alpha(model, arguments)
    if arguments.resume:
        n_rows, n_anomalies = score_in_parts(model, arguments)
    else:
        n_rows, n_anomalies = _score_in_chunks(model, arguments)
    return {
        "model": str(arguments.model),
        "table": str(arguments.table),
        "out": str(arguments.out),
        "n_rows": n_rows,
        "n_anomalies": n_anomalies,
        "alpha": arguments.alpha,
    }


def _score_in_chunks(model: Model, arguments: Namespace) -> tuple[int, int]:
    """Write one line a row; return the numbers of rows and of anomalies."""
    n_rows = n_anomalies = 0
    with open_results(arguments.out) as write:
        for chunk, X in _progress(_read(model, arguments)):
            with rows_of(X.index):
                results = _results(model, X, arguments)
            write(_with_kept(results, chunk, arguments.keep))
            n_rows += len(results)
            n_anomalies += int(results["anomaly"].sum())
    return n_rows, n_anomalies


def _read(model: Model, arguments: Namespace) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield chunks of the table, and the columns of each that the model scores."""
    chunks = read_chunks(arguments.table, sep=arguments.sep, as_text=text_columns(model))
    for chunk in chunks:
        check_columns(chunk, arguments.keep, arguments.table)
        yield chunk, model_columns(model, chunk, arguments)


def _progress(chunks: Iterator) -> Iterator:
    with tqdm(unit=" rows", unit_scale=True, disable=not sys.stderr.isatty()) as bar:
        for chunk, X in chunks:
            yield chunk, X
            bar.update(len(X))


def _results(model: Model, X: pd.DataFrame, arguments: Namespace) -> pd.DataFrame:
    """Return columns ``score``, ``p_value`` if calibrated, ``anomaly``, and the explanations."""
    if isinstance(model, ConformalDetector):
        scores, p_values = scores_and_p_values(model, X)
        columns = {"score": scores, "p_value": p_values}
    else:
        columns = {"score": model.score_samples(X)}
    if arguments.alpha is None:
        is_anomaly = columns["score"] < model.offset_
    else:
        is_anomaly = columns["p_value"] <= arguments.alpha
    table = pd.DataFrame({**columns, "anomaly": is_anomaly.astype(int)}, index=X.index)
    return table.join(_explanations(model, X, arguments.explain))


def _explanations(model: Model, X: pd.DataFrame, n_features: int) -> pd.DataFrame:
    """Return the features with the largest contributions to each row, and the contributions."""
    contributions = np.asarray(model.explain(X)) if n_features else np.empty((len(X), 0))
    order = np.argsort(-contributions, axis=1, kind="stable")[:, :n_features]
    columns = {}
    for rank, features in enumerate(order.T, start=1):
        columns[f"feature_{rank}"] = np.asarray(X.columns)[features]
        columns[f"contribution_{rank}"] = contributions[np.arange(len(X)), features]
    return pd.DataFrame(columns, index=X.index)


def _with_kept(results: pd.DataFrame, chunk: pd.DataFrame, keep: list[str]) -> pd.DataFrame:
    """Return the columns of ``--keep``, followed by the results."""
    taken = [name for name in keep if name in {"row", *results.columns}]
    if taken:
        raise ValueError(
            f"--keep {' '.join(taken)}: the results have columns of that name. Rename them in the"
            " table, or leave them out of --keep."
        )
    return chunk[list(dict.fromkeys(keep))].join(results).rename_axis(index="row")
