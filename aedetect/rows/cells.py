"""Chunks of tables as float32 arrays, with an error that names the first cell that is no number."""

from __future__ import annotations

from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

LONGEST = 40  # characters of a value that a message quotes


class Chunk(NamedTuple):
    """Some rows of a source, one after the other."""

    place: str  # of the file, or another name of the source, for messages
    first: int  # number of the first row within it
    frame: Any  # array, or frame of pandas, polars or Arrow


def names_of(chunk: Chunk) -> list[Any] | None:
    """Return the names of a chunk's columns; None for an array."""
    if isinstance(chunk.frame, np.ndarray):
        return None
    return list(nw.from_native(chunk.frame, eager_only=True).columns)


class Block(NamedTuple):
    """Rows of a chunk in float32; missing cells are NaN."""

    x: NDArray[np.float32]  # (n_rows, n_columns)
    low: NDArray[np.float32]  # minimum of each column; NaN where no cell is there
    high: NDArray[np.float32]
    has_missing: bool


def to_floats(chunk: Chunk, columns: list[Any]) -> Block:
    """Return some columns of a chunk.

    Raises
    ------
    ValueError
        If a cell is no number, or infinite in float32; it names file, row, column and value.
    """
    if isinstance(chunk.frame, np.ndarray):
        given = [_numeric(chunk.frame[:, number], number, chunk) for number in columns]
    elif isinstance(chunk.frame, pd.DataFrame) and _is_plain(chunk.frame):
        given = list(chunk.frame[columns].to_numpy(dtype=np.float64).T)  # fast
    elif isinstance(chunk.frame, pd.DataFrame):
        given = [_from_pandas(chunk.frame[name], name, chunk) for name in columns]
    else:
        frame = nw.from_native(chunk.frame, eager_only=True)
        given = [_from_series(frame.get_column(name), name, chunk) for name in columns]
    x = np.empty((len(chunk.frame), len(columns)), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # refused with their place below
        for number, column in enumerate(given):
            x[:, number] = column
    low, high = x.min(axis=0), x.max(axis=0)
    has_missing = bool(np.isnan(low).any())
    if has_missing:
        low, high = np.fmin.reduce(x, axis=0), np.fmax.reduce(x, axis=0)
    if np.isinf(low).any() or np.isinf(high).any():
        row, number = np.argwhere(np.isinf(x))[0]
        raise _infinite(given[number][row], int(row), columns[number], chunk)
    return Block(x, low, high, has_missing)


def _numeric(values: NDArray, name: Any, chunk: Chunk) -> NDArray:
    if values.dtype.kind not in "biuf":
        raise _no_number(values[0], 0, name, chunk)
    return values


def _is_plain(frame: pd.DataFrame) -> bool:
    """Return whether all columns hold NumPy's numbers."""
    return all(isinstance(kind, np.dtype) and kind.kind in "biuf" for kind in frame.dtypes)


def _from_pandas(column: pd.Series, name: Any, chunk: Chunk) -> NDArray:
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column):
        if isinstance(column.dtype, np.dtype):
            return column.to_numpy()
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    is_text = pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column)
    if not is_text:  # dates, categories
        raise _no_number(column.iloc[0], 0, name, chunk)
    numbers = pd.to_numeric(column, errors="coerce")
    bad = (numbers.isna() & column.notna()).to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise _no_number(column.iloc[row], row, name, chunk)
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def _from_series(column: nw.Series[Any], name: Any, chunk: Chunk) -> NDArray:
    if column.dtype in (nw.Float32, nw.Float64):
        return column.to_numpy()  # with NaN for null
    if column.dtype.is_numeric() or column.dtype == nw.Boolean:
        return column.cast(nw.Float64).to_numpy()
    there = (~column.is_null()).to_numpy()
    if not there.any():  # a column without any value may be of any type
        return np.full(len(column), np.nan)
    row = int(there.argmax())
    raise _no_number(column[row], row, name, chunk)


def _no_number(value: Any, row: int, name: Any, chunk: Chunk) -> ValueError:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return ValueError(
        f"Cells must be numbers, but {chunk.place} holds {text} in row {chunk.first + row}, column"
        f" {name!r}. Turn the column into numbers, or leave it out with drop=[{name!r}]."
    )


def _infinite(value: Any, row: int, name: Any, chunk: Chunk) -> ValueError:
    return ValueError(
        f"Cells must be finite numbers of float32, but {chunk.place} holds {value} in row"
        f" {chunk.first + row}, column {name!r}. Clip or divide the column, or put NaN there and"
        " treat the cell as missing."
    )
