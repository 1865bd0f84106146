"""A score for searches without labels: drawn anomalies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

MIN_ANOMALIES = 1000  # so that the draw adds little noise to the score


def synthetic_auroc(kind: str = "box") -> SyntheticAUROC:
    """Return a scorer for searches without labels: how well random rows are told from real ones.

    Random rows are drawn uniformly in the box around the scored rows: each feature between its
    smallest and its largest value. The score is the area under the ROC curve by which the estimator
    tells them from the scored rows. The draw is fixed, so equal rows give equal scores.

    The score does not estimate how well real anomalies are found. :doc:`/searching` says how much
    it helps.

    Parameters
    ----------
    kind : {"box"}, default="box"
        Distribution of the drawn anomalies.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None) -> float`` in [0, 1], higher is better, for ``scoring=`` of
        any search. ``y`` is ignored. The estimator needs ``score_samples`` or
        ``decision_function``, with high values for normal rows.

    Raises
    ------
    ValueError
        If ``kind`` is unknown.

    Examples
    --------
    >>> from aedetect import DenoisingAutoencoder, datasets
    >>> from aedetect.model_selection import synthetic_auroc
    >>> X, y = datasets.load_digits()
    >>> detector = DenoisingAutoencoder(max_epochs=5, random_state=0).fit(X[:900])
    >>> score = synthetic_auroc()(detector, X[900:])
    >>> 0.5 < score <= 1
    True
    """
    if kind != "box":
        raise ValueError(f"kind={kind!r} is unknown. Use 'box'.")
    return SyntheticAUROC(kind)


@dataclass(frozen=True)
class SyntheticAUROC:
    """Scorer that :func:`synthetic_auroc` returns."""

    kind: str

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        """Return the area under the ROC curve of rows against drawn anomalies."""
        score = getattr(estimator, "score_samples", None) or estimator.decision_function
        drawn = _draw_in_box(X)
        scores = np.concatenate([score(X), score(drawn)])
        is_real = np.repeat([1, 0], [len(X), len(drawn)])
        return float(roc_auc_score(is_real, scores))


def _draw_in_box(X: Any) -> Any:
    """Return rows that are uniform in the box of ``X``, as an array or a frame like ``X``."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    rows = np.asarray(X)
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.number):
        raise ValueError(
            f"synthetic_auroc draws numbers between the least and the largest of each column, but X"
            f" has the dtype {rows.dtype} and the shape {rows.shape}. Use another scoring."
        )
    drawn = _draw(rows)
    if not isinstance(frame, nw.DataFrame):
        return drawn
    columns = dict(zip(frame.columns, drawn.T, strict=True))
    return nw.from_dict(columns, backend=frame.implementation).to_native()


def _draw(X: NDArray) -> NDArray:
    low, high = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)  # pass over NaN
    size = max(len(X), MIN_ANOMALIES), X.shape[1]
    shares = np.random.RandomState(0).random_sample(size)
    kind = X.dtype if np.issubdtype(X.dtype, np.floating) else np.float64
    return (low + shares * (high - low)).astype(kind)
