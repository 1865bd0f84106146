"""``aedetect report``: write a page about a model and a table."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aedetect import Monitor, load, report
from aedetect.cli.alpha import check_alpha
from aedetect.cli.features import model_columns, text_columns
from aedetect.cli.labels import find_normal
from aedetect.cli.tables import check_columns, read_table
from aedetect.conformal import with_alpha
from aedetect.places import rows_of
from aedetect.reporting.subject import read_labels


def run(arguments: Namespace) -> dict[str, Any]:
    """Write a page about a model and the rows of a table."""
    model = load(arguments.model)
    detector = model.detector if isinstance(model, Monitor) else model
    check_alpha(detector, arguments)
    if arguments.alpha is not None:
        detector = with_alpha(detector, arguments.alpha)
        model = model.set_params(detector=detector) if isinstance(model, Monitor) else detector
    frame = read_table(arguments.table, sep=arguments.sep, as_text=text_columns(detector))
    names = _row_names(frame, arguments)
    y = None if arguments.label is None else _pop_labels(frame, arguments)
    X = model_columns(detector, frame, arguments)
    with rows_of(X.index):
        path = report(model, X, y, path=arguments.out, row_names=names)
    print(path)
    return {
        "model": str(arguments.model),
        "table": str(arguments.table),
        "out": str(path),
        "n_rows": len(frame),
    }


def _row_names(frame: pd.DataFrame, arguments: Namespace) -> list[str]:
    """Return the cells of ``--keep`` and the number of each row."""
    check_columns(frame, arguments.keep, arguments.table)
    kept = [[f"{name} {cell}" for cell in frame[name]] for name in arguments.keep]
    numbers = [f"row {number}" for number in frame.index]
    return [", ".join(parts) for parts in zip(*kept, numbers, strict=True)]


def _pop_labels(frame: pd.DataFrame, arguments: Namespace) -> NDArray:
    """Take the column of labels out of the table, and return +1 and -1, or classes."""
    check_columns(frame, [arguments.label], arguments.table)
    cells = frame.pop(arguments.label)
    if cells.isna().any():
        raise ValueError(
            f"{arguments.table} has no label in row {cells.index[cells.isna()][0]} of column"
            f" {arguments.label!r}. Give it one, or omit the row."
        )
    if arguments.label_normal is None:
        remedy = f"Name the one that marks normal rows, with --label-normal {cells.mode()[0]}."
        return read_labels(cells.to_numpy(), f"--label {arguments.label}", remedy)
    return np.where(find_normal(cells, arguments.label_normal, arguments.table), 1, -1)
