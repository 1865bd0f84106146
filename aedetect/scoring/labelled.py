"""A score that knows some anomalies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aedetect.model import require, require_floats
from aedetect.scoring.likeness import (
    TINY,
    Likeness,
    Seen,
    fit_likeness,
    group_widths,
    quantities,
)
from aedetect.scoring.score import Score

if TYPE_CHECKING:
    from aedetect.model import Model, View

Scaled = NDArray[np.float32]  # rows, (n_rows, n_features)
NAME = "labelled"


@dataclass(frozen=True, eq=False)
class Labelled(Score):
    """A score that is raised by the likeness to known anomalies.

    Its features are explained by falls of the joint score, whatever the score without labels is.
    """

    base: Score  # the score without labels
    likeness: Likeness
    rows: Scaled  # known rows
    labels: NDArray[np.int64]  # of these, +1 normal and -1 anomaly

    def __call__(self, view: View) -> Tensor:
        """Return the joint measure; a reference row is scored as a new row."""
        return self.likeness.join(view, self.base(view))

    def judge(self, view: View) -> Tensor:
        """Return the joint measure, by the stored scores of reference rows."""
        return self.likeness.join(view, self.base.judge(view))

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first reference rows in its neighbour bank."""
        return replace(self, base=self.base.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without those reference rows that are among the rows of a view."""
        return replace(self, base=self.base.leaving_out(view))

    def check(self, model: Model) -> None:
        """Raise a StateError if the parts do not fit the model."""
        require(self.name == NAME, "the score with labels has another name")
        self.base.check(model)
        self.likeness.check(model.spec.n_features)
        n_rows = np.size(self.labels)
        require_floats("the known rows", self.rows, (n_rows, model.spec.n_features), np.float32)
        require(
            isinstance(self.labels, np.ndarray) and bool((abs(self.labels) == 1).all()),
            "a label of a known row is neither +1 nor -1",
        )


def with_labels(
    model: Model, score: Score, sample: Scaled, rows: Scaled, labels: NDArray[np.int64]
) -> Labelled:
    """Return the score, fitted to known rows too.

    Parameters
    ----------
    model : Model
    score : Score
        Rows that it knows stay known. A row that is given again takes its new label.
    sample : ndarray of shape (n_sample, n_features), float32
        Scaled training rows, in random order.
    rows : ndarray of shape (n_rows, n_features), float32
        Scaled rows; missing cells are filled.
    labels : ndarray of shape (n_rows,), int
        +1 for normal rows, -1 for anomalies, and 0 for those whose label is taken back.

    Raises
    ------
    ValueError
        If no anomaly is known.
    """
    base = score
    if isinstance(score, Labelled):
        base = score.base
        others = ~_is_among(score.rows, rows)
        rows = np.concatenate([score.rows[others], rows])
        labels = np.concatenate([score.labels[others], labels])
    rows, labels = rows[labels != 0], labels[labels != 0]
    is_odd = labels == -1
    if not is_odd.any():
        raise ValueError(
            "Labels must name an anomaly, -1, but none is known. Where normal rows are flagged,"
            " set_threshold(fpr=..., X=...) lowers the threshold."
        )
    others = ~_is_among(sample, rows[is_odd])
    normal = sample[others] if others.sum() > 1 else sample
    likeness = fit_likeness(
        _see(model, base, normal),
        _see(model, base, rows[is_odd]),
        _see(model, base, rows[~is_odd]),
        group_widths(model.spec.n_features),
    )
    return Labelled(NAME, base, likeness, rows, labels)


def _see(model: Model, base: Score, x: Scaled) -> Seen:
    if not len(x):
        return Seen(np.empty((0, sum(group_widths(x.shape[1])))), np.empty(0))
    measures = model.map_scaled(base.judge, x)
    return Seen(model.map_scaled(quantities, x), np.log(np.maximum(measures, TINY)))


def _is_among(rows: Scaled, others: Scaled) -> NDArray[np.bool_]:
    """Return whether each row is equal to one of the others."""
    known = {row.tobytes() for row in others}
    return np.array([row.tobytes() in known for row in rows], dtype=bool)
