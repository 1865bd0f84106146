"""Which features make a row odd."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aedetect.scoring.thresholds import FloatArray

Rows = NDArray[np.float32]  # scaled, (rows, n_features)
Restore = Callable[[Rows], Rows]
Score = Callable[[Rows], FloatArray]  # a measure of rows: higher is odder
Slope = Callable[[Rows], NDArray]  # the gradient of its logarithm, (rows, n_features)

COPIES = 2**18  # values of the copies of rows that are scored at a time
MEASURED = 8  # features of a row that are restored and scored; the slope tells of the others
N_USUAL = 512  # values of normal rows, about, that tell which surprise is usual


class Question(NamedTuple):
    """What is asked of rows, and of copies of them with one feature restored each.

    A feature is restored twice: as the network has it in the row as it comes, and as it has it
    where a typical value stands in its place. The first still looks at the odd value, the second
    knows nothing of it. They err at different features, and their mean errs less than either.

    The features that move most when they are restored are scored in copies of the row. Over a short
    move the score is nearly linear, so one gradient tells of all others.
    """

    score: Score
    slope: Slope
    restore: Restore
    typical: NDArray[np.float32]  # (n_features,), scaled
    floor: float  # scores below are taken for this: too small to tell anything

    def falls(self, x: Rows, features: NDArray[np.intp]) -> FloatArray:
        """Return how far the logarithm of the score falls when features are restored.

        Parameters
        ----------
        x : ndarray of shape (n_rows, n_features), float32
            Scaled rows.
        features : ndarray of shape (n_asked,), int
            Which features.

        Returns
        -------
        falls : ndarray of shape (n_rows, n_asked), float64
            At least 0.
        """
        size = max(1, COPIES // (len(features) * x.shape[1]))
        parts = [self._falls_of(x[i : i + size], features) for i in range(0, len(x), size)]
        return np.concatenate(parts)

    def _falls_of(self, x: Rows, features: NDArray[np.intp]) -> FloatArray:
        ways = (self.restore(x)[:, features], self._unseen(x, features))
        moves = [values - x[:, features] for values in ways]
        moved = np.maximum(*np.abs(moves))
        measured = np.argsort(-moved, axis=1, kind="stable")[:, :MEASURED]
        before, slope = self._log_score(x), self.slope(x)[:, features]
        slope[before == np.log(self.floor)] = 0
        falls = np.zeros(moved.shape)
        for values, move in zip(ways, moves, strict=True):
            with np.errstate(over="ignore", invalid="ignore"):  # refused by who asked
                fall = -slope * move
            copies = _with(x, features[measured], np.take_along_axis(values, measured, axis=1))
            after = self._log_score(copies.reshape(-1, x.shape[1])).reshape(measured.shape)
            np.put_along_axis(fall, measured, before[:, None] - after, axis=1)
            falls += fall.clip(0) / 2
        return falls

    def _unseen(self, x: Rows, features: NDArray[np.intp]) -> Rows:
        """Return each feature restored where a typical value stands in its place."""
        every = np.broadcast_to(features, (len(x), len(features)))
        blind = _with(x, every, self.typical[every])
        restored = self.restore(blind.reshape(-1, x.shape[1])).reshape(blind.shape)
        return restored[:, np.arange(len(features)), features]

    def _log_score(self, x: Rows) -> FloatArray:
        return np.log(np.maximum(self.score(x), self.floor))


def surprises(question: Question, x: Rows) -> FloatArray:
    """Return how far the score of rows falls when one feature is restored.

    An odd value spoils what the network makes of the others. So each feature is asked twice: in
    the row as it comes, and once more after the oddest feature has been restored; the mean of the
    two is a Shapley value (Shapley, 1953) over these two orders alone.

    Parameters
    ----------
    question : Question
    x : ndarray of shape (n_rows, n_features), float32
        Scaled rows.

    Returns
    -------
    falls : ndarray of shape (n_rows, n_features), float64
        Of the logarithm of the score, at least 0.
    """
    features = np.arange(x.shape[1])
    first = question.falls(x, features)
    rows, oddest = np.arange(len(x)), first.argmax(axis=1)
    restored = x.copy()
    restored[rows, oddest] = question.restore(x)[rows, oddest]
    again = question.falls(restored, features)
    again[rows, oddest] = first[rows, oddest]
    return (first + again) / 2


def usual_surprise(question: Question, x: Rows) -> float:
    """Return the mean fall over the features of normal rows, or over some where there are many."""
    every = -(-x.size // N_USUAL)
    return float(question.falls(x, np.arange(0, x.shape[1], every)).mean())


def local_errors(errors: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """Return the mean error around each pixel, in 3x3 of them, ``(rows, n_features)``.

    One pixel is seldom odd alone, and a line that is a little off is odd on both of its sides.
    """
    images = errors.view(len(errors), *image_shape)
    means = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    return means.flatten(1)


def log_slope(measure: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the gradient of the logarithm of a measure of rows, 0 where it has none."""
    with torch.inference_mode(False), torch.enable_grad():
        rows = x.clone().requires_grad_()  # a tensor of inference mode has no gradient
        (slope,) = torch.autograd.grad(torch.log(measure(rows)).sum(), rows)
    return slope.nan_to_num(0.0, 0.0, 0.0)


def _with(x: Rows, features: NDArray[np.intp], values: NDArray[np.float32]) -> Rows:
    """Return copies of rows ``(rows, n_copies, n_features)``, each with another feature changed.

    Features and values are of shape (rows, n_copies).
    """
    copies = np.repeat(x[:, None], features.shape[1], axis=1)
    np.put_along_axis(copies, features[:, :, None], values[:, :, None], axis=2)
    return copies
