"""What the pictures share: colours that grey printers keep apart, and text that comes from data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

# Okabe & Ito's colours for all kinds of sight, and what tells the same things apart without any.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osv^Dp*XP<>"
HATCHES = ("", "///", "...", "xx", "\\\\\\", "++")
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
ANOMALY_SCORE = "anomaly score (-score_samples)"
HEAVY_TAIL = 10  # interquartile ranges from the median to the farthest score
LONGEST_NAME = 28  # characters of a name that fit beside a picture


def new_axes() -> Axes:
    """Return the axes of a new figure."""
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def ink() -> str:
    """Return the colour of text: black, or white in matplotlib's dark styles."""
    import matplotlib

    return str(matplotlib.rcParams["text.color"])


def oddity_colors() -> Colormap:
    """Return colours that darken evenly, and can be seen on white and on black."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("oddity", ["#8fb3d3", "#c07f4f", "#9c1f1f"])


def plain(text: object, longest: int = LONGEST_NAME) -> str:
    """Return a name from the data as matplotlib will draw it: no formulas, one short line."""
    line = " ".join(str(text).split())
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    line = line.replace("$", r"\$")
    return f" {line}" if line.startswith("_") else line  # legends leave out names with _ in front


def threshold_of(estimator: Any) -> float | None:
    """Return the score below which a detector, or the last of a Pipeline, flags rows.

    It is None where none is named, or none can be reached.
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
    """Return the classes with their names; +1 and -1 are those of scikit-learn's detectors."""
    classes = np.unique(labels).tolist()
    if set(classes) <= {1, -1}:
        names = {1: "normal", -1: "anomaly"}
        return [(label, names[label]) for label in sorted(classes, reverse=True)]
    return [(label, plain(label)) for label in classes]


def score_scale(scores: ArrayLike) -> Literal["linear", "log", "symlog"]:
    """Return the axis on which scores can be read.

    Heavy tails need a logarithm; where scores touch or cross zero, one that is linear about it.
    """
    low, q1, median, q3, high = np.percentile(np.asarray(scores), [0, 25, 50, 75, 100])
    if max(high - median, median - low) <= HEAVY_TAIL * (q3 - q1):
        return "linear"
    return "log" if low > 0 else "symlog"


def linear_below(scores: NDArray) -> float:
    """Return up to where an axis of the scale ``"symlog"`` is linear."""
    sizes = np.abs(scores[scores != 0])
    return float(np.percentile(sizes, 75)) if sizes.size else 1.0


def feature_names(X: object, estimator: object, n_features: int) -> Sequence[str]:
    """Return the names of the columns: those of ``X``, of the estimator, or x0, x1, ..."""
    for names in (getattr(X, "columns", None), getattr(estimator, "feature_names_in_", None)):
        if names is not None and len(names) == n_features:
            return [str(name) for name in names]
    return [f"x{i}" for i in range(n_features)]
