"""Errors -> scores and thresholds."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

FloatArray = NDArray[np.float64]


AUTO_RATE = 0.025  # of new normal rows that "auto" aims to flag
SEVERAL = 1.5  # times the distance from the median to the upper decile, of logarithms, is far apart


def threshold(
    scores: FloatArray, contamination: float | Literal["auto"], held_out: NDArray[np.intp]
) -> float:
    """Return the ``offset_`` below which a score counts as an anomaly.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,), float64
        Scores of the training rows, as if each had been left out; higher is more normal.
    contamination : float in [0, 0.5] or "auto"
        A float flags that share of the training rows. ``"auto"`` is :func:`auto_threshold`.
    held_out : ndarray of int
        Numbers of the rows that the network was not fitted to.

    Returns
    -------
    offset : float
    """
    if contamination != "auto":
        return float(np.percentile(scores, 100 * contamination))
    return auto_threshold(scores, held_out)


def auto_threshold(scores: FloatArray, held_out: NDArray[np.intp]) -> float:
    """Return a threshold that flags ``AUTO_RATE`` of new normal rows, and rows far apart.

    It is that of :func:`alarm_threshold`, or of :func:`far_limit` where more rows than these are
    beyond. A network errs less on the rows that it was fitted to, so their scores are first brought
    to the level of the held-out ones.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Scores of the training rows, at most 0.
    held_out : ndarray of int
        Numbers of the rows that the network was not fitted to; where there are none or no others,
        the scores are taken as they are.

    Returns
    -------
    offset : float
    """
    levelled = _level(scores, held_out)
    return max(alarm_threshold(levelled, AUTO_RATE), -far_limit(-levelled))


def far_limit(errors: FloatArray) -> float:
    """Return the error beyond which rows stand far apart from nine tenths of all rows.

    Logarithms of errors are skewed little, and those of heavy tails end as an exponential
    distribution does: 1% of it lies beyond, 0.01% of a chi-squared one with ten degrees of freedom.
    """
    half, upper = np.quantile(np.log(np.maximum(errors, np.finfo(float).tiny)), [0.5, 0.9])
    with np.errstate(over="ignore"):
        limit = np.exp(upper + SEVERAL * (upper - half))
    return float(max(limit, np.quantile(errors, 0.9)))  # rounding must not flag equal rows


def _level(scores: FloatArray, held_out: NDArray[np.intp]) -> FloatArray:
    """Return scores; those of fitted rows are lowered to the level of held-out rows.

    By the means of the cube roots, which are nearly normal (Wilson & Hilferty, 1931), and by one
    standard error of their difference less: that of a few held-out rows may be chance.
    """
    roots = np.cbrt(-scores)
    others, fitted = roots[held_out], np.delete(roots, held_out)
    if min(len(others), len(fitted)) < 2 or not fitted.any():
        return scores
    error = np.sqrt(others.var(ddof=1) / len(others) + fitted.var(ddof=1) / len(fitted))
    rise = max(0.0, others.mean() - fitted.mean() - error)
    factor = np.full(len(scores), (1 + rise / fitted.mean()) ** 3)
    factor[held_out] = 1
    return scores * factor


def alarm_rank(n_scores: int, rate: float, block_size: int = 1) -> int:
    """Return the rank, from the lowest, of the normal score that new scores are compared with.

    A new normal row is as likely to take any of the ``n_scores + 1`` places among them. So it is
    among the ``rank - 1`` lowest, below the score of that rank, with a probability of at most
    ``rate`` (Vovk et al., "Algorithmic learning in a random world", 2005). 0 where no place is as
    rare as that. A new row stands for the ``block_size`` rows of its block, as in
    :func:`aedetect.conformal.p_values.conformal_p_values`.
    """
    # As p-values are divided and compared: floor(rate * (n_scores + 1)) rounds otherwise.
    levels = np.arange(block_size, n_scores + block_size + 1) / (n_scores + block_size)
    return int(np.searchsorted(levels, rate, side="right"))


def alarm_threshold(scores: FloatArray, rate: float) -> float:
    """Return the score below which new normal rows lie with a probability of at most ``rate``.

    ``scores`` are those of normal rows. Fewer than ``rows_needed(rate)`` give the lowest of them.
    """
    return float(np.sort(scores)[max(alarm_rank(len(scores), rate), 1) - 1])


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


def rows_needed(rate: float, block_size: int = 1) -> int:
    """Return the number of normal scores, whole blocks, from which :func:`alarm_rank` is 1."""
    n_blocks = max(math.ceil(1 / rate) - 2, 1)  # one less than it is, should division round
    while alarm_rank(n_blocks * block_size, rate, block_size) == 0:
        n_blocks += 1
    return n_blocks * block_size


def carry_over(limit: float, before: FloatArray, after: FloatArray) -> float:
    """Return the measure that as many rows exceed after a change as ``limit`` before it.

    Logarithms are interpolated between the ordered measures of some rows, and beyond the last of
    these moved by as much as that.

    Parameters
    ----------
    limit : float
    before, after : ndarray of shape (n_rows,)
        Measures of rows, at least 0.
    """
    tiny = np.finfo(float).tiny
    old, new = (np.log(np.maximum(np.sort(values), tiny)) for values in (before, after))
    place = float(np.log(max(limit, tiny)))
    inside = min(max(place, old[0]), old[-1])
    return float(np.exp(np.interp(inside, old, new) + place - inside))
