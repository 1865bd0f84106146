"""Scores of rows on disk, computed by the workers of an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from aedetect.rows import Rows, score_parts
from aedetect.rows.scoring import PathLike
from aedetect.scale.engines import ENGINES
from aedetect.scale.frames import as_model


def score(
    model: Any,
    rows: Rows,
    out: PathLike = "scores.parquet",
    *,
    engine: Literal["local", "ray", "dask"] = "local",
    resume: bool = True,
    first_row: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Path:
    """Write the scores of all rows to a parquet file, computed by many workers.

    The file is that of :func:`aedetect.rows.score`, bit for bit, for any engine and any number of
    workers. Workers read parts of the rows, and this process writes their scores. If a worker is
    killed, another one takes over its part. If this process is killed, call it again: it goes on
    with the missing parts, also on another engine.

    Parameters
    ----------
    model : path or outlier detector
        A file of :func:`aedetect.save`, or a detector that :func:`aedetect.rows.score` takes.
    rows : Rows
        Rows to score. All machines must find their cache under its path.
    out : path, default="scores.parquet"
        The file to write.
    engine : {"local", "ray", "dask"}, default="local"
        ``"ray"`` uses the cluster that ``ray.init`` has connected to, ``"dask"`` that of the
        current ``Client``. Without one, workers are started on this machine for the call.
        ``"local"`` scores in this process.
    resume : bool, default=True
        Whether parts and a file of an earlier call, for this model and these rows, are kept.
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
    ImportError
        If the engine is not installed.
    ValueError
        If ``engine`` is another name, and as in :func:`aedetect.rows.score`.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import pandas as pd
    >>> from aedetect import AutoencoderTransformer, open_rows, scale
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> detector = AutoencoderTransformer(max_epochs=2, random_state=0).fit(X)
    >>> path = scale.score(detector, open_rows(lambda: [X]), f"{tempfile.mkdtemp()}/x.parquet")
    >>> bool((pd.read_parquet(path)["score"] == detector.score_samples(X)).all())
    True
    """
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r} must be one of {', '.join(map(repr, ENGINES))}.")
    compute = ENGINES[engine]
    return score_parts(
        as_model(model),
        rows,
        out,
        resume=resume,
        first_row=first_row,
        compute=compute,
        progress=progress,
    )
