"""Arguments of ``set_threshold``."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, check_scalar, column_or_1d

from aedetect.scoring import rows_needed


def check_one_rule(**rules: object) -> None:
    """Refuse anything but one rule for the threshold."""
    given = [name for name, rule in rules.items() if rule is not None]
    if len(given) != 1:
        raise ValueError(
            f"set_threshold needs one of {', '.join(rules)}, but it was given"
            f" {' and '.join(given) or 'none'}. Choose one."
        )


def check_fpr(fpr: float, n_rows: int) -> float:
    """Return the share of false alarms, which the rows must be enough to tell."""
    check_scalar(fpr, "fpr", Real, min_val=0, max_val=1, include_boundaries="neither")
    if n_rows < rows_needed(fpr):
        raise ValueError(
            f"fpr={fpr:g} takes {rows_needed(fpr)} normal rows, but there are {n_rows}. Raise fpr,"
            " or pass more rows as X."
        )
    return fpr


def check_labels(
    labels: tuple[ArrayLike, ArrayLike], X: ArrayLike | None
) -> tuple[ArrayLike, NDArray]:
    """Return rows and their labels, +1 and -1, of which there must be some each."""
    if X is not None:
        raise ValueError("X goes with fpr or contamination; labels=(X, y) has rows of its own.")
    if not isinstance(labels, tuple | list) or len(labels) != 2:
        raise ValueError(f"labels must be a pair (X, y), but is of type {type(labels).__name__}.")
    rows, y = labels[0], column_or_1d(labels[1])
    check_consistent_length(rows, y)
    if set(np.unique(y)) != {-1, 1}:
        raise ValueError(
            "y in labels=(X, y) must hold +1 for normal rows and -1 for anomalies, some of each,"
            f" but it holds {np.unique(y)[:5].tolist()}. Where 1 marks anomalies, use 1 - 2 * y."
        )
    return rows, y
