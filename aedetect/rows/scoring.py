"""Scores of rows on disk, written to a file part by part."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from aedetect.atomic import atomic_write
from aedetect.extras import require
from aedetect.places import PlaceError, rows_of
from aedetect.rows.cache import remove_abandoned
from aedetect.rows.view import Rows

FloatArray = NDArray[np.float64]
PathLike = str | os.PathLike[str]

PART_VALUES = 2**22  # of rows that are scored at a time
PART_ROWS = 2**17  # that are scored at a time, at most
N_PROBE = 64  # rows whose scores tell one model from another
KEY = b"aedetect"  # of the identity in the file's metadata


def score(model: Any, rows: Rows, out: PathLike = "scores.parquet", *, resume: bool = True) -> Path:
    """Write the scores of all rows to a parquet file.

    Rows are scored in parts. Each part is written at once or not at all, to a folder beside
    ``out``, and the last step turns the parts into one file. A call after one that was killed goes
    on with the parts that are missing.

    Parameters
    ----------
    model : outlier detector
        Fitted, with ``score_samples``: an estimator of this package, a
        :class:`~aedetect.ConformalDetector`, a Pipeline, or a detector of scikit-learn. It gets
        frames if it was fitted to names and the rows have some, else arrays.
    rows : Rows
        Rows to score.
    out : path, default="scores.parquet"
        The file to write. Columns: ``row`` (int64, the number in ``rows``), ``score`` (float64,
        higher is more normal) and, if the model has an ``offset_``, ``anomaly`` (bool).
    resume : bool, default=True
        Whether parts and a file of an earlier call, for this model and these rows, are kept. False
        begins anew.

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
    path = Path(out)
    _check(rows, path)
    identity = _identity(model, rows)
    folder = path.with_name(f".{path.name}.parts")
    if resume and path.exists():
        _check_identity(_identity_of(path), identity, path)
        _remove(folder)
        return path
    if not resume:
        _remove(folder)
    _open_folder(folder, identity)
    for first in range(0, len(rows), _part_rows(rows)):
        _write_part(model, rows, first, folder)
    _join(rows, folder, path, identity, _offset_of(model))
    _remove(folder)
    return path


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


def _write_part(model: Any, rows: Rows, first: int, folder: Path) -> None:
    """Score a part of the rows, unless its file is there."""
    part = rows[first : first + _part_rows(rows)]
    path = folder / f"{first}.npy"
    if path.exists():
        return
    remove_abandoned(path)
    scores = _score(model, part, first)
    content = io.BytesIO()
    np.save(content, scores)
    with atomic_write(path) as file:
        file.write(content.getvalue())


def _score(model: Any, part: Rows, first: int) -> FloatArray:
    named = part.column_names is not None and hasattr(model, "feature_names_in_")
    X = part.to_pandas() if named else part.to_numpy()
    try:
        with rows_of(range(first, first + len(part))):
            return np.asarray(model.score_samples(X), dtype=np.float64)
    except PlaceError as error:
        error.place = None if error.row is None else part.locate(error.row - first)
        raise


def _offset_of(model: Any) -> float | None:
    while isinstance(model, Pipeline):
        model = model[-1]
    return getattr(model, "offset_", None)


# Identity: a resumed call must be for the same model and rows.


def _identity(model: Any, rows: Rows) -> dict[str, str]:
    probe = _score(model, rows[:N_PROBE], 0)
    return {
        "model": f"{type(model).__name__}, {hashlib.sha256(probe.tobytes()).hexdigest()[:16]}",
        "offset": repr(_offset_of(model)),
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
    rows: Rows, folder: Path, path: Path, identity: dict[str, str], offset: float | None
) -> None:
    """Write all parts to one file."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    fields = [("row", pa.int64()), ("score", pa.float64())]
    fields += [("anomaly", pa.bool_())] * (offset is not None)
    schema = pa.schema(fields, metadata={KEY: json.dumps(identity)})
    remove_abandoned(path)
    with atomic_write(path) as file, ParquetWriter(file, schema) as writer:
        for first, scores in _parts(rows, folder):
            columns: list[NDArray] = [np.arange(first, first + len(scores)), scores]
            columns += [] if offset is None else [scores < offset]
            writer.write_table(pa.table(columns, schema=schema))


def _parts(rows: Rows, folder: Path) -> Iterator[tuple[int, FloatArray]]:
    for first in range(0, len(rows), _part_rows(rows)):
        yield first, np.load(folder / f"{first}.npy", allow_pickle=False)
