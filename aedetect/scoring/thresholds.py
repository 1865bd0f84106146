"""Errors -> scores and thresholds."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import roc_curve

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


def alarm_rank(n_scores: int, rate: float) -> int:
    """Return which of ``n_scores`` normal scores, from the lowest, new ones are compared with.

    A new normal row is as likely to take any of the ``n_scores + 1`` places among them. So it is
    among the ``rank - 1`` lowest, below the score of that rank, with a probability of at most
    ``rate`` (Vovk et al., "Algorithmic learning in a random world", 2005). 0 where no place is as
    rare as that.
    """
    # As p-values are divided and compared: floor(rate * (n_scores + 1)) rounds otherwise.
    levels = np.arange(1, n_scores + 2) / (n_scores + 1)
    return int(np.searchsorted(levels, rate, side="right"))


def alarm_threshold(scores: FloatArray, rate: float) -> float:
    """Return below which score new normal rows lie with a probability of at most ``rate``.

    ``scores`` are those of ``rows_needed(rate)`` normal rows or more.
    """
    return float(np.sort(scores)[alarm_rank(len(scores), rate) - 1])


def labelled_threshold(scores: FloatArray, y: NDArray) -> float:
    """Return the threshold with the largest balanced accuracy on rows labelled +1 and -1.

    It is half-way between the last score that is flagged and the first that is not; of thresholds
    that are equally good, the lowest.
    """
    # Scores in ascending order, as anomalies are found first.
    false_alarms, found, negated = roc_curve(y == -1, -scores, drop_intermediate=False)
    best = int(np.argmax(found - false_alarms))  # J of Youden, 1950: 2 * balanced accuracy - 1
    if best == 0:
        return float(-negated[1])  # the lowest score: nothing lies below it
    flagged, kept = -negated[best], -negated[best + 1]
    return float(max(flagged + (kept - flagged) / 2, np.nextafter(flagged, kept)))


def rows_needed(rate: float) -> int:
    """Return how many normal scores give :func:`alarm_rank` a rank of 1."""
    n_scores = max(math.ceil(1 / rate) - 2, 1)  # one less than it is, should division round
    while alarm_rank(n_scores, rate) == 0:
        n_scores += 1
    return n_scores


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
        Numbers of the rows that the network was not fitted to; where there are none or no others,
        the errors are taken as they are.

    Returns
    -------
    limit : float
    """
    roots = np.cbrt(errors)
    fitted = np.delete(roots, held_out)
    if len(held_out) and fitted.any():
        fitted *= roots[held_out].mean() / fitted.mean()
    # Of a large table all rows that are scored were held out: their level is right as it is.
    q1, median, q3 = np.percentile(fitted if len(fitted) else roots, [25, 50, 75])
    deviation = (q3 - q1) / (2 * norm.ppf(0.75))
    limit = (median + norm.ppf(0.975) * deviation) ** 3
    return float(max(limit, np.percentile(errors, 75)))  # rounding must not flag equal rows
