"""Explanations: the features that make a row odd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aedetect.model import View
from aedetect.scoring.score import Score
from aedetect.scoring.thresholds import FloatArray

if TYPE_CHECKING:
    from aedetect.model import Model

Scaled = NDArray[np.float32]  # rows, (n_rows, n_features)

COPIES = 2**18  # values of the copies of rows that are scored at a time
MEASURED = 8  # features of a row that are restored and scored; the slope stands for the others


@dataclass(frozen=True, eq=False)
class Surprise:
    """The fall of a score when features of a row are restored one at a time.

    A feature is restored in two ways: by the reconstruction of the row as it is, and by that of the
    row with a typical value in the feature's place. The first still depends on the odd value, the
    second does not. They err at different features, and their mean errs less than either.

    The features that move most when they are restored are scored in copies of the row. Over a short
    move the score is nearly linear, so its gradient stands for all other features.

    Parameters
    ----------
    model : Model
    score : Score
        Called, not :meth:`~Score.judge`: a reference row and its copies are all scored as new rows.
        Otherwise leaving the row out of a covariance would be put down to the change.
    typical : ndarray of shape (n_features,), float32
        A scaled row of typical values.
    floor : float
        Scores below it are raised to it: they are too small to compare.
    is_complete : bool, default=True
        Whether the score is the detector's own, not one without some of its rows.
    """

    model: Model
    score: Score
    typical: NDArray[np.float32]
    floor: float
    is_complete: bool = True

    def falls(self, x: Scaled, features: NDArray[np.intp]) -> FloatArray:
        """Return the fall of the logarithm of the score for every restored feature.

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

    def _falls_of(self, x: Scaled, features: NDArray[np.intp]) -> FloatArray:
        own = self.model.columns.members[features]  # (n_asked, width)
        # (n_rows, 1, width) and (n_rows, n_asked, width)
        ways = (self.restore(x)[:, None], self._unseen(x, features))
        moves = [np.where(own, values - x[:, None], 0) for values in ways]
        moved = np.maximum(*[np.abs(move).max(axis=2) for move in moves])
        measured = np.argsort(-moved, axis=1, kind="stable")[:, :MEASURED]
        before, slope = self._log_score(x), self._slope(x)
        slope[before == np.log(self.floor)] = 0
        falls = np.zeros(moved.shape)
        for values, move in zip(ways, moves, strict=True):
            chosen = np.take_along_axis(np.broadcast_to(values, move.shape), measured[..., None], 1)
            copies = np.where(own[measured], chosen, x[:, None])
            after = self._log_score(copies.reshape(-1, x.shape[1])).reshape(measured.shape)
            with np.errstate(over="ignore", invalid="ignore"):  # the caller refuses it
                fall = -(slope[:, None] * move).sum(axis=2)
                np.put_along_axis(fall, measured, before[:, None] - after, axis=1)
            falls += fall.clip(0) / 2
        return falls

    def _unseen(self, x: Scaled, features: NDArray[np.intp]) -> Scaled:
        """Return rows restored with a typical value in place of each feature.

        Their shape is (n_rows, n_asked, width).
        """
        own = self.model.columns.members[features]
        blind = np.where(own, self.typical, x[:, None])
        return self.restore(blind.reshape(-1, x.shape[1])).reshape(blind.shape)

    def restore(self, x: Scaled) -> Scaled:
        """Return the mean reconstruction of scaled rows, with the most probable levels."""
        with_levels = self.model.columns.with_levels
        return self.model.map_scaled(lambda view: with_levels(view.x_hat), x, "x_hat")

    def _log_score(self, x: Scaled) -> FloatArray:
        name = f"{self.score.name} score of copies" if self.is_complete else None
        return np.log(np.maximum(self.model.map_scaled(self.score, x, name), self.floor))

    def _slope(self, x: Scaled) -> Scaled:
        name = f"{self.score.name} slope of copies" if self.is_complete else None
        return self.model.map_scaled(
            lambda view: log_slope(lambda x: self.score(View(self.model, x)), view.x), x, name
        )


def surprises(surprise: Surprise, x: Scaled) -> FloatArray:
    """Return the fall of the score of each row for every restored feature.

    An odd value spoils the reconstruction of the other features. So each feature is restored twice:
    in the row as it is, and in the row whose oddest feature is restored already. The mean of the
    two falls is a Shapley value (Shapley, 1953) over these two orders alone.

    Parameters
    ----------
    surprise : Surprise
    x : ndarray of shape (n_rows, n_features), float32
        Scaled rows.

    Returns
    -------
    falls : ndarray of shape (n_rows, n_features), float64
        Of the logarithm of the score, at least 0.
    """
    columns = surprise.model.columns
    features = np.arange(columns.n_features)
    first = surprise.falls(x, features)
    rows, oddest = np.arange(len(x)), first.argmax(axis=1)
    restored = np.where(columns.members[oddest], surprise.restore(x), x)
    again = surprise.falls(restored, features)
    again[rows, oddest] = first[rows, oddest]
    return (first + again) / 2


def usual_surprise(surprise: Surprise, x: Scaled, n_values: int) -> float:
    """Return the mean fall over features of normal rows; over every k-th of many features."""
    n_features = surprise.model.columns.n_features
    every = -(-len(x) * n_features // n_values)
    return float(surprise.falls(x, np.arange(0, n_features, every)).mean())


def local_errors(errors: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """Return the mean error of 3x3 pixels around each pixel, ``(rows, n_features)``.

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
