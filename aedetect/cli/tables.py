"""Tables, read and written a part at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

CHUNK_VALUES = 5_000_000  # read at a time
CHUNK_ROWS = 50_000  # of a CSV file, whose width is known only once it is read


def read_chunks(path: Path, *, sep: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of a table, some at a time, numbered from 0 by their index.

    Columns of an array are called x0, x1 and so on, as scikit-learn has it.

    Raises
    ------
    ValueError
        If the file's name does not end in one of the known ways, or it holds no row.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1].lower() if suffixes else ""
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".npy": _read_npy}
    if kind not in readers:
        raise ValueError(f"{path} must end in {', '.join(readers)}, or .csv.gz. Convert it first.")
    n_rows = 0
    for chunk in _named(path, readers[kind](path, sep)):
        if chunk.empty:
            continue
        chunk.index = pd.RangeIndex(n_rows, n_rows + len(chunk))
        n_rows += len(chunk)
        yield chunk
    if n_rows == 0:
        raise ValueError(f"{path} holds no row.")


def _named(path: Path, chunks: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield the same; errors of the libraries that read them name the file and the remedy."""
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
    # Settings that need the least memory.
    with ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        n_rows = max(1, CHUNK_VALUES // max(1, file.metadata.num_columns))
        for batch in file.iter_batches(batch_size=n_rows):
            yield batch.to_pandas()


def _read_npy(path: Path, sep: str) -> Iterator[pd.DataFrame]:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim < 2:
        raise ValueError(f"it must hold a table, but its shape is {array.shape}")
    rows = array.reshape(len(array), -1)  # an image is a row
    names = [f"x{number}" for number in range(rows.shape[1])]
    n_rows = max(1, CHUNK_VALUES // max(1, rows.shape[1]))
    for first in range(0, len(rows), n_rows):
        yield pd.DataFrame(np.array(rows[first : first + n_rows]), columns=names)


def read_numbers(path: Path, *, sep: str, drop: Sequence[str] = ()) -> pd.DataFrame:
    """Return a whole table of numbers, less some columns."""
    chunks = read_chunks(path, sep=sep)
    return pd.concat([numbers(leave_out(chunk, drop, path), path) for chunk in chunks])


def leave_out(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> pd.DataFrame:
    """Return the other columns."""
    check_columns(frame, columns, path)
    return frame.drop(columns=list(columns))


def numbers(frame: pd.DataFrame, path: Path, *, remedy: str | None = None) -> pd.DataFrame:
    """Return the same values as float64, once all columns are known to be numeric.

    ``remedy`` says what to do about others where ``--drop`` cannot leave them out.
    """
    others = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    if others:
        drop = f"Encode them, or leave them out with --drop {' '.join(map(str, others))}."
        raise ValueError(
            f"{path} has columns that are not numeric (row {_first_word(frame[others])} and after):"
            f" {', '.join(map(str, others))}. {remedy or drop}"
        )
    return frame.astype(np.float64)


def _first_word(frame: pd.DataFrame) -> int:
    """Return the first row with a value that is no number."""
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
