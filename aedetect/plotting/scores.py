"""How scores are distributed, and where the threshold lies among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aedetect.plotting.style import (
    ANOMALY_SCORE,
    COLORS,
    HATCHES,
    LINE_STYLES,
    ink,
    labels_of,
    linear_below,
    named_classes,
    new_axes,
    score_scale,
    threshold_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_FILLED = 2  # classes; more would hide each other


class ScoreDistributionDisplay:
    """A histogram of anomaly scores, with the threshold.

    The axis shows ``-score_samples``, so what lies right of the threshold is flagged. Classes
    differ in hatch and line style as well as in colour, and each adds up to 1 however rare it is.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        As ``score_samples`` returns them; higher is more normal.
    y : ndarray of shape (n_samples,) or None, default=None
        Classes of the rows; +1 and -1 are called normal and anomaly.
    offset : float or None, default=None
        The score below which a row is flagged.

    Attributes
    ----------
    ax_ : matplotlib Axes
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
        """Draw the scores of ``X``.

        Parameters
        ----------
        estimator : fitted outlier detector
            One of ours or of scikit-learn, or a Pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None, default=None
            Classes of the rows; +1 and -1 are called normal and anomaly.
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
        """Draw scores.

        Parameters
        ----------
        scores : array-like of shape (n_samples,)
            As ``score_samples`` returns them; higher is more normal.
        y : array-like of shape (n_samples,) or None, default=None
            Classes of the rows; +1 and -1 are called normal and anomaly.
        offset : float or None, default=None
            The score below which a row is flagged, as ``offset_``; None draws no threshold.
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
        """Draw the histogram.

        Parameters
        ----------
        scale : {"auto", "linear", "log", "symlog"}, default="auto"
            The axis of the scores. ``"auto"`` is linear unless the farthest score is more than ten
            interquartile ranges from the median; then it is ``"log"``, or ``"symlog"`` where scores
            are not all of one sign.
        bins : int, default=40
            Number of bars, equally wide on that axis.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : ScoreDistributionDisplay
            Itself, with ``ax_``.
        """
        ax = ax or new_axes()
        odd = -self.scores
        _set_scale(ax, odd, scale)
        edges = _bin_edges(ax, odd if self.offset is None else np.append(odd, -self.offset), bins)
        if self.y is None:
            ax.hist(odd, edges, color=COLORS[0], alpha=0.7, edgecolor=COLORS[0])
        else:
            _draw_classes(ax, odd, self.y, edges)
        if self.offset is not None:
            n_flagged = int((self.scores < self.offset).sum())
            text = f"threshold {-self.offset:.3g}, {n_flagged:,} rows above"
            ax.axvline(-self.offset, color=ink(), linestyle="--", linewidth=1.5, label=text)
        ax.set(
            xlabel=ANOMALY_SCORE + (", log scale" if ax.get_xscale() != "linear" else ""),
            ylabel="rows" if self.y is None else "share of the rows of each class",
        )
        if ax.get_legend_handles_labels()[1]:
            ax.margins(y=0.25)  # room for the legend
            ax.legend(loc="best", fontsize="small")
        self.ax_ = ax
        return self


def _set_scale(ax: Axes, odd: NDArray, scale: str) -> None:
    scale = score_scale(odd) if scale == "auto" else scale
    if scale == "symlog":
        ax.set_xscale("symlog", linthresh=linear_below(odd))
    else:
        ax.set_xscale(scale)


def _bin_edges(ax: Axes, odd: NDArray, bins: int) -> list[float]:
    """Return edges that are equally far apart on the axis as it is drawn."""
    transform = ax.xaxis.get_transform()
    low, high = transform.transform([odd.min(), odd.max()])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = transform.inverted().transform(np.linspace(low, high, bins + 1))
    # Rounding on the way there and back must not push the extreme scores out.
    edges[0], edges[-1] = min(edges[0], odd.min()), max(edges[-1], odd.max())
    return edges.tolist()


def _draw_classes(ax: Axes, odd: NDArray, y: NDArray, edges: list[float]) -> None:
    classes = named_classes(y)
    filled = len(classes) <= MOST_FILLED
    for index, (label, name) in enumerate(classes):
        chosen = odd[y == label]
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
