"""``aedetect fit``: train on a table and write a model file."""

from __future__ import annotations

import json
import re
import shlex
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aedetect import (
    AutoencoderTransformer,
    ConformalDetector,
    DenoisingAutoencoder,
    VAEDetector,
    open_rows,
    save,
)
from aedetect.cli.features import levels_of
from aedetect.cli.labels import find_normal, read_known
from aedetect.cli.tables import (
    check_cells,
    check_columns,
    first_row_of,
    leave_out,
    read_chunks,
    read_table,
    with_floats,
)
from aedetect.persistence import info
from aedetect.places import PlaceError, rows_of
from aedetect.rows import Rows

ESTIMATORS = {
    "autoencoder": AutoencoderTransformer,
    "denoising": DenoisingAutoencoder,
    "vae": VAEDetector,
}
Model = ConformalDetector | DenoisingAutoencoder  # or another estimator of this package
MOSTLY = 0.9  # share of the cells that are numbers, for a column of text to be worth a warning
FEW_NUMBERS = 20  # different ones, which may well be categories
FEW_ROWS = 20  # whose numbers may differ by chance
N_NAMES = 5  # of columns in a warning, at most
CHECKED = 2**22  # cells of rows on the disk at a time
LABELS = (
    "Labels are -1 for known anomalies, +1 for known normal rows, and 0 or no value for all other"
    " rows. If yours are others, --label-normal VALUE names that of normal rows; all others, but no"
    " value, then mark anomalies."
)
MISSING = "--set missing=mask trains on the cells that are there; --drop leaves the column out."


def run(arguments: Namespace) -> dict[str, Any]:
    """Train an estimator, calibrate it unless ``--calibration`` is 0, and write the model."""
    estimator = ESTIMATORS[arguments.estimator](verbose=sys.stderr.isatty())
    settings = {"random_state": arguments.seed, **dict(arguments.settings)}
    if arguments.label is not None:
        settings["labels"] = "use"
    estimator.set_params(**settings)
    X, labels = _read(estimator, arguments)
    if arguments.calibration:
        model = ConformalDetector(
            estimator,
            calibration_size=arguments.calibration,
            random_state=settings["random_state"],
        )
    else:
        model = estimator
    first = first_row_of(arguments.table)
    with _naming_drop(), rows_of(range(first, first + len(X))):
        model.fit(X, labels)
    save(model, arguments.out)
    print(_summary(X, labels, model, arguments), file=sys.stderr)
    facts = info(arguments.out)
    kept = ("estimator", "threshold", "calibration", "training", "n_bytes", "sha256")
    return {
        "table": str(arguments.table),
        "model": str(arguments.out),
        "n_rows": len(X),
        "n_columns": X.shape[1],
        "n_anomalies": None if labels is None else int((labels == -1).sum()),
        "n_normal": None if labels is None else int((labels == 1).sum()),
        **{name: facts[name] for name in kept},
    }


def _read(
    estimator: Any, arguments: Namespace
) -> tuple[pd.DataFrame | Rows, NDArray[np.int64] | None]:
    """Return the table and the labels of its rows, None without ``--label``.

    If the memory or the cache is named, its rows stay on the disk.
    """
    if arguments.memory is None and arguments.cache is None:
        table = read_table(arguments.table, sep=arguments.sep)
        labels = None if arguments.label is None else _pop_labels(table, arguments)
        frame = with_floats(leave_out(table, arguments.drop, arguments.table))
        if estimator.categorical_features == "from_dtype":
            _warn_of_numbers(frame)
        numbers = _numbers_of(frame, estimator.categorical_features)
        takes_missing = estimator.missing == "mask"
        check_cells(numbers, arguments.table, takes_missing=takes_missing, remedy=MISSING)
        if arguments.table.suffix != ".npy":
            _warn_of_identifiers(numbers, n_rows=len(numbers))
        return frame, labels
    asked = estimator.categorical_features
    named = [] if asked is None or isinstance(asked, str) else list(asked)
    is_array = arguments.table.suffix == ".npy"
    with _naming_options(first_row_of(arguments.table)):
        rows = open_rows(
            arguments.table,
            drop=list(map(_number_of, arguments.drop)) if is_array else arguments.drop,
            categorical=[name for name in named if isinstance(name, str)],
            cache=arguments.cache,
            memory=arguments.memory or "256MB",
            sep=arguments.sep if ".csv" in arguments.table.suffixes else None,
        )
    if estimator.missing != "mask":
        _check_complete(rows, arguments.table)
    if not is_array:
        numbers = _numbers_of(_first_rows(rows, arguments), asked)
        _warn_of_identifiers(numbers, n_rows=len(rows))
    return rows, None


def _pop_labels(table: pd.DataFrame, arguments: Namespace) -> NDArray[np.int64]:
    """Take the column of labels out of the table, and return +1, -1 and 0 for unknown rows."""
    check_columns(table, [arguments.label], arguments.table)
    cells = table.pop(arguments.label)
    if arguments.label_normal is None:
        known = read_known(cells.to_frame(), arguments.label, arguments.table, remedy=LABELS)
        labels = known.reindex(cells.index, fill_value=0).to_numpy()
    else:
        is_normal = find_normal(cells, arguments.label_normal, arguments.table)
        labels = np.where(is_normal, 1, np.where(cells.isna(), 0, -1))
    if not (labels == -1).any():
        values = ", ".join(map(str, cells.dropna().unique()[:5])) or "no value"
        raise ValueError(
            f"Column {arguments.label!r} of {arguments.table} marks no row as an anomaly: it holds"
            f" {values}. {LABELS}"
        )
    return labels


def _first_rows(rows: Rows, arguments: Namespace) -> pd.DataFrame:
    """Return the first rows as the file has them, with the columns of levels as text.

    The rows on the disk are rounded to float32, in which long identifiers are equal.
    """
    names = rows.column_names or []
    first = with_floats(next(read_chunks(arguments.table, sep=arguments.sep))[names])
    return first.astype({names[number]: str for number in rows.levels})


def _check_complete(rows: Rows, table: Path) -> None:
    """Refuse missing numbers, the first of them in the order of the file."""
    names = rows.column_names or [f"x{number}" for number in range(rows.shape[1])]
    numbers = [number for number in range(len(names)) if number not in rows.levels]
    n_rows = max(1, CHECKED // rows.shape[1])
    for first in range(0, len(rows), n_rows):
        cells = pd.DataFrame(rows[first : first + n_rows].read_cells(), columns=names)
        cells.index += first + first_row_of(table)
        check_cells(cells.iloc[:, numbers], table, takes_missing=False, remedy=MISSING)


def _number_of(name: str) -> int:
    """Return the number of a column of an array by its name, such as x3."""
    if re.fullmatch(r"x\d+", name) is None:
        raise ValueError(f"Columns of an array are x0, x1 and so on, but --drop names {name!r}.")
    return int(name[1:])


@contextmanager
def _naming_options(first: int) -> Iterator[None]:
    """Let errors about a table that is opened end with options of the command line.

    Its rows are numbered from ``first``.
    """
    try:
        yield
    except PlaceError as error:
        error.row = None if error.row is None else first + error.row
        name = json.dumps(str(error.column_name))
        error.args = (
            f"{error.args[0]} On the command line, --drop {{column}} leaves it out, and --set"
            f" 'categorical_features=[{name}]', with the names of all other columns of categories,"
            " makes it one of them.",
        )
        raise


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


def _numbers_of(X: pd.DataFrame, categorical: Any) -> pd.DataFrame:
    """Return the columns of numbers that are not named as categories."""
    named = categorical if isinstance(categorical, list) else []
    columns = [name for i, name in enumerate(X) if not {i, name} & set(named)]
    return X[columns].select_dtypes("float64")


def _warn_of_identifiers(numbers: pd.DataFrame, *, n_rows: int) -> None:
    """Warn of columns of numbers that identify rows, given the first of ``n_rows`` rows."""
    names = [str(name) for name in numbers if _tells_rows_apart(numbers[name].dropna())]
    if names:
        seen = len(numbers)
        rows = "every row" if seen == n_rows else f"each of the first {seen:,} rows"
        warnings.warn(
            f"Columns that hold a different number in {rows}, as identifiers and times do:"
            f" {', '.join(map(repr, names[:N_NAMES]))}. New rows then look like anomalies. Unless"
            f" these are measurements, fit again with --drop {shlex.join(names[:N_NAMES])}.",
            stacklevel=2,
        )


def _tells_rows_apart(cells: pd.Series) -> bool:
    """Return whether numbers are all different, and whole or in order."""
    is_ordered = cells.is_monotonic_increasing or cells.is_monotonic_decreasing
    return len(cells) >= FEW_ROWS and cells.is_unique and (is_ordered or not (cells % 1).any())


@contextmanager
def _naming_drop() -> Iterator[None]:
    """Let errors about a column of the table end with the option that leaves it out."""
    try:
        yield
    except PlaceError as error:
        error.place = None  # the row has its number in the file
        if error.column is not None:
            error.args = (f"{error.args[0]} On the command line, --drop {{column}} leaves it out.",)
        raise


def _summary(
    X: pd.DataFrame | Rows, labels: NDArray | None, model: Model, arguments: Namespace
) -> str:
    trained = model.estimator_ if isinstance(model, ConformalDetector) else model
    losses, n_categories = trained.history_["val_loss"], len(levels_of(trained))
    categories = f", {n_categories} of them categories" if n_categories else ""
    n_calibration = len(model.calibration_scores_) if isinstance(model, ConformalDetector) else 0
    known = ""
    if labels is not None:
        known = (
            f" {(labels == -1).sum():,} anomalies and {(labels == 1).sum():,} normal rows known."
        )
    return (
        f"{type(trained).__name__}: {len(X):,} rows of {X.shape[1]} columns{categories},"
        f" {trained.n_iter_} epochs, held-out loss {losses[-1]:.4g}.{known}"
        f" {n_calibration:,} rows calibrate."
        f" {arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB."
    )
