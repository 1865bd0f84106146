"""``aedetect report``: write a page about a model and a table."""

from __future__ import annotations

from argparse import Namespace

from aedetect import Monitor, load, report
from aedetect.cli.features import model_columns, text_columns
from aedetect.cli.tables import check_columns, read_table
from aedetect.reporting.subject import read_labels


def run(arguments: Namespace) -> None:
    """Write a page about a model and the rows of a table."""
    model = load(arguments.model)
    detector = model.detector if isinstance(model, Monitor) else model
    frame = read_table(arguments.table, sep=arguments.sep, as_text=text_columns(detector))
    label = arguments.label
    y = None
    if label is not None:
        check_columns(frame, [label], arguments.table)
        y = read_labels(frame.pop(label).to_numpy(), f"--label {label}")
    print(report(model, model_columns(detector, frame, arguments), y, path=arguments.out))
