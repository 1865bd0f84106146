"""Which features make a row odd."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aedetect.scoring.thresholds import FloatArray

Rows = NDArray[np.float32]  # scaled, (rows, n_features)
Restore = Callable[[Rows], Rows]
Score = Callable[[Rows], FloatArray]  # a measure of rows: higher is odder

COPIES = 2**18  # values of the copies of rows that are scored at a time
N_USUAL = 512  # values of normal rows, about, that tell which surprise is usual


class Question(NamedTuple):
    """What is asked of copies of rows, each with one feature restored.

    A feature is restored twice: as the network has it in the row as it comes, and as it has it
    where a typical value stands in its place. The first still looks at the odd value, the second
    knows nothing of it. They err at different features, and their mean errs less than either.
    """

    score: Score
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
        n_features, asked = x.shape[1], np.arange(len(features))
        blind = self.restore(_with(x, features, self.typical[features]).reshape(-1, n_features))
        unseen = blind.reshape(len(x), -1, n_features)[:, asked, features]
        before, falls = self._log_score(x)[:, None], np.zeros((len(x), len(features)))
        for values in (self.restore(x)[:, features], unseen):
            copies = _with(x, features, values).reshape(-1, n_features)
            falls += (before - self._log_score(copies).reshape(falls.shape)).clip(0) / 2
        return falls

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


def _with(x: Rows, features: NDArray[np.intp], values: NDArray[np.float32]) -> Rows:
    """Return copies of rows ``(rows, n_asked, n_features)``, each with another feature changed."""
    copies = np.repeat(x[:, None], len(features), axis=1)
    copies[:, np.arange(len(features)), features] = values
    return copies
