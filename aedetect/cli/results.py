"""Write a table of results in chunks, in the format of the file name's ending."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from aedetect.atomic import atomic_write
from aedetect.extras import require

Write = Callable[[pd.DataFrame], None]


@contextmanager
def open_results(path: Path | None) -> Iterator[Write]:
    """Open a table for writing in chunks; the file appears once all chunks are written.

    Parameters
    ----------
    path : Path or None
        A file name that ends in .csv, .csv.gz or .parquet; None for CSV on stdout.

    Yields
    ------
    write : callable
        Writes one chunk, a DataFrame, whose index becomes the first column.

    Raises
    ------
    ImportError
        If the name ends in .parquet and pyarrow is not installed.
    """
    if path is None:
        yield _csv_writer(sys.stdout)
        return
    name = path.name.lower()
    with atomic_write(path) as file:
        if name.endswith(".parquet"):
            with closing(_ParquetWriter(file, path)) as writer:
                yield writer.write
        elif name.endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed:
                yield _csv_writer(compressed)
        else:
            yield _csv_writer(file)


def _csv_writer(file: Any) -> Write:
    with_names = True

    def write(table: pd.DataFrame) -> None:
        nonlocal with_names
        table.to_csv(file, header=with_names)
        with_names = False

    return write


class _ParquetWriter:
    """Write each chunk as a row group; the first chunk sets the types of the columns."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        require("parquet", str(path))
        import pyarrow
        import pyarrow.parquet

        self._pyarrow, self._file, self._path = pyarrow, file, path
        self._writer: Any = None

    def write(self, table: pd.DataFrame) -> None:
        chunk = self._as_arrow(table.reset_index())
        if self._writer is None:
            self._writer = self._pyarrow.parquet.ParquetWriter(self._file, chunk.schema)
        self._writer.write_table(chunk)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _as_arrow(self, table: pd.DataFrame) -> Any:
        schema = None if self._writer is None else self._writer.schema
        try:
            return self._pyarrow.Table.from_pandas(table, schema=schema, preserve_index=False)
        except (self._pyarrow.ArrowInvalid, self._pyarrow.ArrowTypeError) as error:
            raise ValueError(
                f"A column of {self._path} must hold values of one type, but a value in row"
                f" {table['row'].iloc[0]} or after it has another: {error}. Write a .csv file, or"
                " leave this column out of --keep."
            ) from error
