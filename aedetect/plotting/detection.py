"""How well detectors tell anomalies from normal rows, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    PrecisionRecallDisplay,
    RocCurveDisplay,
    average_precision_score,
    roc_auc_score,
)
from sklearn.utils import check_consistent_length, column_or_1d

from aedetect.plotting.style import COLORS, LINE_STYLES, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class DetectionCurveDisplay:
    """ROC or precision-recall curves of several detectors on one axes.

    Anomalies are the positive class. The legend names the area under each curve and what chance
    would reach.

    Make one with :meth:`from_estimators` or :meth:`from_predictions`.

    Parameters
    ----------
    scores : dict of str to ndarray of shape (n_samples,)
        Scores by the names of the detectors, as ``score_samples`` returns them.
    y : ndarray of shape (n_samples,)
        +1 for normal rows, -1 for anomalies.
    kind : {"roc", "precision_recall"}, default="roc"

    Attributes
    ----------
    ax_ : matplotlib Axes
    areas_ : dict of str to float
        AUROC of each detector, or its average precision.
    """

    def __init__(
        self,
        scores: dict[str, NDArray],
        y: NDArray,
        kind: Literal["roc", "precision_recall"] = "roc",
    ) -> None:
        self.scores = scores
        self.y = y
        self.kind = kind

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any],
        X: ArrayLike,
        y: ArrayLike,
        *,
        kind: Literal["roc", "precision_recall"] = "roc",
        ax: Axes | None = None,
    ) -> Self:
        """Draw the curves of fitted detectors.

        Parameters
        ----------
        estimators : dict of str to fitted outlier detector
            With ``score_samples``, by the names that the legend shows.
        X : array-like of shape (n_samples, n_features)
        y, kind, ax
            As in :meth:`from_predictions`.

        Returns
        -------
        display : DetectionCurveDisplay
        """
        scores = {name: detector.score_samples(X) for name, detector in estimators.items()}
        return cls.from_predictions(scores, y, kind=kind, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        scores: Mapping[str, ArrayLike],
        y: ArrayLike,
        *,
        kind: Literal["roc", "precision_recall"] = "roc",
        ax: Axes | None = None,
    ) -> Self:
        """Draw the curves of scores.

        Parameters
        ----------
        scores : dict of str to array-like of shape (n_samples,)
            By the names that the legend shows, as ``score_samples`` returns them; higher is more
            normal.
        y : array-like of shape (n_samples,)
            +1 for normal rows, -1 for anomalies; both must occur.
        kind : {"roc", "precision_recall"}, default="roc"
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : DetectionCurveDisplay

        Raises
        ------
        ValueError
            If ``y`` holds anything else, or ``kind`` is neither.
        """
        arrays = {name: np.asarray(values, np.float64) for name, values in scores.items()}
        return cls(arrays, _check_labels(y, arrays), kind).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : DetectionCurveDisplay
            Itself, with ``ax_`` and ``areas_``.
        """
        if self.kind not in _KINDS:
            raise ValueError(f"kind must be one of {sorted(_KINDS)}, but it is {self.kind!r}.")
        draw, area, short = _KINDS[self.kind]
        chance = 0.5 if self.kind == "roc" else float((self.y == -1).mean())
        ax = ax or new_axes()
        self.areas_ = {}
        for index, (name, scores) in enumerate(self.scores.items()):
            self.areas_[name] = float(area(self.y == -1, -scores))
            draw(
                self.y,
                -scores,
                pos_label=-1,
                ax=ax,
                curve_kwargs={
                    "label": f"{plain(name)} ({short} {self.areas_[name]:.3f})",
                    "color": COLORS[index % len(COLORS)],
                    "linestyle": LINE_STYLES[index % len(LINE_STYLES)],
                    "linewidth": 1.8,
                },
                plot_chance_level=index == len(self.scores) - 1,
                chance_level_kw={
                    "label": f"chance ({short} {chance:.3f})",
                    "color": "gray",
                    "linestyle": (0, (1, 1)),
                },
            )
        ax.set(**_AXIS_LABELS[self.kind])
        ax.legend(loc="lower right" if self.kind == "roc" else "lower left", fontsize="small")
        self.ax_ = ax
        return self


_KINDS: dict[str, tuple[Any, Any, str]] = {
    "roc": (RocCurveDisplay.from_predictions, roc_auc_score, "AUROC"),
    "precision_recall": (PrecisionRecallDisplay.from_predictions, average_precision_score, "AP"),
}
_AXIS_LABELS = {
    "roc": {
        "xlabel": "share of the normal rows flagged",
        "ylabel": "share of the anomalies flagged",
    },
    "precision_recall": {
        "xlabel": "share of the anomalies flagged (recall)",
        "ylabel": "anomalies among the flagged (precision)",
    },
}


def _check_labels(y: ArrayLike, scores: dict[str, NDArray]) -> NDArray:
    labels = column_or_1d(y)
    found = np.unique(labels).tolist()
    if found != [-1, 1]:
        raise ValueError(
            f"y must hold +1 for normal rows and -1 for anomalies, both at least once, but it holds"
            f" {found[:5]}. Map your labels with np.where(is_anomaly, -1, 1)."
        )
    check_consistent_length(labels, *scores.values())
    return labels
