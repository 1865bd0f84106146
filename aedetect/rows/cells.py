"""Chunks of tables as float32 arrays: numbers, and numbers of levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aedetect.model import CellError, Level
from aedetect.places import PlaceError
from aedetect.rows.kinds import NUMBERS, as_numbers, as_objects, first_other, kind_of, plain_columns
from aedetect.rows.levels import MAX_STORED, LevelCodes

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


class Encoder:
    """Turns the chunks of a table into blocks. The first cells of a column set its kind.

    Parameters
    ----------
    columns : sequence
        Names of the columns; numbers for arrays.
    categorical : sequence
        Names of columns whose cells are levels, of whatever kind.
    levels : sequence of list or None, default=None
        Of every column, those that have a number already; None for numbers.

    Attributes
    ----------
    columns : list
    """

    def __init__(
        self,
        columns: Sequence[Any],
        categorical: Sequence[Any],
        levels: Sequence[list[Level] | None] | None = None,
    ) -> None:
        self.columns = list(columns)
        self._forced = set(categorical)
        self._kinds: dict[Any, str | None] = {}
        known = [None] * len(self.columns) if levels is None else levels
        self._codes = {
            name: LevelCodes(of_column or ())
            for name, of_column in zip(self.columns, known, strict=True)
            if of_column is not None or name in self._forced
        }

    @property
    def levels(self) -> list[list[Level] | None]:
        """The levels of every column by their numbers; None for numbers."""
        return [self._codes[name].levels if name in self._codes else None for name in self.columns]

    def encode(self, chunk: Chunk) -> Block:
        """Return the columns of a chunk.

        Raises
        ------
        PlaceError
            If a cell is neither number nor level, is infinite in float32, or of another kind than
            those above it; it names file, row, column and value.
        """
        given = self._cells_of(chunk)
        x = np.empty((len(chunk.frame), len(self.columns)), dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # refused with their place below
            for number, column in enumerate(given):
                x[:, number] = column
        low, high = x.min(axis=0), x.max(axis=0)
        has_missing = bool(np.isnan(low).any())
        if has_missing:
            low, high = np.fmin.reduce(x, axis=0), np.fmax.reduce(x, axis=0)
        for number in np.flatnonzero(~np.isnan(low)):
            self._kinds.setdefault(self.columns[number], NUMBERS)  # unless it has another
        if np.isinf(low).any() or np.isinf(high).any():
            row, number = np.argwhere(np.isinf(x))[0]
            raise _infinite(given[number][row], chunk, int(row), number, self.columns[number])
        return Block(x, low, high, has_missing)

    def _cells_of(self, chunk: Chunk) -> list[NDArray]:
        frame, columns = chunk.frame, self.columns
        if not self._codes and (plain := plain_columns(frame, columns)) is not None:
            return plain
        if isinstance(frame, np.ndarray):
            given: list[Any] = [frame[:, number] for number in columns]
        elif isinstance(frame, pd.DataFrame):
            given = [frame[name] for name in columns]
        else:
            frame = nw.from_native(frame, eager_only=True)
            given = [frame.get_column(name) for name in columns]
        return [
            self._encode(cells, name, number, chunk)
            for number, (cells, name) in enumerate(zip(given, columns, strict=True))
        ]

    def _encode(self, cells: Any, name: Any, number: int, chunk: Chunk) -> NDArray:
        """Return the cells of a column as numbers."""
        if name not in self._forced:
            kind = kind_of(cells)
            if kind is None:
                values = as_objects(cells)
                there = ~pd.isna(values)
                if there.any():
                    row = int(there.argmax())
                    raise _no_number(values[row], chunk, row, number, name)
                return np.full(len(values), np.nan)
            self._check_kind(kind, cells, name, number, chunk)
            if name not in self._codes:
                return as_numbers(cells)
        return self._as_codes(cells, name, number, chunk)

    def _check_kind(self, kind: str, cells: Any, name: Any, number: int, chunk: Chunk) -> None:
        """Refuse another kind than that of the cells above; note that a column holds levels."""
        before = self._kinds.get(name)
        if before is None and kind != NUMBERS:
            self._kinds[name] = kind
            self._codes.setdefault(name, LevelCodes())
        if before in (None, kind):
            return
        values = as_objects(cells)
        there = ~pd.isna(values)
        if there.any():
            row = first_other(values, there, before)
            raise _other_kind(values[row], before, chunk, row, number, name)

    def _as_codes(self, cells: Any, name: Any, number: int, chunk: Chunk) -> NDArray[np.float32]:
        try:
            codes = self._codes[name].encode(as_objects(cells))
        except CellError as error:
            raise _no_number(error.cell, chunk, error.place, number, name) from error
        if len(self._codes[name].levels) > MAX_STORED:
            raise _too_many(chunk, int(np.nanargmax(codes)), number, name)
        return codes


# Errors.


def _refusal(rule: str, row: int, chunk: Chunk, number: int, name: Any) -> PlaceError:
    """Return an error whose row is that of the file."""
    error = PlaceError(rule, row=chunk.first + row, column=number)
    error.column_name = name
    return error


def _no_number(value: Any, chunk: Chunk, row: int, number: int, name: Any) -> PlaceError:
    rule = (
        f"Cells must be numbers, text, true or false, but {chunk.place} holds {_quoted(value)} in"
        " row {row}, column {column}. Turn the column into one of these, or leave it out with"
        " drop=[{column}]."
    )
    return _refusal(rule, row, chunk, number, name)


def _other_kind(
    value: Any, kind: str, chunk: Chunk, row: int, number: int, name: Any
) -> PlaceError:
    rule = (
        f"A column must hold numbers, text, or true and false, but {chunk.place} holds"
        f" {_quoted(value)} in row {{row}}, column {{column}}, below {kind}. If its cells are"
        " categories, open the rows with categorical=[{column}]. Else change the cell, or leave"
        " the column out with drop=[{column}]."
    )
    return _refusal(rule, row, chunk, number, name)


def _too_many(chunk: Chunk, row: int, number: int, name: Any) -> PlaceError:
    rule = (
        f"Column {{column}} has more than {MAX_STORED:,} levels, counted to row {{row}} of"
        f" {chunk.place}: it identifies rows, and no level is usual. Leave it out with"
        " drop=[{column}]. If it holds numbers as text, convert it."
    )
    return _refusal(rule, row, chunk, number, name)


def _infinite(value: Any, chunk: Chunk, row: int, number: int, name: Any) -> PlaceError:
    rule = (
        f"Cells must be finite numbers of float32, but {chunk.place} holds {value} in row {{row}},"
        " column {column}. Clip or divide the column, or put NaN there and treat the cell as"
        " missing."
    )
    return _refusal(rule, row, chunk, number, name)


def _quoted(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
