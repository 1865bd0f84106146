"""The detector half of the estimators: scores, decisions and reasons."""

from __future__ import annotations

import warnings
from functools import partial
from numbers import Real
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from aedetect.estimators.checks import check_finite, check_fpr, check_labels, check_one_rule
from aedetect.estimators.frames import in_frame, names_of
from aedetect.estimators.places import names_places
from aedetect.estimators.transforming import NetworkTransformer
from aedetect.networks import members_of
from aedetect.scoring import (
    N_USUAL,
    FloatArray,
    Measure,
    ObservedCells,
    Question,
    Reconstruction,
    Standardized,
    alarm_threshold,
    fill,
    labelled_threshold,
    leaving_out,
    local_errors,
    log_slope,
    of_complete_rows,
    of_copies,
    repair,
    restore,
    surprises,
    threshold,
    usual_surprise,
    without_rows,
)
from aedetect.training import limit_threads

REPAIRED = 256  # rows at a time
SHARED = 2**16  # values of rows from which threads share a repair: it takes many small operations
MARGIN = 1e-3  # of the threshold, for the rounding on the way back to the units of X


class NetworkDetector(OutlierMixin, NetworkTransformer):
    """Score rows with a trained network; subclasses make and train it."""

    offset_: float
    _measure: Measure
    _image_shape: tuple[int, int, int] | None
    _left_out_scores: FloatArray  # of training rows, each left out, in ascending order
    _typical_row: NDArray[np.float32]  # the mean of the scaled training rows
    _usual_surprise: float

    @names_places
    def score_samples(self, X: ArrayLike) -> FloatArray:
        """Return how normal each row is: minus its ``anomaly_score``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            Minus a squared distance (see the parameter ``anomaly_score``). At most 0; higher is
            more normal. A row equal to a training row is scored as if that had been left out.

        Raises
        ------
        ValueError
            If a score is not finite.
        """
        return self._score(self._check_new_rows(X))

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the scores shifted so that anomalies are negative.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        decisions : ndarray of shape (n_samples,), float64
            ``score_samples(X) - offset_``.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int_]:
        """Return +1 for normal rows and -1 for anomalies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), int
            -1 where ``decision_function(X)`` is negative.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def set_threshold(
        self,
        *,
        fpr: float | None = None,
        contamination: float | None = None,
        labels: tuple[ArrayLike, ArrayLike] | None = None,
        X: ArrayLike | None = None,
    ) -> Self:
        """Set ``offset_`` by one rule of three, without a fit.

        Parameters
        ----------
        fpr : float in (0, 1), default=None
            Share of normal rows to come that may be flagged. With ``X`` it is kept on average, if
            those rows had no part in the fit; :class:`~aedetect.ConformalDetector` says how far off
            it may be. Without ``X`` it is an estimate by training rows: each is left out of
            covariances and neighbours, if not of the network's training.
        contamination : float in (0, 0.5], default=None
            Share of the rows of ``X`` to flag: of the training rows, as the constructor's
            parameter has it, or of others. Without ``X`` it goes by the same scores as ``fpr``.
        labels : pair (X, y), default=None
            Rows and their labels, +1 for normal and -1 for anomalies, some of each. The threshold
            has the largest balanced accuracy on them, the mean of the shares of normal rows and of
            anomalies that it gets right: their numbers do not matter.
        X : array-like of shape (n_samples, n_features), default=None
            Rows for ``fpr`` (normal ones) or ``contamination``.

        Returns
        -------
        self : object
            With another ``offset_``; all else, the parameters too, is as before.

        Raises
        ------
        ValueError
            If not exactly one rule is given, if its value is out of range, or if there are fewer
            rows than ``1 / fpr - 1``.

        Examples
        --------
        >>> from aedetect import DenoisingAutoencoder, datasets
        >>> X, y = datasets.load_digits()
        >>> detector = DenoisingAutoencoder(random_state=0).fit(X[y == 3][:100])
        >>> normal = X[y == 3][100:]
        >>> is_anomaly = detector.set_threshold(fpr=0.05, X=normal).predict(X) == -1
        """
        check_is_fitted(self)
        check_one_rule(fpr=fpr, contamination=contamination, labels=labels)
        if labels is not None:
            rows, y = check_labels(labels, X)
            self.offset_ = labelled_threshold(self.score_samples(rows), y)
            return self
        scores = self._left_out_scores if X is None else self.score_samples(X)
        if fpr is not None:
            self.offset_ = alarm_threshold(scores, check_fpr(fpr, len(scores)))
        else:
            share = check_scalar(
                *(contamination, "contamination", Real),
                min_val=0,
                max_val=0.5,
                include_boundaries="right",
            )
            self.offset_ = threshold(scores, share, held_out=np.arange(0))
        return self

    @names_places
    def explain(self, X: ArrayLike) -> Any:
        """Return how much each feature adds to the anomaly of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        contributions : ndarray or frame of shape (n_samples, n_features), float64
            Never negative; larger is odder. A frame with X's columns, and index, where X is one of
            pandas or polars, or ``set_output`` asks for one.

            - ``anomaly_score="reconstruction"``: each feature's error. A row adds up to
              ``-score_samples``.
            - ``"standardized"``: each feature's error in units of what is usual for it, divided by
              the number of features. A row adds up to ``-score_samples``.
            - All other scores: the feature's surprise. The logarithm of the score is taken before
              and after the feature is restored, and the fall is divided by the mean fall over the
              features of held-out rows: 1 is usual, 10 is ten times as much. Surprises do not add
              up to the score.
            - The same scores of images (``image_shape``): the squared residual, mean of 3x3 pixels,
              divided by its mean over held-out rows. This explains that part of the score alone.

        Notes
        -----
        Surprises of a row take twice as many reconstructions as there are features, and some thirty
        scorings: the eight features that move most when they are restored are scored, and the
        gradient of the score tells of the others. Those of images take one reconstruction.
        """
        rows = self._check_new_rows(X)
        if self._is_sum:
            measure = cast(Reconstruction | Standardized | ObservedCells, self._measure)
            members = members_of(self.network_)
            parts = self._infer("parts", lambda x: measure.parts(members, x), rows)
        else:
            parts = self._surprises(self._scaling.apply(rows))
            parts /= self._usual_surprise
            parts[np.isnan(rows)] = 0
        parts = check_finite(parts)
        return in_frame(parts, X, names_of(X, self), self, like_X=True)

    @names_places
    def repair(self, X: ArrayLike) -> Any:
        """Return the nearest normal version of every row, with few features changed.

        A sparse bias is added to an anomaly until it counts as normal (ARCANA; Roelofs et al.,
        "Autoencoder-based anomaly root cause analysis for wind turbines", Energy and AI, 2021).
        The features that differ from X afterwards are those that made the row odd.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_repaired : ndarray or frame of shape (n_samples, n_features)
            In the units and the dtype of X; a frame with its columns, and index, where X is one of
            pandas or polars, or ``set_output`` asks for one. Normal rows and features that are not
            changed are equal to those of X bit for bit. The others are real numbers, where a
            column holds integers too.

        Warns
        -----
        UserWarning
            If rows could not be made normal; they come back as close to it as was found.
        """
        rows = self._check_new_rows(X)
        odd = self._score(rows) < self.offset_
        repaired = rows.copy()
        if odd.any():
            repaired[odd] = self._repair(rows[odd])
            n_left = int((self._score(repaired[odd]) < self.offset_).sum())
            if n_left:
                warnings.warn(
                    f"{n_left} of {odd.sum()} anomalies could not be made normal: they come back as"
                    " close to it as was found.",
                    stacklevel=3,  # of who calls, beyond names_places
                )
        return in_frame(repaired, X, names_of(X, self), self, like_X=True)

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Return the mean of ``score_samples``, which ``GridSearchCV`` maximises by default.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
            Present for API consistency.

        Returns
        -------
        score : float
            At most 0; higher means a better reconstruction. Comparable between estimators of one
            ``loss`` and ``scaling`` only.
        """
        return float(self.score_samples(X).mean())

    def _score(self, X: NDArray) -> FloatArray:
        measure, members = self._measure, members_of(self.network_)
        return -check_finite(self._infer("score", lambda x: measure(members, x), X))

    @property
    def _is_sum(self) -> bool:
        """Whether the score is a sum over features."""
        return isinstance(of_complete_rows(self._measure), Reconstruction | Standardized)

    def _surprises(self, x: NDArray[np.float32]) -> FloatArray:
        """Return the surprises in scaled rows, before they are divided by what is usual."""
        x = self._filled(x)
        if self._image_shape is not None:
            return self._local_errors(x, self._image_shape)
        return surprises(self._question(of_complete_rows(self._measure)), x)

    def _question(self, measure: Measure) -> Question:
        name = "complete" if measure is of_complete_rows(self._measure) else None
        measure, members = of_copies(measure), members_of(self.network_)
        return Question(
            lambda x: self._infer_scaled(name, lambda x: measure(members, x), x),
            lambda x: self._infer_scaled(
                name and "slope", lambda x: log_slope(partial(measure, members), x), x
            ),
            lambda x: self._infer_scaled("version", self._restore, x),
            self._typical_row,
            floor=1e-6 * -self.offset_ or 1.0,
        )

    def _local_errors(self, x: NDArray[np.float32], shape: tuple[int, int, int]) -> FloatArray:
        return self._infer_scaled(
            "local errors",
            lambda x: local_errors((self._restore(x) - x).double().square(), shape),
            x,
        )

    def _fit_usual_surprise(self, reference: NDArray, n_held_out: int) -> None:
        """Set what explanations compare with, by normal rows: the first of the reference."""
        x = self._filled(self._scaling.apply(reference))
        self._typical_row, self._usual_surprise = x.mean(axis=0), 1.0
        if self._is_sum:
            return
        x = x[: min(n_held_out or len(x), max(4, N_USUAL // x.shape[1]))]
        if self._image_shape is not None:
            usual = float(self._local_errors(x, self._image_shape).mean())
        else:
            measure = without_rows(of_complete_rows(self._measure), len(x))
            usual = usual_surprise(self._question(measure), x)
        self._usual_surprise = usual or 1.0

    def _filled(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scaled rows with their missing cells as the network restores them."""
        if not self._takes_missing:
            return x
        members = members_of(self.network_)
        return self._infer_scaled("filled", lambda x: fill(members, x, self._loss), x)

    def _restore(self, x: Tensor) -> Tensor:
        """Return the network's version of scaled rows."""
        return restore(members_of(self.network_), x, self._loss)

    def _repair(self, rows: NDArray) -> NDArray:
        """Return anomalies made normal, a block at a time to bound the memory."""
        scaled = self._scaling.apply(rows)
        blocks = torch.from_numpy(scaled).split(REPAIRED)
        moved = torch.cat([self._repair_scaled(x.to(self._device)).cpu() for x in blocks]).numpy()
        return np.where(moved != scaled, self._scaling.invert(moved), rows).astype(rows.dtype)

    def _repair_scaled(self, x: Tensor) -> Tensor:
        members = members_of(self.network_)
        measure = leaving_out(self._measure, members, x)
        limit = max((1 - MARGIN) * -self.offset_, np.finfo(float).tiny)
        bounds = (0.0, 1.0) if self._loss == "bce" else None
        typical = torch.from_numpy(self._typical_row).to(x.device)
        with limit_threads(x.numel(), SHARED):
            return repair(
                lambda x: torch.log(measure(members, x)),
                self._restore,
                x,
                typical,
                float(np.log(limit)),
                bounds,
            )
