"""The file: a JSON document and arrays in the safetensors format, under one checksum."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

Arrays = dict[str, NDArray]

FORMAT = 2  # of the files that this version writes and reads
MAX_HEADER = 8 * 2**20  # bytes: room for the names of 100,000 features
KEY = "aedetect"  # of the document among the safetensors metadata
ENTRIES = {"sha256", "format", "versions", "training", "estimator"}
NO_DIGITS = "0" * 64  # stand where the checksum goes while it is computed
DTYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool"},
    **{f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16)},
    **{
        f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (32, 64)
    },
}


class ModelFileError(ValueError):
    """A file that :func:`aedetect.load` refuses: damaged, of another format, or something else.

    Parameters
    ----------
    rule : str
        The rule that the file breaks, without a full stop.
    remedy : str
        The remedy, in a sentence.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from aedetect import load
    >>> from aedetect.persistence import ModelFileError
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "notes.txt")
    ...     _ = path.write_text("not a model")
    ...     try:
    ...         load(path)
    ...     except ModelFileError:
    ...         print("refused")
    refused
    """

    def __init__(
        self, rule: str, remedy: str = "Take another copy of it, or save the estimator again."
    ) -> None:
        super().__init__(rule, remedy)
        self.rule, self.remedy = rule, remedy

    def __str__(self) -> str:
        return f"{self.rule}. {self.remedy}"


class Header(NamedTuple):
    """The part of a file before the arrays."""

    document: dict[str, Any]
    table: dict[str, dict[str, Any]]  # of the arrays, by name: dtype, shape and place
    raw: bytes  # with the eight bytes of its length


def pack(document: dict[str, Any], arrays: Arrays) -> list[bytes | memoryview]:
    """Return the bytes of a file, in pieces.

    Equal contents give equal bytes: there is a single entry of metadata, since safetensors writes
    several in any order.
    """
    text = json.dumps({"sha256": NO_DIGITS, **document}, allow_nan=False)
    data = safetensors.numpy.save(arrays, {KEY: text})
    n_bytes = int.from_bytes(data[:8], "little")
    if n_bytes > MAX_HEADER:
        raise ValueError(
            f"The names and parameters take {n_bytes:,} bytes; a file holds {MAX_HEADER:,} at most."
            " Fit without feature names (X.to_numpy()), or use joblib."
        )
    digits = hashlib.sha256(data).hexdigest()
    place = data.index(NO_DIGITS.encode())
    return [data[:place], digits.encode(), memoryview(data)[place + len(digits) :]]


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to read: a pipe may never send anything, and a device may never end."""
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # the system refuses folders itself
        raise ModelFileError("it is not a regular file", "Copy its content into one.")
    return Path(path).open("rb")


def read_header(file: BinaryIO) -> Header:
    """Return the header of a file that is at its beginning."""
    size = os.fstat(file.fileno()).st_size
    length = file.read(8)
    n_bytes = int.from_bytes(length, "little")
    if len(length) < 8 or n_bytes > size - 8:
        raise ModelFileError(f"it ends after {size:,} bytes, inside its header")
    if n_bytes > MAX_HEADER:
        raise ModelFileError(
            f"its header would take {n_bytes:,} bytes, and {MAX_HEADER:,} are allowed"
        )
    raw = file.read(n_bytes)
    table = _parse(raw.decode())
    metadata = table.pop("__metadata__", None) if isinstance(table, dict) else None
    if not isinstance(metadata, dict) or [*metadata] != [KEY] or not isinstance(metadata[KEY], str):
        raise ModelFileError("it was not written by aedetect.save", "Load a file that was.")
    document = _parse(metadata[KEY])
    _check_document(document)
    return Header(document, table, length + raw)


def check_format(header: Header) -> None:
    """Refuse a file of an earlier format, which can be described but not loaded."""
    number = header.document["format"]
    if number < FORMAT:
        raise ModelFileError(
            f"it was written by an earlier version of aedetect (format {number}), which this"
            " version cannot read",
            "Its parameters are in aedetect.persistence.info(path)['parameters']: fit an estimator"
            " with them on the training rows, and save that.",
        )


def is_intact(file: BinaryIO, header: Header) -> bool:
    """Return whether the checksum is that of the whole file; reads ``file`` to its end.

    It is the SHA-256 of all bytes, with zeros in place of its own digits.
    """
    digits = header.document["sha256"].encode()
    digest = hashlib.sha256(header.raw.replace(digits, NO_DIGITS.encode(), 1))
    while piece := file.read(2**20):
        digest.update(piece)
    return digest.hexdigest().encode() == digits


def read_arrays(file: BinaryIO, header: Header) -> Arrays:
    """Return all arrays of a file; safetensors checks their places, sizes and shapes."""
    for name, entry in header.table.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in DTYPES:
            raise ModelFileError(f"the dtype of array {name!r:.80} is none of {', '.join(DTYPES)}")
    file.seek(0)
    arrays = safetensors.numpy.load(file.read())
    for name, array in arrays.items():
        if array.dtype == bool and (array.view(np.uint8) > 1).any():
            raise ModelFileError(f"array {name!r:.80} is neither true nor false")
    return arrays


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ModelFileError("a key of its header occurs twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ModelFileError(f"its header holds {constant}, which is not JSON")


def _check_document(document: Any) -> None:
    number = document.get("format") if isinstance(document, dict) else None
    if type(number) is not int or number < 1:
        raise ModelFileError(f"its format {number!r:.20} is not a number above 0")
    if number > FORMAT:
        raise ModelFileError(
            f"its format is {number}, and this version of aedetect reads format {FORMAT}",
            f"Upgrade aedetect: the file was written by {document.get('versions')!r:.200}.",
        )
    if set(document) != ENTRIES:
        raise ModelFileError(f"its header has the entries {sorted(document)!r:.200}")
    if not re.fullmatch("[0-9a-f]{64}", str(document["sha256"])):
        raise ModelFileError("its checksum is not one of SHA-256")
