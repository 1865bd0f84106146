"""Histograms of scores, with the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aedetect.plotting.style import (
    ANOMALY_SCORE,
    COLORS,
    HATCHES,
    LINE_STYLES,
    labels_of,
    linear_below,
    named_classes,
    new_axes,
    score_scale,
    text_color,
    threshold_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_FILLED = 2  # classes; more filled histograms would hide each other


class ScoreDistributionDisplay:
    """A histogram of anomaly scores, with the threshold.

    The axis shows ``-score_samples``, so rows to the right of the threshold are flagged. Classes
    differ in hatch and line style as well as in colour. The bars of each class add up to 1.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        As ``score_samples`` returns them; higher is more normal.
    y : ndarray of shape (n_samples,) or None, default=None
        Classes of the rows; +1 is named normal and -1 anomaly.
    offset : float or None, default=None
        The score below which a row is flagged.

    Attributes
    ----------
    ax_ : matplotlib Axes

    Examples
    --------
    >>> from aedetect import AutoencoderTransformer, datasets
    >>> from aedetect.plotting import ScoreDistributionDisplay
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(max_epochs=2, random_state=0).fit(X)
    >>> display = ScoreDistributionDisplay.from_estimator(detector, X)
    >>> display.scores.shape
    (1797,)
    """

    def __init__(
        self, scores: NDArray, y: NDArray | None = None, offset: float | None = None
    ) -> None:
        self.scores = scores
        self.y = y
        self.offset = offset

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        scale: Literal["auto", "linear", "log", "symlog"] = "auto",
        bins: int = 40,
        ax: Axes | None = None,
    ) -> Self:
        """Plot the scores of ``X``.

        Parameters
        ----------
        estimator : fitted outlier detector
            An estimator of aedetect or scikit-learn, or a Pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None, default=None
            Classes of the rows; +1 is named normal and -1 anomaly.
        scale, bins, ax
            As in :meth:`plot`.

        Returns
        -------
        display : ScoreDistributionDisplay
        """
        scores, offset = estimator.score_samples(X), threshold_of(estimator)
        return cls.from_predictions(scores, y, offset=offset, scale=scale, bins=bins, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        scores: ArrayLike,
        y: ArrayLike | None = None,
        *,
        offset: float | None = None,
        scale: Literal["auto", "linear", "log", "symlog"] = "auto",
        bins: int = 40,
        ax: Axes | None = None,
    ) -> Self:
        """Plot scores.

        Parameters
        ----------
        scores, y, offset
            As in the class. ``offset=None`` draws no threshold.
        scale, bins, ax
            As in :meth:`plot`.

        Returns
        -------
        display : ScoreDistributionDisplay
        """
        display = cls(np.asarray(scores, dtype=np.float64), labels_of(y), offset)
        return display.plot(scale=scale, bins=bins, ax=ax)

    def plot(
        self,
        *,
        scale: Literal["auto", "linear", "log", "symlog"] = "auto",
        bins: int = 40,
        ax: Axes | None = None,
    ) -> Self:
        """Plot the histogram.

        Parameters
        ----------
        scale : {"auto", "linear", "log", "symlog"}, default="auto"
            Scale of the score axis. ``"auto"`` is linear unless the farthest score is more than ten
            interquartile ranges from the median. Then it is ``"log"`` for positive anomaly scores,
            else ``"symlog"``.
        bins : int, default=40
            Number of bars, of equal width on that axis.
        ax : matplotlib Axes or None, default=None
            None makes new axes.

        Returns
        -------
        display : ScoreDistributionDisplay
            Itself, with ``ax_``.
        """
        ax = ax or new_axes()
        anomaly = -self.scores
        _set_scale(ax, anomaly, scale)
        shown = anomaly if self.offset is None else np.append(anomaly, -self.offset)
        edges = _bin_edges(ax, shown, bins)
        if self.y is None:
            ax.hist(anomaly, edges, color=COLORS[0], alpha=0.7, edgecolor=COLORS[0])
        else:
            _draw_classes(ax, anomaly, self.y, edges)
        if self.offset is not None:
            n_flagged = int((self.scores < self.offset).sum())
            text = f"threshold {-self.offset:.3g}, {n_flagged:,} rows above"
            ax.axvline(-self.offset, color=text_color(), linestyle="--", linewidth=1.5, label=text)
        ax.set(
            xlabel=ANOMALY_SCORE + (", log scale" if ax.get_xscale() != "linear" else ""),
            ylabel="rows" if self.y is None else "share of the rows of each class",
        )
        if ax.get_legend_handles_labels()[1]:
            ax.margins(y=0.25)  # room for the legend
            ax.legend(loc="best", fontsize="small")
        self.ax_ = ax
        return self


def _set_scale(ax: Axes, anomaly: NDArray, scale: str) -> None:
    scale = score_scale(anomaly) if scale == "auto" else scale
    if scale == "symlog":
        ax.set_xscale("symlog", linthresh=linear_below(anomaly))
    else:
        ax.set_xscale(scale)


def _bin_edges(ax: Axes, anomaly: NDArray, bins: int) -> list[float]:
    """Return edges at equal distances on the axis as it is drawn."""
    transform = ax.xaxis.get_transform()
    low, high = transform.transform([anomaly.min(), anomaly.max()])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = transform.inverted().transform(np.linspace(low, high, bins + 1))
    # Rounding in the two transforms must not exclude the extreme scores.
    edges[0], edges[-1] = min(edges[0], anomaly.min()), max(edges[-1], anomaly.max())
    return edges.tolist()


def _draw_classes(ax: Axes, anomaly: NDArray, y: NDArray, edges: list[float]) -> None:
    classes = named_classes(y)
    filled = len(classes) <= MOST_FILLED
    for index, (label, name) in enumerate(classes):
        chosen = anomaly[y == label]
        color = COLORS[index % len(COLORS)]
        ax.hist(
            chosen,
            edges,
            weights=np.full(len(chosen), 1 / len(chosen)),
            histtype="stepfilled" if filled else "step",
            facecolor=(color, 0.3) if filled else "none",
            edgecolor=color,
            hatch=HATCHES[index % len(HATCHES)] if filled else None,
            linestyle=LINE_STYLES[index % len(LINE_STYLES)],
            linewidth=1.3,
            label=f"{name} ({len(chosen):,} rows)",
        )
