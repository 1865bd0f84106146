"""Scores of frames, wherever they come from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import pandas as pd

from aedetect.extras import import_extra
from aedetect.persistence import load
from aedetect.rows import compute_scores, offset_of, score_columns, takes_names
from aedetect.scale.carried import Carried
from aedetect.scale.engines import MAX_KILLS

BATCH = 2**14  # rows that a task of Ray Data scores at a time


def score_frames(model: Any, frames: Iterable[Any], *, row: Any) -> Iterator[pd.DataFrame]:
    """Yield the scores of frames, one by one.

    This is the function to call on the workers of any engine that hands out frames. A score does
    not depend on the frame that its row comes in, to the last bit.

    Parameters
    ----------
    model : path or outlier detector
        A file of :func:`aedetect.save`, which is read once in every process, or a fitted detector
        with ``score_samples``.
    frames : iterable of frames
        Of pandas, polars or Arrow, with the columns that the model was fitted to and ``row``.
    row : str
        Name of a column that identifies rows, such as their numbers. It is carried along: engines
        do not keep the order of rows.

    Yields
    ------
    scores : pandas.DataFrame
        Columns: ``row`` under its own name, ``score`` (float64, higher is more normal), ``anomaly``
        (bool) if the model has an ``offset_``, and ``p_value`` if it is a
        :class:`~aedetect.ConformalDetector`.

    Raises
    ------
    ValueError
        If a frame lacks the column ``row``, and as the model's ``score_samples`` does.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from aedetect import AutoencoderTransformer, scale
    >>> X = pd.DataFrame(np.random.default_rng(0).normal(size=(500, 3)), columns=list("abc"))
    >>> detector = AutoencoderTransformer(max_epochs=2, random_state=0).fit(X)
    >>> frames = (X[first : first + 100].assign(id=range(100)) for first in range(0, 500, 100))
    >>> [len(scores) for scores in scale.score_frames(detector, frames, row="id")]
    [100, 100, 100, 100, 100]
    """
    scorer = FrameScorer(as_model(model), row)
    return (scorer(frame) for frame in frames)


def score_ray(model: Any, dataset: Any, *, row: str) -> Any:
    """Return the scores of a dataset of Ray Data, as a dataset.

    Batches are scored by tasks on all processors of the cluster. If a worker is killed, another one
    scores its batches. Ray keeps no order of the rows.

    Parameters
    ----------
    model, row
        As :func:`score_frames` takes them. This process reads the file and sends the model.
    dataset : ray.data.Dataset
        With the columns that the model was fitted to and ``row``.

    Returns
    -------
    scores : ray.data.Dataset
        The columns of :func:`score_frames`. Nothing is computed until it is read or written.

    Raises
    ------
    ImportError
        If Ray is not installed.

    Examples
    --------
    >>> import ray  # doctest: +SKIP
    >>> dataset = ray.data.read_parquet("new/")  # doctest: +SKIP
    >>> scores = score_ray("model.aedetect", dataset, row="id")  # doctest: +SKIP
    >>> scores.write_parquet("scores/")  # doctest: +SKIP
    """
    import_extra("ray.data", "ray", "Ray")
    scorer = Carried(FrameScorer(as_model(model), row))
    return dataset.map_batches(
        scorer.__call__, batch_format="pandas", batch_size=BATCH, max_retries=MAX_KILLS
    )


def score_dask(model: Any, frame: Any, *, row: str) -> Any:
    """Return the scores of a Dask DataFrame, as one.

    Parameters
    ----------
    model, row
        As :func:`score_frames` takes them. This process reads the file and sends the model.
    frame : dask.dataframe.DataFrame
        With the columns that the model was fitted to and ``row``.

    Returns
    -------
    scores : dask.dataframe.DataFrame
        The columns of :func:`score_frames`, in the partitions of ``frame``. Nothing is computed
        until it is read or written.

    Raises
    ------
    ImportError
        If Dask is not installed.

    Examples
    --------
    >>> import dask.dataframe  # doctest: +SKIP
    >>> frame = dask.dataframe.read_parquet("new/")  # doctest: +SKIP
    >>> scores = score_dask("model.aedetect", frame, row="id")  # doctest: +SKIP
    >>> scores.to_parquet("scores/")  # doctest: +SKIP
    """
    dask = import_extra("dask", "dask", "Dask")
    scorer = FrameScorer(as_model(model), row)
    return frame.map_partitions(_call, dask.delayed(Carried(scorer)), meta=scorer(frame._meta))


def _call(frame: Any, scorer: Carried) -> pd.DataFrame:
    return scorer(frame)


class FrameScorer:
    """Scores frames, of which a column identifies the rows.

    Parameters
    ----------
    model : outlier detector
    row : str
        Name of the column.
    """

    def __init__(self, model: Any, row: Any) -> None:
        self._model, self._row = model, row

    def __call__(self, frame: Any) -> pd.DataFrame:
        """Return the scores of a frame, which may be empty."""
        known = nw.from_native(frame, eager_only=True)
        if self._row not in known.columns:
            raise ValueError(
                f"Frames must have the column {self._row!r}, which identifies rows, but one has"
                f" {known.columns}."
            )
        numbers = pd.Series(known.get_column(self._row).to_pandas(), name=self._row)
        X = known.drop(self._row)
        scores = compute_scores(
            self._model, X.to_native() if takes_names(self._model) else X.to_numpy()
        )
        columns = score_columns(scores, offset_of(self._model))
        return pd.DataFrame({self._row: numbers, **columns}, index=numbers.index)


def as_model(model: Any) -> Any:
    """Return a detector, which may be given by the file that it is saved to."""
    if not isinstance(model, str | os.PathLike):
        return model
    path = Path(model)
    return _load(path.resolve(), path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _load(path: Path, changed: int) -> Any:
    return load(path)
