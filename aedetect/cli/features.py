"""Select the columns of a table that a model scores."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Hashable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from aedetect import Monitor, load
from aedetect.cli.tables import as_numbers, check_cells, check_columns, leave_out
from aedetect.model import CellError, Level, keys_of
from aedetect.rows import ColumnError
from aedetect.scoring import Detector

_REMEDY = "The model was fitted to numbers in this column: put a number there, or omit the row."
_COMPLETE = (
    "The model takes complete rows: put a number there, omit the row, or fit again with"
    " --set missing=mask."
)


def load_detector(path: Path) -> Any:
    """Return the estimator in a model file, of a monitor its detector."""
    model = load(path)
    return model.detector if isinstance(model, Monitor) else model


def model_columns(model: Any, frame: pd.DataFrame, arguments: Namespace) -> pd.DataFrame:
    """Return the columns that a model was fitted to: numbers, and levels as the model has them.

    They are matched by name. A model that was fitted to an array has no names, and takes all
    columns except those of ``--drop``.

    Raises
    ------
    ValueError
        If columns are missing, if a cell of a column of numbers is no number or, unless the model
        takes it, is missing, or if the number of columns is wrong for a model without names.
    """
    frame = leave_out(frame, arguments.drop, arguments.table)
    if hasattr(model, "feature_names_in_"):
        names = list(model.feature_names_in_)
        check_columns(frame, names, arguments.table)
        frame = frame[names]
    elif frame.shape[1] != model.n_features_in_:
        raise ColumnError(
            f"{arguments.model} was fitted to {model.n_features_in_} columns without names, but"
            f" {arguments.table} has {frame.shape[1]}: {', '.join(map(str, frame.columns[:20]))}."
            " Leave the others out with --drop."
        )
    levels = {frame.columns[column]: known for column, known in levels_of(model).items()}
    numbers = as_numbers(frame.drop(columns=list(levels)), arguments.table, remedy=_REMEDY)
    takes_missing = all(detector.model.takes_missing for detector in _detectors(model))
    check_cells(numbers, arguments.table, takes_missing=takes_missing, remedy=_COMPLETE)
    if not levels:
        return numbers
    coded = {name: as_levels(frame[name], known) for name, known in levels.items()}
    return pd.DataFrame({**numbers, **coded}, index=frame.index)[list(frame)]


def text_columns(model: Any) -> list[str]:
    """Return the names of the columns that hold categories, whose cells are read as written."""
    names = getattr(model, "feature_names_in_", None)
    return [] if names is None else [names[column] for column in levels_of(model)]


def levels_of(model: Any) -> dict[int, list[Level]]:
    """Return the levels that a model was fitted to, by the number of their column.

    Those of all detectors, where there is one a fold.
    """
    levels: dict[int, list[Level]] = {}
    for detector in _detectors(model):
        coding = detector.model.columns.coding
        for column, categories in () if coding is None else coding.categories.items():
            levels.setdefault(column, []).extend(categories.levels)
    return levels


def _detectors(model: Any) -> Iterator[Detector]:
    if hasattr(model, "estimators_"):
        for inner in model.estimators_:
            yield from _detectors(inner)
    else:
        yield model.detector_


def as_levels(cells: pd.Series, levels: list[Level]) -> pd.Series:
    """Return the levels that the cells of a file stand for, whatever type the file gave them.

    Without the other rows of the training file, a part of a column may be of another type: 1 and 2
    stand for the levels "1" and "2" of a column that also held "x". Cells that stand for no level
    stay as they are.
    """
    known = set(keys_of(levels))
    cells = cells.astype(object) if isinstance(cells.dtype, pd.CategoricalDtype) else cells
    if cells.dtype == object:
        return cells.map(lambda cell: _as_level(cell, known), na_action="ignore")
    return cells.map({cell: _as_level(cell, known) for cell in cells.dropna().unique().tolist()})


def _as_level(cell: Any, known: set[Hashable]) -> Any:
    with suppress(CellError):  # the estimator names its place
        for reading in (cell, *_other_readings(cell)):
            if keys_of([reading])[0] in known:
                return reading
    return cell


def _other_readings(cell: Any) -> Iterator[Level]:
    if isinstance(cell, str):
        if cell.lower() in ("true", "false"):
            yield cell.lower() == "true"
        with suppress(ValueError):
            if math.isfinite(float(cell)):
                yield float(cell)
    elif isinstance(cell, bool):
        yield from (str(cell), str(cell).lower(), str(cell).upper())
    elif isinstance(cell, int | float):
        yield str(cell)
        if cell == math.floor(cell):
            yield str(int(cell))
