"""Sources of rows: files, tables in memory, and callables, each read in chunks."""

from __future__ import annotations

import os
import tokenize
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from aedetect.extras import require
from aedetect.places import PlaceError
from aedetect.rows.cells import Chunk
from aedetect.rows.columns import ColumnError, Selection

CHUNK_VALUES = 2**19  # of a chunk, which the processor's cache should hold
CHUNK_ROWS = 2**16  # of a chunk, at most
UNREADABLE = (  # errors of the readers about files that are damaged or cut short
    *(ValueError, OSError, EOFError, NotImplementedError, pd.errors.ParserWarning),
    *(zlib.error, tokenize.TokenError),
)
PathLike = str | os.PathLike[str]
Read = Callable[[Path, Selection, str | None], Iterator[Any]]  # yields frames; takes a separator


class Source(NamedTuple):
    """Rows that can be read from the beginning, more than once."""

    name: str  # a part of the name of the cache
    identity: list[Any]  # plain values that tell one source from another
    is_files: bool  # whether sizes and times tell that the content is another
    read: Callable[[Selection], Iterator[Chunk]]


def make_source(given: Any, sep: str | None = None) -> Source:
    """Return the source of paths, a table, a dataset or a callable.

    ``sep`` separates the cells of CSV files.

    Raises
    ------
    TypeError
        If ``given`` is something else.
    ValueError
        If a path has another ending than those that are supported, or there is none.
    FileNotFoundError
        If a file does not exist.
    """
    if isinstance(given, str | os.PathLike):
        given = [given]
    if isinstance(given, Sequence) and all(isinstance(p, str | os.PathLike) for p in given):
        readers = {Path(path): _reader_of(Path(path)) for path in given}
        return files_source(
            list(map(Path, given)), lambda p, selection: readers[p](p, selection, sep)
        )
    if hasattr(given, "with_format") and hasattr(given, "iter"):  # a Hugging Face dataset
        mark = getattr(given, "_fingerprint", None)
        return Source("dataset", ["dataset", mark], False, lambda s: _read_dataset(given, s))
    if nw.dependencies.is_into_dataframe(given):
        return Source("table", ["table"], False, lambda s: _read_frames("the table", [given], s))
    if callable(given):
        name = f"{given.__module__}.{getattr(given, '__qualname__', type(given).__qualname__)}"
        return Source("callable", ["callable", name], False, lambda s: _read_called(given, s))
    if hasattr(given, "__next__"):
        raise TypeError(
            "open_rows takes a callable that returns an iterator of frames, but it was given the"
            " iterator itself, which can be read once. Pass the function that makes it."
        )
    raise TypeError(
        "open_rows takes paths, a frame, a Hugging Face dataset or a callable that returns an"
        f" iterator of frames, but it was given {type(given).__name__}."
    )


# Files.


def files_source(paths: list[Path], frames: Callable[[Path, Selection], Iterator[Any]]) -> Source:
    """Return the source of files, each read by ``frames``, which must choose its columns."""
    if not paths:
        raise ValueError("open_rows needs one path or more, but the sequence of paths is empty.")
    stamps = [_stamp(path) for path in paths]
    if len({stamp[0] for stamp in stamps}) < len(paths):
        raise ValueError(f"A file is given twice: {', '.join(map(str, paths))}. Give each once.")

    def read(selection: Selection) -> Iterator[Chunk]:
        for path, stamp in zip(paths, stamps, strict=True):
            yield from _read_file(path, stamp, frames(path, selection))

    return Source(paths[0].name.split(".")[0], stamps, True, read)


def _stamp(path: Path) -> list[Any]:
    """Return path, size and time of the last change."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _read_file(path: Path, stamp: list[Any], frames: Iterator[Any]) -> Iterator[Chunk]:
    """Yield the chunks of a file, which must stay as it is meanwhile."""
    n_rows = 0
    while (frame := _next_frame(frames, path, stamp, n_rows)) is not None:
        yield Chunk(str(path), n_rows, frame)
        n_rows += len(frame)
    if not _is_as_before(path, stamp):
        raise _changed(path, n_rows)
    if n_rows == 0:
        raise ValueError(f"{path} has no rows. Leave it out.")


def _next_frame(chunks: Iterator[Any], path: Path, stamp: list[Any], n_rows: int) -> Any:
    """Return the next chunk that is not empty, or None."""
    try:
        with warnings.catch_warnings():  # of rows that are longer than the header
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return next((frame for frame in chunks if len(frame)), None)
    except (ColumnError, PlaceError):
        raise
    except UNREADABLE as error:
        if not _is_as_before(path, stamp):
            raise _changed(path, n_rows) from error
        after = f" after row {n_rows - 1}" if n_rows else ""
        raise ValueError(f"{path} cannot be read{after}: {str(error).strip(' .')}.") from error


def _changed(path: Path, n_rows: int) -> ValueError:
    return ValueError(
        f"{path} was changed or removed while it was read, after row {n_rows}. Open the rows"
        " again once it is complete."
    )


def _is_as_before(path: Path, stamp: list[Any]) -> bool:
    try:
        return _stamp(path) == stamp
    except OSError:
        return False


def _reader_of(path: Path) -> Read:
    endings = [ending.lower() for ending in path.suffixes if ending != ".gz"]
    ending = endings[-1] if endings else ""
    if ending not in READERS:
        raise ValueError(
            f"{path} must end in {', '.join(READERS)} or .csv.gz. Convert it, or pass a callable"
            " that returns an iterator of frames."
        )
    return READERS[ending]


def _read_parquet(path: Path, selection: Selection, sep: str | None) -> Iterator[Any]:
    require("parquet", str(path))
    from pyarrow import Table
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        columns = selection.choose(file.schema_arrow.names, str(path))
        size = chunk_rows(len(columns))
        for batch in file.iter_batches(batch_size=size, columns=columns, use_threads=False):
            yield Table.from_batches([batch])


def _read_csv(path: Path, selection: Selection, sep: str | None) -> Iterator[pd.DataFrame]:
    sep = sep or ("\t" if ".tsv" in [ending.lower() for ending in path.suffixes] else ",")
    if path.stat().st_size == 0:
        return
    names = pd.read_csv(path, sep=sep, nrows=0).columns.tolist()
    selection.choose(names, str(path))
    size, as_text = chunk_rows(len(names)), dict.fromkeys(selection.categorical, str)
    # Without low_memory, pandas sets one type for all cells of a column of a chunk. With usecols,
    # it would pass over rows that are too long.
    options: dict[str, Any] = {"sep": sep, "index_col": False, "low_memory": False}
    first = pd.read_csv(path, nrows=size, dtype=as_text, **options)
    as_text |= dict.fromkeys(first.select_dtypes("str").columns, str)  # as written in all chunks
    with pd.read_csv(path, chunksize=size, dtype=as_text, **options) as chunks:
        yield from chunks


def _read_npy(path: Path, selection: Selection, sep: str | None) -> Iterator[np.ndarray]:
    # Not a memory map: a file that is cut short meanwhile would end the process.
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            header = np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = header(file)
        if len(shape) < 2 or by_columns or dtype.kind not in "biuf":
            raise ValueError(
                f"it must hold numbers in rows, but it holds {dtype} of shape {shape}"
                f"{' column by column' if by_columns else ''}. Save np.ascontiguousarray(X)"
            )
        width = int(np.prod(shape[1:]))  # each image becomes a row
        selection.choose(range(width), str(path))
        size = chunk_rows(width)
        for first in range(0, shape[0], size):
            n_rows = min(size, shape[0] - first)
            values = np.fromfile(file, dtype, n_rows * width)
            if len(values) < n_rows * width:
                raise ValueError(f"it ends in row {first + len(values) // width} of {shape[0]}")
            yield values.reshape(n_rows, width)


READERS: dict[str, Read] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".npy": _read_npy,
}


def chunk_rows(n_columns: int) -> int:
    """Return how many rows are converted at a time."""
    return max(1, min(CHUNK_ROWS, CHUNK_VALUES // n_columns))


# Tables in memory, and frames that are made as they are read.


def _read_dataset(dataset: Any, selection: Selection) -> Iterator[Chunk]:
    frames = dataset.with_format("arrow").iter(batch_size=CHUNK_ROWS // 8)
    return _read_frames("the dataset", frames, selection)


def _read_called(function: Callable[[], Any], selection: Selection) -> Iterator[Chunk]:
    frames = function()
    if not hasattr(frames, "__iter__"):
        raise TypeError(
            f"The callable must return an iterator of frames, but it returned"
            f" {type(frames).__name__}."
        )
    return _read_frames("the callable's result", frames, selection)


def _read_frames(place: str, frames: Any, selection: Selection) -> Iterator[Chunk]:
    n_rows = 0
    for number, frame in enumerate(frames):
        frame = _as_known(frame, place, number)
        for first in range(0, len(frame), chunk_rows(frame.shape[1] or 1)):
            part = frame[first : first + chunk_rows(frame.shape[1])]
            if isinstance(part, np.ndarray):
                selection.choose(range(part.shape[1]), place)
            else:
                selection.choose(part.columns, place)
                part = part.to_native()
            yield Chunk(place, n_rows, part)
            n_rows += len(part)
    if n_rows == 0:
        raise ValueError(f"There are no rows in {place}.")


def _as_known(frame: Any, place: str, number: int) -> Any:
    """Return an array, or a frame of narwhals."""
    if hasattr(frame, "__arrow_c_array__") and hasattr(frame, "schema"):
        import pyarrow as pa

        frame = pa.table(frame)
    if isinstance(frame, np.ndarray) and frame.ndim == 2:
        return frame
    if nw.dependencies.is_into_dataframe(frame):
        return nw.from_native(frame, eager_only=True)
    shape = f" of shape {frame.shape}" if isinstance(frame, np.ndarray) else ""
    raise TypeError(
        f"Frames must be of pandas, polars or Arrow, or arrays of two dimensions, but number"
        f" {number} of {place} is {type(frame).__name__}{shape}."
    )
