"""Read tables in chunks, and select their columns."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

CHUNK_VALUES = 5_000_000  # of a parquet or npy file in one chunk
CHUNK_ROWS = 50_000  # of a CSV file, whose width is unknown before it is read


def read_chunks(path: Path, *, sep: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of a table in chunks, whose index numbers all rows from 0.

    Columns of an array are named x0, x1 and so on, as in scikit-learn.

    Raises
    ------
    ValueError
        If the ending of the file name is not supported, or the file holds no row.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1].lower() if suffixes else ""
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".npy": _read_npy}
    if kind not in readers:
        raise ValueError(f"{path} must end in {', '.join(readers)}, or .csv.gz. Convert it first.")
    n_rows = 0
    for chunk in _naming_file(path, readers[kind](path, sep)):
        if chunk.empty:
            continue
        chunk.index = pd.RangeIndex(n_rows, n_rows + len(chunk))
        n_rows += len(chunk)
        yield chunk
    if n_rows == 0:
        raise ValueError(f"{path} holds no row.")


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


def _read_csv(path: Path, sep: str) -> Iterator[pd.DataFrame]:
    with pd.read_csv(path, sep=sep, chunksize=CHUNK_ROWS) as chunks:
        yield from chunks


def _read_parquet(path: Path, sep: str) -> Iterator[pd.DataFrame]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImportError(f"{path} needs pyarrow: pip install 'aedetect[parquet]'.") from error
    # These settings need the least memory.
    with ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        n_rows = max(1, CHUNK_VALUES // max(1, file.metadata.num_columns))
        for batch in file.iter_batches(batch_size=n_rows):
            yield batch.to_pandas()


def _read_npy(path: Path, sep: str) -> Iterator[pd.DataFrame]:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim < 2:
        raise ValueError(f"it must hold a table, but its shape is {array.shape}")
    rows = array.reshape(len(array), -1)  # each image becomes a row
    names = [f"x{number}" for number in range(rows.shape[1])]
    n_rows = max(1, CHUNK_VALUES // max(1, rows.shape[1]))
    for first in range(0, len(rows), n_rows):
        yield pd.DataFrame(np.array(rows[first : first + n_rows]), columns=names)


def read_numbers(path: Path, *, sep: str, drop: Sequence[str] = ()) -> pd.DataFrame:
    """Return a whole table as numbers, without the columns ``drop``."""
    chunks = read_chunks(path, sep=sep)
    return pd.concat([as_numbers(leave_out(chunk, drop, path), path) for chunk in chunks])


def leave_out(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> pd.DataFrame:
    """Return the table without some columns, which it must have."""
    check_columns(frame, columns, path)
    return frame.drop(columns=list(columns))


def as_numbers(frame: pd.DataFrame, path: Path, *, remedy: str | None = None) -> pd.DataFrame:
    """Return a table as float64, or refuse it if columns are not numeric.

    ``remedy`` ends the error message where ``--drop`` is no remedy.
    """
    not_numeric = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    if not_numeric:
        drop = f"Encode them, or leave them out with --drop {' '.join(map(str, not_numeric))}."
        row = _first_text_row(frame[not_numeric])
        raise ValueError(
            f"{path} has columns that are not numeric (row {row} and after):"
            f" {', '.join(map(str, not_numeric))}. {remedy or drop}"
        )
    return frame.astype(np.float64)


def _first_text_row(frame: pd.DataFrame) -> int:
    """Return the number of the first row with a value that is not a number."""
    is_number = frame.apply(pd.to_numeric, errors="coerce").notna()
    return (~is_number & frame.notna()).any(axis=1).idxmax()


def check_columns(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Raise a ValueError if the table lacks one of the columns."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has"
            f" {', '.join(map(str, frame.columns[:20]))}."
        )
