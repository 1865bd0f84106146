"""``aedetect feedback``: tell a model about rows whose labels are known."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aedetect import ConformalDetector, load, save
from aedetect.cli.features import model_columns, text_columns
from aedetect.cli.labels import read_known
from aedetect.cli.tables import as_numbers, check_columns, read_table
from aedetect.places import rows_of

ROW = "row"  # column of row numbers, as ``aedetect score`` writes it


def run(arguments: Namespace) -> dict[str, Any]:
    """Read labelled rows, tell the model, and write it."""
    model = load(arguments.model)
    _check_calibration(model, arguments)
    frame = read_table(arguments.table, sep=arguments.sep, as_text=text_columns(model))
    labels = _labels(frame, arguments)
    rows = _known_rows(model, frame.loc[labels.index], arguments)
    known = labels.to_numpy()
    with rows_of(labels.index):
        if isinstance(model, ConformalDetector):
            normal = _columns_of(model, arguments.calibrate, arguments)
            model.feedback(rows, known, X_normal=normal)
        else:
            model.feedback(rows, known)
    out = arguments.out or arguments.model
    save(model, out)
    print(_summary(model, known, out), file=sys.stderr)
    return {
        "table": str(arguments.table),
        "model": str(out),
        "n_anomalies": int((known == -1).sum()),
        "n_normal": int((known == 1).sum()),
        "threshold": float(model.offset_),
    }


def _check_calibration(model: Any, arguments: Namespace) -> None:
    """Ask for calibration rows where the model needs some, and there alone."""
    if isinstance(model, ConformalDetector) and arguments.calibrate is None:
        raise ValueError(
            f"{arguments.model} is calibrated, and labels change its scores: pass normal rows with"
            " --calibrate TABLE, those that it was calibrated with or others that had no part in"
            " its training."
        )
    if not isinstance(model, ConformalDetector) and arguments.calibrate is not None:
        raise ValueError(
            f"--calibrate {arguments.calibrate} is for calibrated models, and {arguments.model} is"
            " not. Leave it out."
        )


def _labels(frame: pd.DataFrame, arguments: Namespace) -> pd.Series:
    """Return the labels of the rows that have one."""
    remedy = "Labels are -1 for anomalies, +1 for normal rows, and 0 to take a label back."
    labels = read_known(frame, arguments.label, arguments.table, remedy=remedy)
    if labels.empty:
        raise ValueError(f"Column {arguments.label!r} of {arguments.table} holds no label.")
    return labels


def _known_rows(model: Any, frame: pd.DataFrame, arguments: Namespace) -> pd.DataFrame:
    """Return the columns that the model scores of labelled rows, from their table if given."""
    if arguments.rows is None:
        return model_columns(model, frame.drop(columns=arguments.label), arguments)
    check_columns(frame, [ROW], arguments.table)
    table = _columns_of(model, arguments.rows, arguments)
    places = as_numbers(frame[[ROW]], arguments.table, remedy="Put the number of a row there.")[ROW]
    missing = places[~places.isin(table.index)]
    if len(missing):
        raise ValueError(
            f"Row {missing.index[0]} of {arguments.table} names row {missing.iloc[0]:g}, but"
            f" {arguments.rows} has rows {table.index[0]} to {table.index[-1]}. Pass the table that"
            " was scored."
        )
    return table.loc[places.astype(np.intp)]


def _columns_of(model: Any, path: Path, arguments: Namespace) -> pd.DataFrame:
    frame = read_table(path, sep=arguments.sep, as_text=text_columns(model))
    return model_columns(model, frame, Namespace(**{**vars(arguments), "table": path}))


def _summary(model: Any, known: np.ndarray, out: Path) -> str:
    return (
        f"{(known == -1).sum()} anomalies and {(known == 1).sum()} normal rows are known now, and"
        f" rows that score below {model.offset_:.6g} are flagged. {out} is written."
    )
