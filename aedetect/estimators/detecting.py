"""The detector half of the estimators: scores, decisions and reasons."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin

from aedetect.estimators.checks import check_finite
from aedetect.estimators.transforming import NetworkTransformer
from aedetect.networks import members_of
from aedetect.scoring import FloatArray, Measure, contribute


class NetworkDetector(OutlierMixin, NetworkTransformer):
    """Score rows with a trained network; subclasses make and train it."""

    offset_: float
    _measure: Measure

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """Return how normal each row is: minus its ``anomaly_score``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            Minus a squared distance (see the parameter ``anomaly_score``). At most 0; higher is
            more normal.

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

    def explain(self, X: ArrayLike) -> FloatArray:
        """Return how much each feature adds to the anomaly of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features), float64
            Never negative; a row's sum is ``-score_samples``. With
            ``anomaly_score="reconstruction"`` each feature's error, with ``"standardized"`` its
            ratio. The other scores are not sums over features: theirs are shared out as the
            reconstruction error is.
        """
        X = self._check_new_rows(X)
        measure, members = self._measure, members_of(self.network_)
        return check_finite(self._infer(lambda x: contribute(measure, members, x, self.loss), X))

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

    def _score(self, X: NDArray, *, left_out: bool = False) -> FloatArray:
        measure, members = self._measure, members_of(self.network_)
        return -check_finite(self._infer(lambda x: measure(members, x, left_out=left_out), X))
