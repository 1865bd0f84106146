"""Read the rows of a CSV file as another program appends them."""

from __future__ import annotations

import io
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from aedetect.cli.tables import FIRST_ROW

PAUSE = 0.5  # seconds between two looks at the file
MOST = 2**24  # bytes that are read at a time


def follow(path: Path, *, sep: str, as_text: Collection[str] = ()) -> Iterator[pd.DataFrame]:
    """Yield the rows that are in a CSV file and those that are appended to it, without end.

    A row counts once its line ends. The index numbers rows as a spreadsheet does.

    Parameters
    ----------
    path : Path
        Its first line names the columns.
    sep, as_text
        As in :func:`aedetect.cli.tables.read_chunks`.

    Raises
    ------
    ValueError
        If it is not a plain CSV file, or becomes shorter.
    """
    if path.suffix.lower() != ".csv":
        raise ValueError(f"--follow reads a .csv file as it grows, but {path} is no .csv file.")
    header, n_rows = b"", 0
    types = dict.fromkeys(as_text, str)
    for lines in _new_lines(path):
        if not header:
            header, _, lines = lines.partition(b"\n")
        if lines.strip():
            text = io.BytesIO(header + b"\n" + lines)
            try:
                chunk = pd.read_csv(text, sep=sep, dtype=types, low_memory=False)
            except ValueError as error:  # ParserError is one
                place = f"after row {FIRST_ROW + n_rows - 1}" if n_rows else "in its first rows"
                raise ValueError(f"{path} cannot be read {place}: {error}") from error
            chunk.index = pd.RangeIndex(n_rows, n_rows + len(chunk)) + FIRST_ROW
            n_rows += len(chunk)
            yield chunk


def _new_lines(path: Path) -> Iterator[bytes]:
    """Yield whole lines as they come, and wait for more."""
    rest, position = b"", 0
    with path.open("rb") as file:
        while True:
            if path.stat().st_size < position:
                raise ValueError(
                    f"{path} has become shorter: rows were removed, or another file has its name."
                    " Start again, with --skip for the rows that are known."
                )
            new = file.read(MOST)
            position += len(new)
            rest += new
            end = rest.rfind(b"\n") + 1
            if end and rest[:end].count(b'"') % 2 == 0:  # else a quoted cell goes on
                yield rest[:end]
                rest = rest[end:]
            if not new:
                time.sleep(PAUSE)
