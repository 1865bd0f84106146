"""Errors -> scores and thresholds."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


MIN_HELD_OUT = 8  # rows that it takes to tell quartiles apart


def threshold(
    scores: FloatArray, contamination: float | Literal["auto"], held_out: NDArray[np.intp]
) -> float:
    """Return the ``offset_`` below which a score counts as an anomaly.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,), float64
        Scores of the training rows; higher is more normal.
    contamination : float in (0, 0.5] or "auto"
        A float flags that share of the training rows. ``"auto"`` is :func:`tukey_fence`.
    held_out : ndarray of int
        Numbers of the rows that the network was not fitted to. ``"auto"`` looks at these alone,
        where there are enough: on the rows that it has learned, a network errs less.

    Returns
    -------
    offset : float
    """
    if contamination != "auto":
        return float(np.percentile(scores, 100.0 * contamination))
    return -tukey_fence(-scores[held_out] if len(held_out) >= MIN_HELD_OUT else -scores)


def tukey_fence(errors: FloatArray) -> float:
    """Return the error above which Tukey's rule calls a row an outlier.

    The squared residuals of a normal row add up to nearly a scaled chi-squared variable (Box,
    1954), and the cube root of one is nearly normal (Wilson & Hilferty, 1931). So Tukey's upper
    fence, Q3 + 1.5 (Q3 - Q1) ("Exploratory Data Analysis", 1977), is applied to the cube roots.
    It assumes no share of anomalies, moves little while fewer than a quarter of the rows are
    anomalous, and flags about 0.35% of normal rows.

    Parameters
    ----------
    errors : ndarray of shape (n_samples,)
        Reconstruction errors, 0 or above.

    Returns
    -------
    fence : float
        Between Q3 and 2.5 ** 3 * Q3 of ``errors``.
    """
    q1, q3 = np.percentile(errors, [25, 75])
    fence = (2.5 * np.cbrt(q3) - 1.5 * np.cbrt(q1)) ** 3
    return float(max(fence, q3))  # rounding must not flag rows that are all equal
