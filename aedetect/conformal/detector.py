"""The detector whose share of false alarms is known."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta
from sklearn.base import BaseEstimator, MetaEstimatorMixin, OutlierMixin, clone
from sklearn.model_selection import BaseCrossValidator, KFold, check_cv
from sklearn.utils import Tags, _safe_indexing, get_tags, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _num_samples, check_is_fitted

from aedetect.conformal.checks import check_partition, check_weights
from aedetect.conformal.inner import fit_rows, resolve_direction, score_rows, set_seeds
from aedetect.conformal.p_values import conformal_p_values, cross_margins, weighted_p_values
from aedetect.conformal.selection import select_by_p_values, select_by_weights
from aedetect.estimators import DenoisingAutoencoder
from aedetect.estimators.fitting import local_random_state
from aedetect.places import rows_of
from aedetect.reasons import explain_given, gives_reasons, repair_given, warn_of_columns
from aedetect.scoring import FloatArray, alarm_rank, rows_needed

Rows = NDArray[np.intp]
Weights = tuple[ArrayLike, ArrayLike]

NOT_PREFIT = (
    "prefit=True needs a fitted estimator, but this %(name)s is not. Fit it, or use prefit=False."
    " clone() undoes a fit: wrap the estimator in sklearn.frozen.FrozenEstimator to keep it."
)


def _has_reasons(detector: ConformalDetector) -> bool:
    estimator = getattr(detector, "estimator_", detector.estimator)
    return estimator is None or gives_reasons(estimator)


class ConformalDetector(MetaEstimatorMixin, OutlierMixin, BaseEstimator):
    """Outlier detector around another one, with a known share of false alarms.

    Some normal rows are kept from the inner detector. They are the measure of its scores: a new row
    is flagged if hardly any of these calibration rows score as low (Vovk et al., "Algorithmic
    learning in a random world", 2005; Bates et al., "Testing for outliers with conformal p-values",
    Annals of Statistics, 2023).

    **What is guaranteed.** A new normal row is flagged with a probability of at most ``alpha``,
    whatever the inner detector, the distribution and the number of rows. Of the rows that
    :meth:`select` reports, at most ``fdr`` are normal, on average.

    **What is assumed.** The calibration rows and the new normal rows are exchangeable: drawn
    independently from one distribution, for example. Rows of another time or group are often not.
    Anomalies among the calibration rows, where they score low, lead to fewer alarms: the share of
    false ones keeps below ``alpha``, but anomalies are missed. Rows given to ``fit`` are not new.

    Both rates are means over calibration sets. How far the share of false alarms may lie from
    ``alpha`` with the one at hand tells :meth:`fpr_interval`.

    Parameters
    ----------
    estimator : outlier detector or None, default=None
        Anything with ``score_samples`` or ``decision_function`` for new rows: the estimators of
        this package, ``IsolationForest``, ``LocalOutlierFactor(novelty=True)``, ``OneClassSVM``, a
        Pipeline that ends in one, a detector of PyOD. None stands for
        :class:`~aedetect.DenoisingAutoencoder` with its defaults.
    alpha : float in (0, 1), default=0.05
        Share of normal rows that ``predict`` may flag; taken up by ``fit`` and ``calibrate``.
    calibration_size : float in (0, 1) or int, default=0.3
        Share or number of the rows given to ``fit`` that calibrate; the inner detector is fitted to
        the others. At least ``1 / alpha - 1`` rows are needed for an alarm. Ignored with ``cv``
        and ``prefit``.
    cv : int, cross-validation splitter, iterable or None, default=None
        With folds each row calibrates the detector that is fitted to the other folds, and a new row
        is compared with each calibration row by that one's detector (cross-conformal prediction:
        Vovk, 2015; CV+: Barber et al., Annals of Statistics, 2021). All rows then serve both ends,
        and as many detectors are kept as there are folds. What is *proved* is then only a
        share of false alarms of about ``2 * alpha``; it mostly is about ``alpha``. An int
        stands for that many shuffled folds. Every row must be in one test fold.
    prefit : bool, default=False
        Whether ``estimator`` is fitted already; all rows given to ``fit`` or ``calibrate`` then
        calibrate, and it must not have been fitted to any of them. :func:`sklearn.base.clone`
        undoes its fit; wrap it in :class:`sklearn.frozen.FrozenEstimator` where this must not be.
    higher_is_normal : bool or "auto", default="auto"
        Direction of the inner scores. True is scikit-learn's and ours, False PyOD's. ``"auto"``
        is True where the inner detector has ``score_samples``, and an error elsewhere.
    random_state : int, RandomState instance or None, default=None
        Governs which rows calibrate, the folds, and the inner detector's fit where its own
        ``random_state`` is None. The global generators are not touched.

    Attributes
    ----------
    estimator_ : object
        The fitted inner detector; absent with ``cv``.
    estimators_ : list of object
        The same, or the detectors of all folds.
    calibration_scores_ : ndarray of shape (n_calibration,), float64
        Inner scores of the calibration rows in ascending order; higher is more normal.
    calibration_indices_ : ndarray of shape (n_calibration,), int
        To which row of the ``X`` that was given to ``fit`` or ``calibrate`` each of them belongs.
    offset_ : float
        Rows that score below it are anomalies. ``-inf`` where the calibration rows are too few for
        any alarm at ``alpha``.
    n_features_in_ : int
        Features seen by the inner detector, if it tells.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if it tells.

    See Also
    --------
    DenoisingAutoencoder.set_threshold : Moves the threshold of one of our detectors.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from aedetect import ConformalDetector
    >>> rng = np.random.RandomState(0)
    >>> X, X_new = rng.randn(1000, 3), rng.randn(500, 3)
    >>> X_new[:50] += 4  # anomalies
    >>> forest = IsolationForest(random_state=0)
    >>> detector = ConformalDetector(forest, alpha=0.05, random_state=0).fit(X)
    >>> is_anomaly = detector.predict(X_new) == -1  # 5% of the normal rows
    >>> reported = detector.select(X_new, fdr=0.1)  # 10% of the reported rows are normal
    >>> bool(reported[:50].mean() > 0.9)
    True
    >>> low, high = detector.fpr_interval()  # of the false alarms with these calibration rows
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "estimator": [HasMethods(["fit"]), None],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "calibration_size": [
            Interval(Real, 0, 1, closed="neither"),
            Interval(Integral, 1, None, closed="left"),
        ],
        "cv": ["cv_object", None],
        "prefit": ["boolean"],
        "higher_is_normal": ["boolean", StrOptions({"auto"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        alpha: float = 0.05,
        calibration_size: float = 0.3,
        cv: int | BaseCrossValidator | Iterable | None = None,
        prefit: bool = False,
        higher_is_normal: bool | Literal["auto"] = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.alpha = alpha
        self.calibration_size = calibration_size
        self.cv = cv
        self.prefit = prefit
        self.higher_is_normal = higher_is_normal
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit the inner detector to some rows and calibrate it with the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Normal rows, at least two. With ``prefit`` all of them calibrate.
        y : ignored
            Present for API consistency.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter is out of its range, if there are too few rows to divide, if the folds do
            not hold each row once, or if the inner detector refuses the rows or gives NaN.

        Warns
        -----
        UserWarning
            If the calibration rows are too few for any alarm at ``alpha``, with the number needed.
        """
        if self.prefit:
            return self.calibrate(X)
        self._validate_params()
        (X,) = indexable(X)
        random_state = local_random_state(self.random_state)
        inner = self._inner()
        resolve_direction(inner, self.higher_is_normal)  # before a long fit
        inner = set_seeds(clone(inner), random_state)
        folds = self._split(X, random_state)
        estimators = [fit_rows(clone(inner), X, train) for train, _ in folds]
        return self._set_calibration(estimators, X, [held_out for _, held_out in folds])

    def calibrate(self, X: ArrayLike) -> Self:
        """Calibrate a fitted detector with rows that it was not fitted to, and with no others.

        For ``prefit``, and to follow rows that change, without a fit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Normal rows.

        Returns
        -------
        self : object

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If there is no fitted inner detector.
        ValueError
            If ``cv`` is given: its calibration rows are those of the fit.

        Warns
        -----
        UserWarning
            As :meth:`fit` does.
        """
        self._validate_params()
        if self.cv is not None:
            raise ValueError(
                f"With cv={self.cv!r} there is one inner detector a fold, but calibrate can use one"
                " alone. Use cv=None, or fit again."
            )
        if not self.prefit:
            check_is_fitted(self, "estimator_")
        inner = self._inner() if self.prefit else self.estimator_
        check_is_fitted(inner, msg=NOT_PREFIT)
        (X,) = indexable(X)
        return self._set_calibration([inner], X, [np.arange(_num_samples(X))])

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """Return how normal each row is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            Those of the inner detector; higher is more normal. With ``cv``, where each fold has
            its detector, how far a row lies above the alarm: the r-th largest of the differences
            between its score and that of a calibration row, both by the detector that did not see
            the latter, where r is ``alpha * (n_calibration + 1)``, rounded down.
        """
        scores = self._score(X)
        if hasattr(self, "estimator_"):
            return scores[0]
        return cross_margins(self._calibration, scores, max(self._rank, 1))

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the scores shifted so that anomalies are negative.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        decisions : ndarray of shape (n_samples,), float64
            ``score_samples(X) - offset_``: negative exactly where ``p_values(X) <= alpha``.
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
            -1 where ``decision_function(X)`` is negative: for a new normal row with a probability
            of at most ``alpha``.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: ArrayLike, *, weights: Weights | None = None) -> FloatArray:
        """Return how likely a normal row is to be as odd as each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        weights : pair of array-like of shapes (n_calibration,) and (n_samples,), default=None
            For new normal rows that come from another distribution than the calibration rows (a
            covariate shift; Tibshirani et al., NeurIPS 2019): how many times as likely a row is
            among the new normal ones as among the calibration rows, up to a factor common to both
            arrays. First for ``X_fit[calibration_indices_]``, in this order, where ``X_fit`` is
            what was given to ``fit`` or ``calibrate``; then for ``X``. The guarantee is as good as
            these ratios. Not with ``cv``.

        Returns
        -------
        p : ndarray of shape (n_samples,), float64
            ``(1 + the number of calibration rows that score as low or lower) / (n_calibration +
            1)``. For a new normal row ``P(p <= t) <= t`` for every t (with ``cv`` about ``2 * t``).

        Raises
        ------
        ValueError
            If ``weights`` do not fit the rows, are negative or not finite, or there are folds.
        """
        scores = self._score(X)
        if weights is not None:
            return weighted_p_values(*self._weighted(scores, weights))
        return conformal_p_values(self._calibration, scores)

    def select(
        self, X: ArrayLike, *, fdr: float = 0.1, weights: Weights | None = None
    ) -> NDArray[np.bool_]:
        """Return which of the rows to report, so that few of the reported rows are normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            All rows that are examined at once: which are reported depends on how many there are.
        fdr : float in (0, 1), default=0.1
            Share of normal rows among those reported, on average (false discovery rate), that is
            allowed. It is kept where the rows are independent, given the fit (Benjamini &
            Hochberg, 1995; Bates et al., 2023). With ``cv`` that is not proved.
        weights : pair of array-like, default=None
            As in :meth:`p_values`. The rate is then kept by weighted conformal selection (Jin &
            Candès, 2023), which sorts all rows once for each with a p-value of at most ``fdr``.

        Returns
        -------
        reported : ndarray of shape (n_samples,), bool
            True for the rows to report.

        Raises
        ------
        ValueError
            If ``fdr`` is not between 0 and 1, or ``weights`` are refused.

        Warns
        -----
        UserWarning
            If nothing is reported although rows are odder than all calibration rows, with the
            number of calibration rows that it takes to report them.
        """
        if not 0 < fdr < 1:
            raise ValueError(f"fdr must be above 0 and below 1, but it is {fdr!r}.")
        scores = self._score(X)
        if weights is not None:
            return select_by_weights(*self._weighted(scores, weights), fdr)
        p = conformal_p_values(self._calibration, scores)
        reported = select_by_p_values(p, fdr)
        n_odder = np.count_nonzero(p == 1 / (len(self.calibration_scores_) + 1))
        if n_odder and not reported.any():
            warnings.warn(
                f"{n_odder} of {len(p)} rows are odder than all {len(self.calibration_scores_)}"
                f" calibration rows. To report them at fdr={fdr:g} takes at least"
                f" {rows_needed(fdr * n_odder / len(p))}. Calibrate with more rows, examine fewer"
                " at once, or raise fdr.",
                stacklevel=2,
            )
        return reported

    def fpr_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return where the share of normal rows that ``predict`` flags lies.

        ``alpha`` bounds its mean over calibration sets of n rows. With the one at hand, drawn
        independently, it follows the distribution Beta(r, n + 1 - r), where r is ``alpha * (n +
        1)``, rounded down (Vovk, "Conditional validity of inductive conformal predictors", 2012).
        It is lower where scores tie.

        Parameters
        ----------
        confidence : float in (0, 1), default=0.95
            Probability of the interval, half of the rest at each end.

        Returns
        -------
        low, high : float
            Both are 0 where ``predict`` flags nothing at all.

        Raises
        ------
        ValueError
            If ``confidence`` is not between 0 and 1, or with ``cv``, where no such law is known.
        """
        check_is_fitted(self, "estimators_")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be above 0 and below 1, but it is {confidence!r}.")
        self._refuse_folds("fpr_interval")
        if self._rank == 0:
            return 0.0, 0.0
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        n_above = len(self.calibration_scores_) + 1 - self._rank
        low, high = beta.ppf(tails, self._rank, n_above)
        return float(low), float(high)

    @available_if(_has_reasons)
    def explain(self, X: ArrayLike) -> Any:
        """Return how much each feature adds to the anomaly of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        contributions : ndarray or DataFrame of shape (n_samples, n_features), float64
            What :func:`aedetect.explain` returns for the inner detector, which may be a Pipeline;
            the mean over the folds with ``cv``.

        Warns
        -----
        UserWarning
            If the columns are those that the detector sees, which is at the end of a Pipeline.
        """
        check_is_fitted(self, "estimators_")
        contributions, is_given = explain_given(self, X)
        if not is_given:
            warn_of_columns("contributions")
        return contributions

    @available_if(_has_reasons)
    def repair(self, X: ArrayLike) -> Any:
        """Return the nearest version of every row that ``predict`` takes for normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_repaired : ndarray or DataFrame of shape (n_samples, n_features)
            What :func:`aedetect.repair` returns for the inner detector, at the threshold of this
            one.

        Raises
        ------
        ValueError
            With ``cv``: what is normal is up to several detectors then.

        Warns
        -----
        UserWarning
            As :func:`aedetect.repair` does.
        """
        check_is_fitted(self, "estimators_")
        repaired, is_given = repair_given(self, X)
        if not is_given:
            warn_of_columns("repaired rows")
        return repaired

    # Fitting.

    def _inner(self) -> Any:
        return DenoisingAutoencoder() if self.estimator is None else self.estimator

    def _split(self, X: Any, random_state: np.random.RandomState) -> list[tuple[Rows, Rows]]:
        """Return pairs of rows to fit to and rows to calibrate with."""
        n_rows = _num_samples(X)
        if n_rows < 2:
            raise ValueError(
                "ConformalDetector needs two rows, one to fit to and one to calibrate with, but X"
                f" has n_samples={n_rows}. Give more."
            )
        if self.cv is None:
            order = random_state.permutation(n_rows)
            n_fitted = n_rows - self._count_calibration(n_rows)
            return [(order[:n_fitted], order[n_fitted:])]
        if isinstance(self.cv, Integral):
            splitter = KFold(self.cv, shuffle=True, random_state=random_state)
        else:
            splitter = check_cv(self.cv)
        folds = list(splitter.split(X))
        check_partition([held_out for _, held_out in folds], n_rows)
        return folds

    def _count_calibration(self, n_rows: int) -> int:
        size = self.calibration_size
        if not isinstance(size, Integral):
            return min(math.ceil(size * n_rows), n_rows - 1)
        if size >= n_rows:
            raise ValueError(
                f"calibration_size={size} leaves no row to fit to, as X has {n_rows} rows. Make it"
                " smaller, or pass a fitted estimator and prefit=True."
            )
        return int(size)

    def _set_calibration(self, estimators: list, X: Any, calibration_rows: list[Rows]) -> Self:
        """Take fitted detectors and the rows that each of them calibrates."""
        direction = resolve_direction(estimators[0], self.higher_is_normal)
        scores = []
        for estimator, rows in zip(estimators, calibration_rows, strict=True):
            with rows_of(rows):
                part = _safe_indexing(X, rows)
                scores.append(score_rows(estimator, part, higher_is_normal=direction))
        pooled = np.concatenate(scores)
        order = np.argsort(pooled, kind="stable")
        self.calibration_scores_ = pooled[order]
        self.calibration_indices_ = np.concatenate(calibration_rows)[order]
        self._calibration = [np.sort(part) for part in scores]
        self._higher_is_normal = direction
        self._set_estimators(estimators)
        self._set_offset()
        return self

    def _set_estimators(self, estimators: list) -> None:
        for name in ("estimator_", "n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)  # of another fit
        self.estimators_ = estimators
        if self.cv is None:
            self.estimator_ = estimators[0]
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(estimators[0], name):
                setattr(self, name, getattr(estimators[0], name))

    def _set_offset(self) -> None:
        n_calibration = len(self.calibration_scores_)
        self._rank = alarm_rank(n_calibration, self.alpha)
        if self._rank == 0:
            self.offset_ = -math.inf
            warnings.warn(
                f"{n_calibration} calibration rows are too few for any alarm at"
                f" alpha={self.alpha:g}: it takes {rows_needed(self.alpha)}. Calibrate with more"
                " rows, or raise alpha.",
                stacklevel=4,  # of fit and calibrate
            )
        elif self.cv is None:
            self.offset_ = float(self.calibration_scores_[self._rank - 1])
        else:
            self.offset_ = 0.0  # margins are relative to it

    # Scoring.

    def _score(self, X: ArrayLike) -> list[FloatArray]:
        """Return the scores of rows by each detector."""
        check_is_fitted(self, "estimators_")
        return [
            score_rows(estimator, X, higher_is_normal=self._higher_is_normal)
            for estimator in self.estimators_
        ]

    def _weighted(
        self, scores: list[FloatArray], weights: Weights
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return the scores of calibration rows and new rows, and their weights."""
        self._refuse_folds("weights")
        known = self.calibration_scores_
        return known, scores[0], *check_weights(weights, len(known), len(scores[0]))

    def _refuse_folds(self, asked: str) -> None:
        if not hasattr(self, "estimator_"):
            raise ValueError(
                f"With cv={self.cv!r} there is one inner detector a fold, but {asked} can use one"
                " alone. Use cv=None."
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self._inner()).input_tags
        return tags
