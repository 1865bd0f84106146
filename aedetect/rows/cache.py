"""The cache: one file of float32 rows with a description, written at once or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from aedetect.atomic import atomic_write
from aedetect.model import Level
from aedetect.rows.cells import Block, Chunk, Encoder, names_of
from aedetect.rows.columns import Selection
from aedetect.rows.sources import Source

FORMAT = 2
MAGIC = b"aedrows1"  # at the very end, behind the length of the description
END = struct.Struct("<Q8s")
BLOCK = 1024  # rows that are shuffled as one
CELL = 4  # bytes


@dataclass(frozen=True)
class Description:
    """Everything about the rows of a cache but the rows."""

    identity: dict[str, Any]  # of the source and the columns
    n_rows: int
    columns: list[Any] | None  # names; None for arrays
    width: int  # number of columns
    levels: list[list[Level] | None]  # of each column, by the numbers in its cells; None: numbers
    places: list[tuple[str, int]]  # files, or other names of the source, with their numbers of rows
    digest: str  # SHA-256 of all rows and levels
    low: list[float]  # minimum of each column; NaN where no cell is there
    high: list[float]
    n_missing: list[int]  # of each column

    @property
    def row_bytes(self) -> int:
        """Length of a row in the file."""
        return CELL * self.width

    def to_json(self) -> str:
        """Return all of it as text."""
        return json.dumps(asdict(self))


class Cache:
    """Rows in a file, of which any can be read.

    Parameters
    ----------
    path : Path
    description : Description
    """

    def __init__(self, path: Path, description: Description) -> None:
        self.path, self.description = path, description
        self._descriptor = os.open(path, os.O_RDONLY)  # stays readable if the file is replaced
        weakref.finalize(self, os.close, self._descriptor)

    def read_into(self, first: int, out: NDArray[np.float32]) -> None:
        """Fill a contiguous array ``(n_rows, width)`` with the rows from number ``first`` on."""
        if not out.size:
            return
        wanted, done = out.data.cast("B"), 0
        offset = first * self.description.row_bytes
        while done < len(wanted):
            n_read = os.preadv(self._descriptor, [wanted[done:]], offset + done)
            if n_read == 0:
                raise OSError(f"The cache {str(self.path)!r} was cut short. Open the rows again.")
            done += n_read

    def remove_with(self, folder: Path) -> None:
        """Remove a temporary folder once this object is gone."""
        weakref.finalize(self, _remove_folder, folder, os.getpid())

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "description": self.description}

    def __setstate__(self, state: dict[str, Any]) -> None:
        path, description = state["path"], state["description"]
        found = read_description(path)
        if found is None or found.to_json() != description.to_json():  # NaN is not equal to NaN
            raise ValueError(
                f"The cache {str(path)!r} is gone, or that of other rows. Open the rows again."
            )
        self.__init__(path, description)  # type: ignore[misc]


def _remove_folder(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in a process that was forked from it
        shutil.rmtree(folder, ignore_errors=True)


def find_cache(path: Path, identity: dict[str, Any]) -> Cache | None:
    """Return the cache at ``path``, unless it is damaged or that of another source."""
    description = read_description(path)
    if description is None or description.identity != identity:
        return None
    return Cache(path, description)


def read_description(path: Path) -> Description | None:
    """Return the description in a file; None without a file, or where it is not whole."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(-END.size, os.SEEK_END)
            length, magic = END.unpack(file.read())
            if magic != MAGIC:
                return None
            file.seek(size - END.size - length)
            values = json.loads(file.read(length))
        values["places"] = [(place, n_rows) for place, n_rows in values["places"]]
        description = Description(**values)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    whole = description.n_rows * description.row_bytes + length + END.size
    return description if whole == size else None


def write_cache(
    path: Path, source: Source, selection: Selection, identity: dict[str, Any]
) -> Cache:
    """Write the rows of a source to ``path``, whole or not at all.

    Raises
    ------
    ValueError
        If a cell is neither number nor level, or files do not agree.
    OSError
        If the file cannot be written.
    """
    remove_abandoned(path)
    with atomic_write(path) as file:
        summary, encoder = Summary(), None
        for chunk in source.read(selection):
            encoder = encoder or Encoder(selection.names or [], selection.categorical)
            block = encoder.encode(chunk)
            summary.add(chunk, block)
            file.write(block.x.data)
        assert encoder is not None  # a source without rows raises
        description = summary.describe(identity, encoder)
        _write_description(file, description)
    return Cache(path, description)


def _write_description(file: BinaryIO, description: Description) -> None:
    text = description.to_json().encode()
    file.write(text)
    file.write(END.pack(len(text), MAGIC))


def check_equal(cache: Cache, source: Source, selection: Selection) -> None:
    """Refuse a source whose rows are not those of the cache.

    Raises
    ------
    ValueError
        If they differ; it names the first row.
    """
    first, n_rows, encoder = 0, cache.description.n_rows, None
    for chunk in source.read(selection):
        names = selection.names or []
        if cache.description.columns not in (None, names) or len(names) != cache.description.width:
            raise _other_rows(cache, f"the columns are {names}", chunk.place)
        encoder = encoder or Encoder(names, selection.categorical, cache.description.levels)
        block = encoder.encode(chunk).x
        kept = np.empty_like(block[: max(0, n_rows - first)])
        cache.read_into(first, kept)
        same = (block[: len(kept)].view(np.uint32) == kept.view(np.uint32)).all(axis=1)
        if len(kept) < len(block) or not same.all():
            row = int(np.append(same, False).argmin())
            raise _other_rows(cache, f"row {chunk.first + row} is another", chunk.place)
        first += len(block)
    if first < n_rows:
        raise _other_rows(cache, f"there are {first} rows and not {n_rows}", source.name)


def _other_rows(cache: Cache, difference: str, place: str) -> ValueError:
    return ValueError(
        f"The rows of {place} are not those that it gave before: {difference}. It must give equal"
        f" rows every time. For new rows, delete {str(cache.path)!r} or set another cache."
    )


class Summary:
    """Collects the description of the rows that are written."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._places: dict[str, int] = {}
        self._columns: list[Any] | None = None
        self._low = self._high = np.empty(0, dtype=np.float32)
        self._n_missing: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def add(self, chunk: Chunk, block: Block) -> None:
        """Count the rows of a chunk, which were converted to ``block``."""
        if not self._places:
            self._columns = names_of(chunk)
            self._low, self._high = block.low, block.high
            self._n_missing = np.zeros(block.x.shape[1], dtype=np.int64)
        self._places[chunk.place] = chunk.first + len(block.x)
        self._digest.update(block.x.data)
        self._low, self._high = np.fmin(self._low, block.low), np.fmax(self._high, block.high)
        if block.has_missing:
            self._n_missing += np.isnan(block.x).sum(axis=0)

    def describe(self, identity: dict[str, Any], encoder: Encoder) -> Description:
        """Return the description of all rows."""
        named = self._columns is not None
        if any(encoder.levels):
            self._digest.update(json.dumps(encoder.levels).encode())
        return Description(
            identity=identity,
            n_rows=sum(self._places.values()),
            columns=encoder.columns if named else None,
            width=len(self._low),
            levels=encoder.levels,
            places=list(self._places.items()),
            digest=self._digest.hexdigest(),
            low=self._low.tolist(),
            high=self._high.tolist(),
            n_missing=self._n_missing.tolist(),
        )


def remove_abandoned(path: Path) -> None:
    """Remove what processes that were killed while writing ``path`` have left."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-\d+\.partial")
    for partial in path.parent.iterdir():
        found = pattern.fullmatch(partial.name)
        if found and not _is_alive(int(found[1])):
            with suppress(OSError):
                partial.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
