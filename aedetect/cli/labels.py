"""Read the labels of rows from a column of a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aedetect.cli.features import as_levels
from aedetect.cli.tables import as_numbers, check_columns


def read_known(frame: pd.DataFrame, column: str, path: Path, *, remedy: str) -> pd.Series:
    """Return the labels of the rows that have one: +1 normal, -1 anomaly, or 0.

    Raises
    ------
    ValueError
        If the table lacks the column, or if a cell holds anything else. It names the cell, its row
        and the column; ``remedy`` ends the message.
    """
    check_columns(frame, [column], path)
    labels = as_numbers(frame[[column]].dropna(), path, remedy=remedy)[column]
    others = labels[~labels.isin([-1, 0, 1])]
    if len(others):
        raise ValueError(
            f"{path} holds {others.iloc[0]:g} in row {others.index[0]} of column {column!r}."
            f" {remedy}"
        )
    return labels.astype(np.int64)


def find_normal(cells: pd.Series, value: str, path: Path) -> NDArray[np.bool_]:
    """Return whether each cell holds the label of normal rows, ``--label-normal``.

    Raises
    ------
    ValueError
        If none does.
    """
    is_normal = (as_levels(cells, [value]) == value).to_numpy(dtype=bool)
    if not is_normal.any():
        values = ", ".join(map(str, cells.dropna().unique()[:5]))
        raise ValueError(
            f"No row has --label-normal {value}: column {cells.name!r} of {path} holds {values}."
        )
    return is_normal
