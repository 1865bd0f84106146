"""Scores of rows on disk, written to a file part by part."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aedetect.atomic import atomic_write
from aedetect.extras import require
from aedetect.places import PlaceError, rows_of
from aedetect.rows.cache import remove_abandoned
from aedetect.rows.score_columns import (
    FloatArray,
    compute_scores,
    offset_of,
    score_columns,
    takes_names,
)
from aedetect.rows.view import Rows

PathLike = str | os.PathLike[str]
# Calls a function for some first rows and yields these with the results, in any order.
Compute = Callable[[Callable[[int], FloatArray], Sequence[int]], Iterable[tuple[int, FloatArray]]]

PART_VALUES = 2**22  # of rows that are scored at a time
PART_ROWS = 2**17  # that are scored at a time, at most
N_PROBE = 64  # rows whose scores tell one model from another
KEY = b"aedetect"  # of the identity in the file's metadata


def score(
    model: Any,
    rows: Rows,
    out: PathLike = "scores.parquet",
    *,
    resume: bool = True,
    first_row: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Path:
    """Write the scores of all rows to a parquet file.

    Rows are scored in parts. Each part is written at once or not at all, to a folder beside
    ``out``, and the last step turns the parts into one file. A call after one that was killed goes
    on with the parts that are missing.

    Parameters
    ----------
    model : outlier detector
        Fitted, with ``score_samples``: an estimator of this package, a
        :class:`~aedetect.ConformalDetector`, a Pipeline, or a detector of scikit-learn. It gets
        frames if it was fitted to names and the rows have some or have levels, else arrays.
    rows : Rows
        Rows to score.
    out : path, default="scores.parquet"
        The file to write. Columns: ``row`` (int64, numbers from ``first_row``), ``score`` (float64,
        higher is more normal), ``anomaly`` (bool) if the model has an ``offset_``, and ``p_value``
        (float64) if it is a :class:`~aedetect.ConformalDetector`.
    resume : bool, default=True
        Whether parts and a file of an earlier call, for this model and these rows, are kept. False
        begins anew.
    first_row : int, default=0
        Number of the first row in the column ``row``.
    progress : callable, default=None
        Called with the number of rows that were found scored, and then with that of every part.

    Returns
    -------
    path : Path
        That of the file.

    Raises
    ------
    ValueError
        If a file or parts of another model or of other rows are there, or a score is not finite.
    OSError
        If a file cannot be written. Parts that are complete stay.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import pandas as pd
    >>> from aedetect import AutoencoderTransformer, open_rows
    >>> from aedetect.rows import score
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> detector = AutoencoderTransformer(max_epochs=2, random_state=0).fit(X)
    >>> folder = tempfile.mkdtemp()
    >>> path = score(detector, open_rows(lambda: [X]), f"{folder}/scores.parquet")
    >>> pd.read_parquet(path).columns.tolist()
    ['row', 'score', 'anomaly']
    """
    return score_parts(
        model,
        rows,
        out,
        resume=resume,
        first_row=first_row,
        compute=in_turn,
        progress=progress,
    )


def in_turn(
    task: Callable[[int], FloatArray], firsts: Sequence[int]
) -> Iterator[tuple[int, FloatArray]]:
    """Call ``task`` for one first row after the other, in this process."""
    return ((first, task(first)) for first in firsts)


def score_parts(
    model: Any,
    rows: Rows,
    out: PathLike,
    *,
    resume: bool,
    first_row: int,
    compute: Compute,
    progress: Callable[[int], object] | None = None,
) -> Path:
    """Do as :func:`score` does; ``compute`` has the parts scored, where it likes."""
    path = Path(out)
    _check(rows, path)
    identity = _identity(model, rows) | {"first row": str(first_row)}
    folder = path.with_name(f".{path.name}.parts")
    if resume and path.exists():
        _check_identity(_identity_of(path), identity, path)
        _remove(folder)
        return path
    if not resume:
        _remove(folder)
    _open_folder(folder, identity)
    task = PartScorer(model, rows, _part_rows(rows))
    missing = _missing_parts(rows, folder)
    report = progress or _ignore
    report(len(rows) - sum(map(task.count, missing)))
    for first, scores in compute(task, missing):
        _write_part(folder / f"{first}.npy", scores)
        report(task.count(first))
    _join(rows, folder, path, identity, offset_of(model), first_row)
    _remove(folder)
    return path


@dataclass(frozen=True)
class PartScorer:
    """Scores ``n_rows`` rows from a first one on."""

    model: Any
    rows: Rows
    n_rows: int

    def count(self, first: int) -> int:
        """Return the number of rows of a part."""
        return min(self.n_rows, len(self.rows) - first)

    def __call__(self, first: int) -> FloatArray:
        """Return the scores of a part, as :func:`compute_scores` does."""
        return _score(self.model, self.rows[first : first + self.n_rows], first)


def _ignore(n_rows: int) -> None:
    """Report no progress."""


def _check(rows: Rows, path: Path) -> None:
    if not isinstance(rows, Rows):
        raise TypeError(
            f"score takes Rows, which open_rows returns, but it was given {type(rows).__name__}."
        )
    if path.suffix != ".parquet":
        raise ValueError(f"out={str(path)!r} must end in .parquet.")
    if not len(rows):
        raise ValueError("There are no rows to score.")
    require("parquet", str(path))  # before the work, not after it


def _part_rows(rows: Rows) -> int:
    return max(1, min(PART_ROWS, PART_VALUES // rows.shape[1]))


def _missing_parts(rows: Rows, folder: Path) -> list[int]:
    """Return the first rows of the parts that have no file."""
    firsts = range(0, len(rows), _part_rows(rows))
    return [first for first in firsts if not (folder / f"{first}.npy").exists()]


def _write_part(path: Path, scores: FloatArray) -> None:
    remove_abandoned(path)
    content = io.BytesIO()
    np.save(content, scores)
    with atomic_write(path) as file:
        file.write(content.getvalue())


def _score(model: Any, part: Rows, first: int) -> FloatArray:
    named = part.column_names is not None and takes_names(model)
    X = part.to_pandas() if named or part.levels else part.to_numpy()
    try:
        with rows_of(range(first, first + len(part))):
            return compute_scores(model, X)
    except PlaceError as error:
        error.place = None if error.row is None else part.locate(error.row - first)
        raise


# Identity: a resumed call must be for the same model and rows.


def _identity(model: Any, rows: Rows) -> dict[str, str]:
    probe = _score(model, rows[:N_PROBE], 0)
    return {
        "model": f"{type(model).__name__}, {hashlib.sha256(probe.tobytes()).hexdigest()[:16]}",
        "offset": repr(offset_of(model)),
        "rows": f"{len(rows)} rows, SHA-256 {rows.digest[:16]}",
        "part": str(_part_rows(rows)),
    }


def _check_identity(found: dict[str, str] | None, identity: dict[str, str], path: Path) -> None:
    if found is None:
        raise ValueError(f"{str(path)!r} has no scores by aedetect. Choose another name.")
    names = [name for name in identity if found.get(name) != identity[name]]
    if names:
        differences = "; ".join(f"{n} was {found.get(n)}, now {identity[n]}" for n in names)
        raise ValueError(
            f"{str(path)!r} has scores of another model or of other rows: {differences}. Set"
            " resume=False to replace them, or choose another name."
        )


def _identity_of(path: Path) -> dict[str, str] | None:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        metadata = read_schema(path).metadata or {}
        return json.loads(metadata[KEY])
    except (ArrowException, OSError, KeyError, ValueError):
        return None


def _open_folder(folder: Path, identity: dict[str, str]) -> None:
    """Make the folder of the parts, or check that its parts belong to this call."""
    folder.mkdir(exist_ok=True)
    path = folder / "identity.json"
    if path.exists():
        _check_identity(json.loads(path.read_text()), identity, folder)
        return
    with atomic_write(path) as file:
        file.write(json.dumps(identity).encode())


def _remove(folder: Path) -> None:
    """Remove the parts; if this is interrupted, none of them is taken for another call's."""
    removed = folder.with_name(f"{folder.name}.removed")
    shutil.rmtree(removed, ignore_errors=True)
    if folder.exists():
        folder.rename(removed)
        shutil.rmtree(removed)


def _join(
    rows: Rows,
    folder: Path,
    path: Path,
    identity: dict[str, str],
    offset: float | None,
    first_row: int,
) -> None:
    """Write all parts to one file."""
    from pyarrow.parquet import ParquetWriter

    schema = _table(0, _read_part(folder, 0)[:, :0], offset).schema
    schema = schema.with_metadata({KEY: json.dumps(identity)})
    remove_abandoned(path)
    with atomic_write(path) as file, ParquetWriter(file, schema) as writer:
        for first in range(0, len(rows), _part_rows(rows)):
            writer.write_table(_table(first_row + first, _read_part(folder, first), offset))


def _table(first: int, scores: FloatArray, offset: float | None) -> Any:
    """Return the Arrow table of a part."""
    import pyarrow as pa

    numbers = np.arange(first, first + scores.shape[1], dtype=np.int64)
    return pa.table({"row": numbers, **score_columns(scores, offset)})


def _read_part(folder: Path, first: int) -> FloatArray:
    return np.load(folder / f"{first}.npy", allow_pickle=False)
