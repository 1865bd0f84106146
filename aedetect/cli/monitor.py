"""``aedetect monitor``: one line of JSON for every alarm that the rows of a table raise."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from pandas import DataFrame

from aedetect import ConformalDetector, Monitor, load, save
from aedetect.cli.features import model_columns, text_columns
from aedetect.cli.following import follow
from aedetect.cli.tables import first_row_of, read_chunks
from aedetect.places import rows_of


def run(arguments: Namespace) -> dict[str, Any]:
    """Monitor the rows of a table, and print alarms as they come."""
    monitor = _monitor(arguments)
    for chunk in _chunks(monitor, arguments):
        X = model_columns(monitor.detector, chunk, arguments)
        with rows_of(X.index):
            alarms = monitor.update(X)
        for alarm in alarms:
            _print({"event": "alarm", **alarm._asdict(), "message": str(alarm)})
        if arguments.out is not None:
            save(monitor, arguments.out)
    if not arguments.follow:
        status = monitor.status()
        _print({"event": "status", **status.to_dict(), "message": str(status)})
    return {}


def _monitor(arguments: Namespace) -> Monitor:
    """Return the monitor in the file, or a new one of the detector in it."""
    model = load(arguments.model)
    given = {"alpha": arguments.alpha, "random_state": arguments.seed}
    settings = {name: value for name, value in given.items() if value is not None}
    if isinstance(model, ConformalDetector):
        return Monitor(model, **settings)
    if not isinstance(model, Monitor):
        raise ValueError(
            f"{arguments.model} has no calibration rows to compare new rows with. Fit it again"
            " without --calibration 0."
        )
    if settings:
        raise ValueError(
            f"{arguments.model} holds a monitor that goes on with alpha={model.alpha:g} and its own"
            " random numbers: leave out --alpha and --seed."
        )
    return model


def _chunks(monitor: Monitor, arguments: Namespace) -> Iterator[DataFrame]:
    """Yield the rows of the table after those of ``--skip``, numbered in the table."""
    as_text = text_columns(monitor.detector)
    first = first_row_of(arguments.table) + arguments.skip
    read = follow if arguments.follow else read_chunks
    for chunk in read(arguments.table, sep=arguments.sep, as_text=as_text):
        rest = chunk[chunk.index >= first]
        if len(rest):
            yield rest


def _print(event: dict[str, Any]) -> None:
    print(json.dumps(event, default=_plain), flush=True)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
