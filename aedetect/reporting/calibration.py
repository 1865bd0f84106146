"""The calibration of a conformal detector."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from aedetect.conformal import block_size_of
from aedetect.plotting.style import COLORS, text_color
from aedetect.reporting.drawing import Picture, draw
from aedetect.reporting.subject import Subject

BINS = 20


class Calibration(NamedTuple):
    """The false alarm rate of a conformal detector, and the p-values of the rows."""

    n_rows: int  # calibration rows
    alpha: float
    interval: tuple[float, float] | None  # of the share of normal rows flagged, 95% confidence
    picture: Picture


def describe_calibration(subject: Subject) -> Calibration | None:
    """Return the calibration of a conformal detector, None for others."""
    if subject.conformal is None or subject.p_values is None:
        return None
    p_values = subject.p_values
    has_folds = not hasattr(subject.conformal, "estimator_")
    has_interval = not has_folds and block_size_of(subject.conformal) == 1  # none is proven else
    return Calibration(
        n_rows=len(subject.conformal.calibration_scores_),
        alpha=float(subject.conformal.alpha),
        interval=subject.conformal.fpr_interval(0.95) if has_interval else None,
        picture=draw(
            lambda ax: _draw(ax, p_values), "Histogram of the p-values.", legend_columns=2
        ),
    )


def _draw(ax: Axes, p_values: NDArray) -> None:
    edges = np.linspace(0, 1, BINS + 1).tolist()
    ax.hist(p_values, edges, color=COLORS[0], alpha=0.55, edgecolor=COLORS[0])
    level = len(p_values) / BINS
    ax.axhline(level, color=text_color(), linestyle="--", label="expected if all rows are normal")
    ax.set(xlabel="p-value (small is anomalous)", ylabel="rows")
    ax.legend(fontsize="small")
