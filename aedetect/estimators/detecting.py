"""The detector half of the estimators: scores, decisions and reasons."""

from __future__ import annotations

from numbers import Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from aedetect.estimators.checks import check_finite, check_fpr, check_labels, check_one_rule
from aedetect.estimators.transforming import NetworkTransformer
from aedetect.networks import members_of
from aedetect.scoring import (
    FloatArray,
    Measure,
    alarm_threshold,
    contribute,
    labelled_threshold,
    threshold,
)


class NetworkDetector(OutlierMixin, NetworkTransformer):
    """Score rows with a trained network; subclasses make and train it."""

    offset_: float
    _measure: Measure
    _left_out_scores: FloatArray  # of training rows as if they were new, in ascending order

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
            it may be. Without ``X`` it is an estimate by training rows: by what they would score,
            had they been left out of covariances and neighbours, if not of the network's training.
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
