"""Open rows that are larger than memory."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aedetect.rows.cache import FORMAT, Cache, check_equal, find_cache, write_cache
from aedetect.rows.columns import Selection
from aedetect.rows.sources import PathLike, Source, make_source
from aedetect.rows.view import Rows

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
FEW_STEPS = 1000  # of float32 in the range of a column, below which digits are lost


def open_rows(
    paths: PathLike | Sequence[PathLike] | Callable[[], Iterable[Any]] | Any,
    *,
    drop: Sequence[Any] = (),
    columns: Sequence[Any] | None = None,
    categorical: Sequence[Any] = (),
    cache: PathLike | None = None,
    memory: str | int = "256MB",
    sep: str | None = None,
) -> Rows:
    """Return rows that ``fit`` and ``score_samples`` read from the disk, a part at a time.

    All rows are read once and written to a file of float32 numbers, the cache. A column of text,
    of true and false or of categories holds the numbers of its levels there.

    Parameters
    ----------
    paths : path, sequence of paths, table, dataset or callable
        Files of one table: ``.parquet``, ``.csv`` (also ``.csv.gz`` and ``.tsv``) or ``.npy``. Or a
        table of Arrow, pandas or polars; a Hugging Face dataset; or a callable without arguments
        that returns an iterator of frames or of arrays of two dimensions.
    drop : sequence of names, default=()
        Columns to leave out. Columns of arrays have numbers for names.
    columns : sequence of names, default=None
        Columns to take, in this order. None takes all.
    categorical : sequence of names, default=()
        Columns whose cells are levels whatever their type, such as codes, beside those of text, of
        true and false and of categories. Those of a CSV file are text as written.
    cache : path, default=None
        A folder for the cache, which is used again as long as paths, sizes and times of the files
        and the choice of columns stay as they are, and which is written anew otherwise. Sources
        other than files are compared with it, row by row. None uses a temporary folder, which is
        removed with the rows.
    memory : str or int, default="256MB"
        Bytes that ``fit`` may fill with rows, as a number or as text with a unit. At least 1,024 x
        100 rows must fit, or all of them.
    sep : str, default=None
        Separator of CSV files. None is a tab for ``.tsv``, else a comma.

    Returns
    -------
    rows : Rows

    Raises
    ------
    TypeError
        If ``paths`` is of another kind.
    ValueError
        If a cell is neither number nor level, or of another kind than those above it in its column.
        The message names file, row, column and value. If a column has more than 131,072 levels. If
        files have different columns, are empty or change while they are read. If a source other
        than a file gives rows that are not those of the cache.
    OSError
        If a file does not exist, or the cache cannot be written.

    Warns
    -----
    UserWarning
        If float32 holds few distinct values in the range of a column.

    Examples
    --------
    >>> import numpy as np
    >>> from aedetect import AutoencoderTransformer, open_rows
    >>> rng = np.random.default_rng(0)
    >>> rows = open_rows(lambda: (rng.normal(size=(500, 4)) for _ in range(10)))
    >>> rows
    Rows(5,000 x 4 of the callable's result)
    >>> detector = AutoencoderTransformer(max_epochs=2, random_state=0).fit(rows[:4000])
    >>> detector.score_samples(rows[4000:]).shape
    (1000,)
    """
    n_bytes = parse_memory(memory)
    source = make_source(paths, sep)
    selection = Selection(columns, drop, categorical)
    chosen = [None if columns is None else list(columns), list(drop), list(categorical), sep]
    rows = open_source(source, selection, chosen, cache, n_bytes)
    _warn_of_lost_digits(rows)
    return rows


def open_source(
    source: Source,
    selection: Selection,
    chosen: Any,
    cache: PathLike | None,
    memory: int,
) -> Rows:
    """Return the rows of a source; ``chosen`` is all that they depend on beside it."""
    text = json.dumps({"format": FORMAT, "source": source.identity, "columns": chosen}, default=str)
    opened = _open(source, selection, json.loads(text), cache)
    return Rows(opened, range(opened.description.n_rows), memory)


def _open(
    source: Source, selection: Selection, identity: dict[str, Any], folder: PathLike | None
) -> Cache:
    """Return the cache in a folder, written if it is not there yet."""
    if folder is None:
        temporary = Path(tempfile.mkdtemp(prefix="aedetect-rows-"))
        try:
            written = write_cache(temporary / "temporary.rows", source, selection, identity)
        except BaseException:
            temporary.rmdir()
            raise
        written.remove_with(temporary)
        return written
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / _file_name(source, identity)
    found = find_cache(path, identity)
    if found is None:
        return write_cache(path, source, selection, identity)
    if not source.is_files:
        check_equal(found, source, selection)
    return found


def _file_name(source: Source, identity: dict[str, Any]) -> str:
    """Return a name by paths and columns: the cache of a file that has changed is replaced."""
    stays = [stamp[0] for stamp in source.identity] if source.is_files else source.identity
    text = json.dumps([stays, identity["columns"]])
    return f"{source.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.rows"


def parse_memory(memory: str | int) -> int:
    """Return a number of bytes, given as a number or as text with a unit."""
    if isinstance(memory, int | np.integer) and not isinstance(memory, bool) and memory > 0:
        return int(memory)
    found = re.fullmatch(r"\s*([\d.]+)\s*([KMGT]?B)\s*", str(memory), re.IGNORECASE)
    if found is None or isinstance(memory, bool) or float(found[1]) <= 0:
        raise ValueError(
            f"memory={memory!r} must be a number of bytes above 0, or text such as '512MB' or"
            " '2GB'."
        )
    return int(float(found[1]) * UNITS[found[2].upper()])


def _warn_of_lost_digits(rows: Rows) -> None:
    """Warn of a column such as seconds since 1970, whose range is small beside its values."""
    low, high = rows.low.astype(np.float64), rows.high.astype(np.float64)
    step = np.maximum(np.abs(low), np.abs(high)) * np.finfo(np.float32).eps
    coarse = np.flatnonzero((high > low) & (step * FEW_STEPS > high - low))
    if len(coarse):
        number = int(coarse[0])
        names = rows.column_names
        name = number if names is None else names[number]
        warnings.warn(
            f"Column {name!r} runs from {low[number]:.9g} to {high[number]:.9g}, and float32 holds"
            f" steps of {step[number]:.2g} there. Subtract its mean before the rows are written.",
            stacklevel=3,
        )
