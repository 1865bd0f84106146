"""Read tables in chunks, and select their columns."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aedetect.extras import require
from aedetect.rows import ColumnError

CHUNK_VALUES = 5_000_000  # of a parquet or npy file in one chunk
CHUNK_ROWS = 50_000  # of a CSV file, whose width is unknown before it is read
FIRST_ROW = 2  # as a spreadsheet numbers rows: the names of the columns are row 1


def read_chunks(path: Path, *, sep: str, as_text: Collection[str] = ()) -> Iterator[pd.DataFrame]:
    """Yield the rows of a table in chunks, whose index numbers all rows as a spreadsheet does.

    The names of the columns are row 1. The rows of an array, which has no names, are numbered from
    0, and its columns are named x0, x1 and so on, as in scikit-learn.

    Parameters
    ----------
    path : Path
    sep : str
        Separator of a CSV file. That of a ``.tsv`` file is a tab.
    as_text : collection of str, default=()
        Columns of a CSV file whose cells are kept as written. Each chunk sets the types of all
        others. Files of other formats have types of their own.

    Raises
    ------
    ValueError
        If the ending of the file name is not supported, or the file holds no row.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1].lower() if suffixes else ""
    readers = {
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".parquet": _read_parquet,
        ".npy": _read_npy,
    }
    if kind not in readers:
        raise ValueError(f"{path} must end in {', '.join(readers)}, or .csv.gz. Convert it first.")
    first = row = first_row_of(path)
    for chunk in _naming_file(path, readers[kind](path, "\t" if kind == ".tsv" else sep, as_text)):
        if chunk.empty:
            continue
        chunk.index = pd.RangeIndex(row, row + len(chunk))
        row += len(chunk)
        yield chunk
    if row == first:
        raise ValueError(f"{path} holds no row.")


def first_row_of(path: Path) -> int:
    """Return the number of the first row of a table in messages and results."""
    return 0 if path.suffix.lower() == ".npy" else FIRST_ROW


def _naming_file(path: Path, chunks: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield the chunks; let errors of the reading library name the file and the remedy."""
    try:
        yield from chunks
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(
            f"{path} is not encoded in UTF-8: it holds the byte 0x{byte:02x}. Convert it, with"
            f" iconv -f latin1 -t utf-8 {path} for example if it is in Latin-1."
        ) from error
    except pd.errors.EmptyDataError as error:
        raise ValueError(
            f"{path} is empty: {error}. It must begin with a line of column names."
        ) from error
    except (ValueError, OSError, EOFError, zlib.error) as error:
        if getattr(error, "filename", None) is not None:
            raise
        raise ValueError(f"{path} cannot be read: {str(error).strip(' .')}.") from error


def _read_csv(path: Path, sep: str, as_text: Collection[str]) -> Iterator[pd.DataFrame]:
    types = dict.fromkeys(as_text, str)
    # low_memory would set types by smaller parts of a chunk.
    with pd.read_csv(path, sep=sep, chunksize=CHUNK_ROWS, dtype=types, low_memory=False) as chunks:
        yield from chunks


def _read_parquet(path: Path, sep: str, as_text: Collection[str]) -> Iterator[pd.DataFrame]:
    require("parquet", str(path))
    from pyarrow.parquet import ParquetFile

    # These settings need the least memory.
    with ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        n_rows = max(1, CHUNK_VALUES // max(1, file.metadata.num_columns))
        for batch in file.iter_batches(batch_size=n_rows):
            yield batch.to_pandas()


def _read_npy(path: Path, sep: str, as_text: Collection[str]) -> Iterator[pd.DataFrame]:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim < 2:
        raise ValueError(f"it must hold a table, but its shape is {array.shape}")
    rows = array.reshape(len(array), -1)  # each image becomes a row
    dtype = np.float64 if rows.dtype == bool else None  # true and false in arrays are numbers
    names = [f"x{number}" for number in range(rows.shape[1])]
    n_rows = max(1, CHUNK_VALUES // max(1, rows.shape[1]))
    for first in range(0, len(rows), n_rows):
        yield pd.DataFrame(np.array(rows[first : first + n_rows], dtype), columns=names)


def read_table(path: Path, *, sep: str, as_text: Collection[str] = ()) -> pd.DataFrame:
    """Return a whole table.

    A column of a CSV file holds numbers if all of its cells are numbers, and true and false if all
    of its cells are these. All other columns hold text, as written. Missing cells do not matter.
    """
    chunks = list(read_chunks(path, sep=sep, as_text=as_text))
    mixed = [str(name) for name in chunks[0] if len({_kind(c[name]) for c in chunks} - {None}) > 1]
    if mixed:
        chunks = list(read_chunks(path, sep=sep, as_text=[*as_text, *mixed]))
    table = pd.concat(chunks)
    categorical = chunks[0].select_dtypes("category").columns
    return table.astype(dict.fromkeys(categorical, "category"))  # of all chunks


def _kind(cells: pd.Series) -> str | None:
    """Return the kind of the cells of a chunk, None if all are missing."""
    if cells.isna().all():
        return None
    if pd.api.types.is_bool_dtype(cells.dtype):
        return "boolean"
    if pd.api.types.is_numeric_dtype(cells.dtype):
        return "number"
    if cells.dtype == object and pd.api.types.infer_dtype(cells, skipna=True) == "boolean":
        return "boolean"
    return "text"


def leave_out(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> pd.DataFrame:
    """Return the table without some columns, which it must have."""
    check_columns(frame, columns, path)
    return frame.drop(columns=list(columns))


def with_floats(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its numbers as float64; all other columns are as they are."""
    is_number = pd.api.types.is_numeric_dtype
    others = [name for name in frame if not is_number(frame[name]) or frame[name].dtype == bool]
    if not others:
        return frame.astype(np.float64)
    return frame.astype(dict.fromkeys(frame.columns.drop(others), np.float64))


def as_numbers(frame: pd.DataFrame, path: Path, *, remedy: str) -> pd.DataFrame:
    """Return a table as float64; ``remedy`` ends the error message.

    Raises
    ------
    ValueError
        If a cell is no number. It names the cell, its row and its column.
    """
    frame = frame.copy()
    for name in frame:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = _parse_numbers(frame[name], path, remedy)
    return frame.astype(np.float64)


def check_cells(numbers: pd.DataFrame, path: Path, *, takes_missing: bool, remedy: str) -> None:
    """Refuse infinite cells, and missing ones unless the model takes them.

    Raises
    ------
    ValueError
        If there is such a cell. It names the first in the order of the file; ``remedy`` ends the
        message on a missing one.
    """
    cells = numbers.to_numpy()
    if np.isinf(cells).any():
        row, column = np.argwhere(np.isinf(cells))[0]
        raise ValueError(
            f"{path} holds infinity in row {numbers.index[row]} of column"
            f" {numbers.columns[column]!r}. Put a finite number there, or omit the row."
        )
    missing = np.isnan(cells)
    if missing.any() and not takes_missing:
        row, column = np.argwhere(missing)[0]
        raise ValueError(
            f"{path} has no value in row {numbers.index[row]} of column"
            f" {numbers.columns[column]!r}. {remedy}"
        )


def _parse_numbers(cells: pd.Series, path: Path, remedy: str) -> pd.Series:
    numbers = pd.to_numeric(cells.astype(object), errors="coerce")  # dates become NaN as objects
    refused = cells[numbers.isna() & cells.notna()]
    if len(refused):
        raise ColumnError(
            f"{path} holds {str(refused.iloc[0])!r:.40} in row {refused.index[0]} of column"
            f" {cells.name!r}. {remedy}"
        )
    return numbers


def check_columns(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Raise a ValueError if the table lacks one of the columns."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ColumnError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has"
            f" {', '.join(map(str, frame.columns[:20]))}."
        )
