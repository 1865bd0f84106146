"""``aedetect report``: write a page about a model and a table."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from aedetect import load, report
from aedetect.cli.features import model_columns, text_columns
from aedetect.cli.tables import check_columns, read_table
from aedetect.reporting.subject import read_labels


def run(arguments: Namespace) -> dict[str, Any]:
    """Write a page about a model and the rows of a table."""
    model = load(arguments.model)
    frame = read_table(arguments.table, sep=arguments.sep, as_text=text_columns(model))
    label = arguments.label
    y = None
    if label is not None:
        check_columns(frame, [label], arguments.table)
        y = read_labels(frame.pop(label).to_numpy(), f"--label {label}")
    path = report(model, model_columns(model, frame, arguments), y, path=arguments.out)
    print(path)
    return {
        "model": str(arguments.model),
        "table": str(arguments.table),
        "out": str(path),
        "n_rows": len(frame),
    }
