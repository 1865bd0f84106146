"""How a calibrated detector keeps its promise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from aedetect.plotting.style import COLORS, ink
from aedetect.reporting.drawing import Picture, draw
from aedetect.reporting.subject import Subject

CONFIDENCE = 0.95
BINS = 20


class Calibration(NamedTuple):
    """What was promised, on how many rows it rests, and what came of it."""

    n_rows: int
    alpha: float
    interval: tuple[float, float] | None  # of the share of normal rows that is flagged
    confidence: float
    picture: Picture


def describe_calibration(subject: Subject) -> Calibration | None:
    """Return the calibration, if the detector has one."""
    if subject.conformal is None or subject.p_values is None:
        return None
    p_values = subject.p_values
    has_folds = not hasattr(subject.conformal, "estimator_")  # for which no interval is known
    return Calibration(
        n_rows=len(subject.conformal.calibration_scores_),
        alpha=float(subject.conformal.alpha),
        interval=None if has_folds else subject.conformal.fpr_interval(CONFIDENCE),
        confidence=CONFIDENCE,
        picture=draw(
            lambda ax: _draw(ax, p_values), "Histogram of the p-values.", legend_columns=2
        ),
    )


def _draw(ax: Axes, p_values: NDArray) -> None:
    edges = np.linspace(0, 1, BINS + 1).tolist()
    ax.hist(p_values, edges, color=COLORS[0], alpha=0.55, edgecolor=COLORS[0])
    level = len(p_values) / BINS
    ax.axhline(level, color=ink(), linestyle="--", label="if all rows were normal")
    ax.set(xlabel="p-value (small is odd)", ylabel="rows")
    ax.legend(fontsize="small")
