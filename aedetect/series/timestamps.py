"""Scores of the rows of a series, from the scores of windows of rows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _num_samples

from aedetect.reasons.pipelines import split
from aedetect.series.windows import WindowTransformer, mean_of_windows, window_starts

REDUCTIONS = ("mean", "max")


def score_timestamps(
    model: Any, X: ArrayLike, *, reduce: Literal["mean", "max"] = "mean"
) -> NDArray[np.float64] | pd.Series:
    """Return how normal each row of a series is, from the scores of the windows that cover it.

    Parameters
    ----------
    model : Pipeline
        Fitted, with one :class:`WindowTransformer` before a detector with ``score_samples``; or a
        search for one.
    X : array-like of shape (n_samples, n_features)
        Rows in order of time, at least as many as a window has.
    reduce : {"mean", "max"}, default="mean"
        ``"mean"``: mean score of the windows that cover the row. It is high at the middle of an
        anomaly. ``"max"``: score of the most anomalous of them, the lowest score. Each row near an
        anomaly then looks as odd as the anomaly.

    Returns
    -------
    scores : ndarray or Series of shape (n_samples,), float64
        Higher is more normal. A Series with the index of ``X`` if that is a DataFrame.

    Raises
    ------
    TypeError
        If ``model`` is no Pipeline with one WindowTransformer, or its detector has no
        ``score_samples``.
    ValueError
        If ``reduce`` is unknown, if ``X`` is refused, or if steps before the WindowTransformer
        change the number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from aedetect import AutoencoderTransformer
    >>> from aedetect.series import WindowTransformer, score_timestamps
    >>> rng = np.random.RandomState(0)
    >>> X = np.sin(np.arange(400) / 5)[:, None] + 0.1 * rng.randn(400, 1)
    >>> network = AutoencoderTransformer(4, max_epochs=20, random_state=0)
    >>> model = make_pipeline(WindowTransformer(20), network).fit(X[:300])
    >>> X[350:353] += 2  # an anomaly
    >>> bool(345 < score_timestamps(model, X).argmin() < 358)
    True
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"reduce must be 'mean' or 'max', but it is {reduce!r}.")
    transformer, n_rows = _window_step(model), _num_samples(X)
    scores = np.asarray(model.score_samples(X), dtype=np.float64)
    starts = window_starts(n_rows, transformer.width_, transformer.stride_)
    if len(scores) != len(starts):
        raise ValueError(
            f"{n_rows} rows have {len(starts)} windows of width={transformer.width_}, but the model"
            f" gives {len(scores)} scores. No other step may change the number of rows."
        )
    if reduce == "mean":
        cells = np.broadcast_to(scores[:, None], (len(scores), transformer.width_))
        of_rows: NDArray = mean_of_windows(cells, starts, n_rows)
    else:
        of_rows = np.full(n_rows, np.inf)
        for place in range(transformer.width_):
            of_rows[starts + place] = np.minimum(of_rows[starts + place], scores)
    return pd.Series(of_rows, X.index, name="score") if isinstance(X, pd.DataFrame) else of_rows


def _window_step(model: Any) -> WindowTransformer:
    steps, detector = split(model)
    found = (
        [step for _, step in steps.steps if isinstance(step, WindowTransformer)] if steps else []
    )
    if len(found) != 1:
        raise TypeError(
            f"model must be a Pipeline with one WindowTransformer, but this {type(model).__name__}"
            f" has {len(found)}. Use make_pipeline(WindowTransformer(width), detector)."
        )
    if not hasattr(detector, "score_samples"):
        raise TypeError(
            f"The detector needs score_samples, which {type(detector).__name__} lacks. Fit"
            " DenoisingAutoencoder, for example."
        )
    return found[0]
