"""Colours, scales, class names and feature names that the displays share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Okabe & Ito's palette for colour-blind readers. Markers, hatches and line styles repeat the
# distinction for prints in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osv^Dp*XP<>"
HATCHES = ("", "///", "...", "xx", "\\\\\\", "++")
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
ANOMALY_SCORE = "anomaly score (-score_samples)"
HEAVY_TAIL = 10  # interquartile ranges from the median to the farthest score
LONGEST_LABEL = 28  # characters that fit beside a plot
LONGEST_LINE = 60  # characters of a name or a value on a page


def new_axes() -> Axes:
    """Return the axes of a new figure."""
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def new_figure(width: float, height: float) -> Figure:
    """Return a new figure without axes; its sides are in inches."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained")


def text_color() -> str:
    """Return the colour of text: black, or white in matplotlib's dark styles."""
    import matplotlib

    return str(matplotlib.rcParams["text.color"])


def anomaly_colors() -> Colormap:
    """Return a colour map that darkens evenly and is visible on white and on black."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("anomaly", ["#8fb3d3", "#c07f4f", "#9c1f1f"])


def short(value: object, longest: int = LONGEST_LINE) -> str:
    """Return a value from the data as one line of at most ``longest`` characters."""
    line = " ".join(str(value).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def plain(text: object) -> str:
    """Return a name from the data as a label: one short line that is not read as a formula."""
    line = short(text, LONGEST_LABEL).replace("$", r"\$")
    return f" {line}" if line.startswith("_") else line  # legends omit names with a leading _


def is_missing(value: Any) -> bool:
    """Return whether a cell is missing: None, NaN or a missing value of pandas."""
    return pd.api.types.is_scalar(value) and bool(pd.isna(value))


def threshold_of(estimator: Any) -> float | None:
    """Return the ``offset_`` of a detector or of the last step of a Pipeline.

    It is None if there is no ``offset_`` or it is infinite.
    """
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    offset = float(np.asarray(getattr(last, "offset_", np.nan)).item())  # OneClassSVM has an array
    return offset if np.isfinite(offset) else None


def labels_of(y: ArrayLike | None) -> NDArray | None:
    """Return class labels as an array that can be sorted."""
    if y is None:
        return None
    labels = np.asarray(y)
    return labels.astype(str) if labels.dtype == object else labels


def named_classes(labels: NDArray) -> list[tuple[object, str]]:
    """Return the classes with their names; +1 is named normal and -1 anomaly."""
    classes = np.unique(labels).tolist()
    if set(classes) <= {1, -1}:
        names = {1: "normal", -1: "anomaly"}
        return [(label, names[label]) for label in sorted(classes, reverse=True)]
    return [(label, plain(label)) for label in classes]


def score_scale(scores: ArrayLike) -> Literal["linear", "log", "symlog"]:
    """Return the axis scale for scores: logarithmic for heavy tails, else linear.

    Heavy tails with scores of both signs or at zero get ``"symlog"``, which is linear near zero.
    """
    low, q1, median, q3, high = np.percentile(np.asarray(scores), [0, 25, 50, 75, 100])
    if max(high - median, median - low) <= HEAVY_TAIL * (q3 - q1):
        return "linear"
    return "log" if low > 0 else "symlog"


def linear_below(scores: NDArray) -> float:
    """Return the absolute score up to which a ``"symlog"`` axis is linear."""
    sizes = np.abs(scores[scores != 0])
    return float(np.percentile(sizes, 75)) if sizes.size else 1.0


def feature_names(X: object, estimator: object, n_features: int) -> Sequence[str]:
    """Return the names of the columns: those of ``X``, of the estimator, or x0, x1, ..."""
    for names in (getattr(X, "columns", None), getattr(estimator, "feature_names_in_", None)):
        if names is not None and len(names) == n_features:
            return [str(name) for name in names]
    return [f"x{i}" for i in range(n_features)]
