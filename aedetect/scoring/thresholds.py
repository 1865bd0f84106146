"""Errors -> scores and thresholds."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

FloatArray = NDArray[np.float64]


AUTO_SHARE = 0.005  # of the training rows that "auto" flags at least, should their tail be light


def threshold(
    scores: FloatArray, contamination: float | Literal["auto"], held_out: NDArray[np.intp]
) -> float:
    """Return the ``offset_`` below which a score counts as an anomaly.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,), float64
        Scores of the training rows; higher is more normal.
    contamination : float in (0, 0.5] or "auto"
        A float flags that share of the training rows. ``"auto"`` is :func:`chi_squared_limit`,
        and at least 0.5% of the rows.
    held_out : ndarray of int
        Numbers of the rows that the network was not fitted to.

    Returns
    -------
    offset : float
    """
    if contamination != "auto":
        return float(np.percentile(scores, 100 * contamination))
    strictest = float(np.percentile(scores, 100 * AUTO_SHARE))
    return max(-chi_squared_limit(-scores, held_out), strictest)


def chi_squared_limit(errors: FloatArray, held_out: NDArray[np.intp]) -> float:
    """Return the 97.5% quantile of the scaled chi-squared distribution that errors follow.

    The squared residuals of a normal row add up to nearly a scaled chi-squared variable (Box,
    1954), whose cube root is nearly normal (Wilson & Hilferty, 1931). Its mean and deviation are
    read off the median and the quartiles, which a few anomalies hardly move, and the quantile is
    the usual one for robust distances (Rousseeuw & van Zomeren, "Unmasking multivariate outliers
    and leverage points", 1990). A network errs less on the rows that it was fitted to, so their
    errors are first multiplied to the level of the held-out ones.

    Parameters
    ----------
    errors : ndarray of shape (n_samples,)
        Reconstruction errors of the training rows, 0 or above.
    held_out : ndarray of int
        Numbers of the rows that the network was not fitted to; without any, the errors are taken
        as they are.

    Returns
    -------
    limit : float
    """
    roots = np.cbrt(errors)
    fitted = np.delete(roots, held_out)
    if len(held_out) and fitted.any():
        fitted *= roots[held_out].mean() / fitted.mean()
    q1, median, q3 = np.percentile(fitted, [25, 50, 75])
    deviation = (q3 - q1) / (2 * norm.ppf(0.75))
    limit = (median + norm.ppf(0.975) * deviation) ** 3
    return float(max(limit, np.percentile(errors, 75)))  # rounding must not flag equal rows
