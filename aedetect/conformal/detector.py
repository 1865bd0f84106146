"""The outlier detector with a bounded share of false alarms."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta
from sklearn.base import BaseEstimator, MetaEstimatorMixin, OutlierMixin, clone
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import Tags, get_tags, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _num_samples, check_is_fitted

from aedetect.conformal.checks import check_weights
from aedetect.conformal.inner import (
    check_rows_remain,
    fit_folds,
    last_step,
    move_detectors,
    resolve_direction,
    score_held_out,
    score_rows,
    set_clean,
    set_seeds,
    uses_labels,
    with_feedback,
)
from aedetect.conformal.p_values import conformal_p_values, cross_margins, weighted_p_values
from aedetect.conformal.reference import make_reference
from aedetect.conformal.selection import select_by_p_values, select_by_weights
from aedetect.conformal.splitting import Rows, split_rows, whole_blocks
from aedetect.estimators import DenoisingAutoencoder
from aedetect.estimators.known_rows import check_known
from aedetect.estimators.splitting import local_random_state
from aedetect.reasons import explain_traced, gives_reasons, repair_traced, warn_of_columns
from aedetect.scoring import FloatArray, alarm_rank, rows_needed

Weights = tuple[ArrayLike, ArrayLike]

OPTIONAL = ("estimator_", "n_features_in_", "feature_names_in_")  # attributes some fits lack
NOT_PREFIT = (
    "prefit=True needs a fitted estimator, but this %(name)s is not. Fit it, or use prefit=False."
    " clone() undoes a fit: wrap the estimator in sklearn.frozen.FrozenEstimator to keep it."
)


def _has_reasons(detector: ConformalDetector) -> bool:
    estimator = getattr(detector, "estimator_", detector.estimator)
    return estimator is None or gives_reasons(estimator)


def _takes_feedback(detector: ConformalDetector) -> bool:
    estimator = getattr(detector, "estimator_", detector.estimator)
    return estimator is None or hasattr(last_step(estimator), "feedback")


class ConformalDetector(MetaEstimatorMixin, OutlierMixin, BaseEstimator):
    """Wrap an outlier detector and bound its share of false alarms.

    Some normal rows are held out from the inner detector: the calibration rows. A new row is
    flagged if hardly any of them scores as low (Vovk et al., "Algorithmic learning in a random
    world", 2005; Bates et al., "Testing for outliers with conformal p-values", Annals of
    Statistics, 2023).

    **Guarantee.** A new normal row is flagged with a probability of at most ``alpha``, for any
    inner detector, any distribution and any number of rows. Of the rows that :meth:`select`
    reports, at most the share ``fdr`` is normal, on average.

    **Assumption.** The calibration rows and the new normal rows are exchangeable: drawn
    independently from one distribution, for example. Rows of another time or group often come from
    another distribution. Rows given to ``fit`` are not new. Anomalies among the calibration rows
    that score low lead to fewer alarms: the share of false alarms stays below ``alpha``, but
    anomalies are missed.

    Both rates are means over calibration sets. :meth:`fpr_interval` returns how far the share of
    false alarms with one calibration set may lie from ``alpha``.

    Parameters
    ----------
    estimator : outlier detector or None, default=None
        Any detector with ``score_samples`` or ``decision_function`` for new rows: the estimators
        of this package, ``IsolationForest``, ``LocalOutlierFactor(novelty=True)``,
        ``OneClassSVM``, a Pipeline that ends in one, a detector of PyOD. None stands for
        :class:`~aedetect.DenoisingAutoencoder` with its defaults. An estimator of this package with
        ``contamination="auto"``, also at the end of a Pipeline, is fitted with
        ``contamination=0``, since the rows given to ``fit`` are normal ones. A float stays as it
        is: set one if the rows may hold anomalies.
    alpha : float in (0, 1), default=0.05
        Share of normal rows that ``predict`` may flag. ``fit`` and ``calibrate`` apply it; a value
        set later has no effect before the next call of one of them.
    calibration_size : float in (0, 1) or int, default=0.3
        Share or number of the rows given to ``fit`` that calibrate; the inner detector is fitted to
        the others. An alarm needs at least ``1 / alpha - 1`` calibration rows. Ignored with ``cv``
        and ``prefit``.
    cv : int, cross-validation splitter, iterable or None, default=None
        With folds, each row calibrates the detector that is fitted to the other folds, and a new
        row is compared with each calibration row by the detector of its fold (cross-conformal
        prediction: Vovk, 2015; CV+: Barber et al., Annals of Statistics, 2021). All rows then serve
        for fitting and for calibration, and one detector a fold is kept. The *proved* bound on the
        share of false alarms is then only about ``2 * alpha``; the share mostly is about
        ``alpha``. An int stands for that many shuffled folds. Every row must be in one test fold.
    prefit : bool, default=False
        Whether ``estimator`` is already fitted. All rows given to ``fit`` or ``calibrate`` then
        calibrate, and it must not have been fitted to any of them. :func:`sklearn.base.clone`
        undoes its fit; wrap it in :class:`sklearn.frozen.FrozenEstimator` to prevent that.
    higher_is_normal : bool or "auto", default="auto"
        Direction of the inner scores: True for scikit-learn and this package, False for PyOD.
        ``"auto"`` is True where the inner detector has ``score_samples``, and an error elsewhere.
    block_size : int, default=1
        For rows in order of time that depend on their neighbours, such as windows of a series: the
        distance in rows at which the dependence is negligible. Blocks of that many rows are then
        taken for exchangeable, instead of single rows. The last rows calibrate, as whole blocks.
        ``cv`` as an int stands for folds of consecutive rows. Rows less than a block away from
        those that calibrate are not fitted to. A p-value is ``(block_size + the number of
        calibration rows that score as low) / (n_calibration + block_size)``, so an alarm needs
        ``block_size`` times as many calibration rows. Without ``cv``, ``predict`` then flags at
        most the share ``alpha`` of a new block of normal rows, on average. For :meth:`select`
        nothing is proved.
    random_state : int, RandomState instance or None, default=None
        Draws the calibration rows, the folds, and the seed of the inner detector where its own
        ``random_state`` is None. The global generators are not used.

    Attributes
    ----------
    estimator_ : object
        The fitted inner detector; absent with ``cv``.
    estimators_ : list of object
        All fitted inner detectors: one, or one for each fold with ``cv``.
    calibration_scores_ : ndarray of shape (n_calibration,), float64
        Inner scores of the calibration rows in ascending order; higher is more normal.
    calibration_indices_ : ndarray of shape (n_calibration,), int
        Row number of each calibration score in the ``X`` given to ``fit`` or ``calibrate``.
    offset_ : float
        Rows that score below it are anomalies. ``-inf`` where the calibration rows are too few for
        any alarm at ``alpha``.
    n_features_in_ : int
        Number of features of the inner detector, if it has that attribute.
    feature_names_in_ : ndarray of shape (n_features,)
        Feature names of the inner detector, if it has that attribute.

    See Also
    --------
    DenoisingAutoencoder.set_threshold : Moves the threshold of one estimator of this package.

    References
    ----------
    V. Vovk, A. Gammerman & G. Shafer, "Algorithmic learning in a random world", Springer, 2005.

    S. Bates, E. Candès, L. Lei, Y. Romano & M. Sesia, "Testing for outliers with conformal
    p-values", Annals of Statistics, 2023.

    R. F. Barber, E. Candès, A. Ramdas & R. J. Tibshirani, "Predictive inference with the
    jackknife+", Annals of Statistics, 2021, for ``cv``.

    Y. Jin & E. Candès, "Model-free selective inference under covariate shift via weighted conformal
    p-values", 2023, for ``weights``.

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
        "block_size": [Interval(Integral, 1, None, closed="left")],
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
        block_size: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.alpha = alpha
        self.calibration_size = calibration_size
        self.cv = cv
        self.prefit = prefit
        self.higher_is_normal = higher_is_normal
        self.block_size = block_size
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit the inner detector to some rows and calibrate it with the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Normal rows, at least two. With ``prefit`` all of them calibrate.
        y : array-like of shape (n_samples,), default=None
            Ignored, unless the inner detector has ``labels="use"``, alone or as the last step of a
            Pipeline. It is then fitted to all known anomalies (-1), none of which calibrates.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter is out of its range, if there are too few rows to divide, if the folds do
            not test each row once, or if the inner detector refuses the rows or gives NaN.

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
        resolve_direction(inner, self.higher_is_normal)  # refuse before a long fit
        check_rows_remain(inner)
        inner = set_clean(set_seeds(clone(inner), random_state))
        labels = check_known(y, X) if uses_labels(inner) else None
        folds = split_rows(
            X,
            labels=labels,
            cv=self.cv,
            calibration_size=self.calibration_size,
            block_size=self.block_size,
            random_state=random_state,
        )
        estimators = fit_folds(inner, X, [train for train, _ in folds], labels)
        return self._set_calibration(estimators, X, [held_out for _, held_out in folds])

    def calibrate(self, X: ArrayLike) -> Self:
        """Calibrate the fitted inner detector with all rows of ``X``; fit nothing.

        For ``prefit``, and to follow rows that drift.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Normal rows that the inner detector was not fitted to. They replace all earlier
            calibration rows. The first ones that make up no whole block are not used.

        Returns
        -------
        self : object

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If there is no fitted inner detector.
        ValueError
            If ``cv`` is given: only ``fit`` can calibrate folds.

        Warns
        -----
        UserWarning
            As :meth:`fit` does.
        """
        self._validate_params()
        if self.cv is not None:
            raise self._folds_error("calibrate")
        if not self.prefit:
            check_is_fitted(self, "estimator_")
        inner = self._inner() if self.prefit else self.estimator_
        check_is_fitted(inner, msg=NOT_PREFIT)
        check_rows_remain(inner)
        (X,) = indexable(X)
        return self._set_calibration([inner], X, [whole_blocks(_num_samples(X), self.block_size)])

    @available_if(_takes_feedback)
    def feedback(self, X: ArrayLike, labels: ArrayLike, *, X_normal: ArrayLike) -> Self:
        """Tell the inner detector about known rows, and calibrate it again; train nothing.

        Its scores change, so the present calibration scores say nothing of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows whose labels are known.
        labels : array-like of shape (n_samples,)
            +1 for normal rows, -1 for anomalies, and 0 to take a label back; see
            :meth:`DenoisingAutoencoder.feedback`.
        X_normal : array-like of shape (n_calibration, n_features)
            Normal rows to calibrate with, as :meth:`calibrate` takes them. They may be those of the
            last calibration. Rows that were chosen for their scores, as those of ``X`` often are,
            do not represent normal rows to come.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If ``cv`` is given or ``prefit`` is set, or as ``feedback`` of the inner detector does.

        Warns
        -----
        UserWarning
            As :meth:`fit` does.
        """
        check_is_fitted(self, "estimators_")
        self._refuse_folds("feedback")
        if self.prefit:
            raise ValueError(
                "With prefit=True the estimator is yours: call its own feedback, then calibrate."
            )
        self._validate_params()
        inner = with_feedback(self.estimator_, X, labels)
        (X_normal,) = indexable(X_normal)
        return self._set_calibration([inner], X_normal, [np.arange(_num_samples(X_normal))])

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """Return how normal each row is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            Scores of the inner detector; higher is more normal. With ``cv`` the distance above the
            alarm threshold: the score of each calibration row is subtracted from the score of the
            new row, both by the detector that was not fitted to the calibration row. The distance
            is the r-th largest difference, where r is ``alpha * (n_calibration + 1)``, rounded
            down, if ``block_size`` is 1.
        """
        return self._combine(self._score(X))

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
        """Return the probability that a normal row scores as low as each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        weights : pair of array-like of shapes (n_calibration,) and (n_samples,), default=None
            Likelihood ratios, for new normal rows whose distribution differs from that of the
            calibration rows (a covariate shift; Tibshirani et al., NeurIPS 2019): the density of a
            row among the new normal rows over its density among the calibration rows, up to a
            factor common to both arrays. The first array is for ``X_fit[calibration_indices_]``, in
            this order, where ``X_fit`` is the ``X`` given to ``fit`` or ``calibrate``; the second
            is for ``X``. The guarantee is as good as these ratios. Not with ``cv``.

        Returns
        -------
        p : ndarray of shape (n_samples,), float64
            ``(1 + the number of calibration rows that score as low or lower) / (n_calibration +
            1)``, with ``block_size`` in place of either 1. For a new normal row ``P(p <= t) <= t``
            for every t (with ``cv`` about ``2 * t``).

        Raises
        ------
        ValueError
            If ``weights`` have another shape, are negative or not finite, or ``cv`` is given.
        """
        scores = self._score(X)
        if weights is not None:
            return weighted_p_values(*self._weighted(scores, weights))
        return conformal_p_values(self._calibration, scores, block_size_of(self))

    def select(
        self, X: ArrayLike, *, fdr: float = 0.1, weights: Weights | None = None
    ) -> NDArray[np.bool_]:
        """Return which rows to report, with few normal rows among them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            All rows to examine, in one call: the selection depends on their number.
        fdr : float in (0, 1), default=0.1
            Share of normal rows among the reported rows that is allowed on average (false discovery
            rate). The bound holds where the rows are independent, given the fit (Benjamini &
            Hochberg, 1995; Bates et al., 2023). With ``cv`` it is not proved.
        weights : pair of array-like, default=None
            As in :meth:`p_values`. The bound then rests on weighted conformal selection (Jin &
            Candès, 2023), which sorts all rows once for each row with a p-value of at most ``fdr``.

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
            If nothing is reported although rows score below all calibration rows, with the number
            of calibration rows needed to report them.
        """
        if not 0 < fdr < 1:
            raise ValueError(f"fdr must be above 0 and below 1, but it is {fdr!r}.")
        scores = self._score(X)
        if weights is not None:
            return select_by_weights(*self._weighted(scores, weights), fdr)
        block_size, n_rows = block_size_of(self), len(self.calibration_scores_)
        p = conformal_p_values(self._calibration, scores, block_size)
        reported = select_by_p_values(p, fdr)
        n_odder = np.count_nonzero(p == block_size / (n_rows + block_size))
        if n_odder and not reported.any():
            warnings.warn(
                f"{n_odder} of {len(p)} rows score below all {n_rows}"
                f" calibration rows, but to report them at fdr={fdr:g} takes at least"
                f" {rows_needed(fdr * n_odder / len(p), block_size)}. Calibrate with more rows,"
                " examine fewer at once, or raise fdr.",
                stacklevel=2,
            )
        return reported

    def fpr_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return an interval for the share of normal rows that ``predict`` flags.

        ``alpha`` bounds the mean of this share over calibration sets of n rows. For one calibration
        set, drawn independently, the share follows the distribution Beta(r, n + 1 - r), where r is
        ``alpha * (n + 1)``, rounded down (Vovk, "Conditional validity of inductive conformal
        predictors", 2012). It is lower where scores tie.

        Parameters
        ----------
        confidence : float in (0, 1), default=0.95
            Probability of the interval. Both tails are equally probable.

        Returns
        -------
        low, high : float
            Both are 0 where ``predict`` flags nothing at all.

        Raises
        ------
        ValueError
            If ``confidence`` is not between 0 and 1, or if ``cv`` is given or ``block_size`` above
            1: the distribution is then unknown.
        """
        check_is_fitted(self, "estimators_")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be above 0 and below 1, but it is {confidence!r}.")
        self._refuse_folds("fpr_interval")
        self._refuse_blocks("fpr_interval")
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
            Result of :func:`aedetect.explain` for the inner detector, which may be a Pipeline; the
            mean over the folds with ``cv``.

        Warns
        -----
        UserWarning
            If the columns are those at the end of an inner Pipeline, and not those of ``X``.
        """
        check_is_fitted(self, "estimators_")
        contributions, is_traced = explain_traced(self, X)
        if not is_traced:
            warn_of_columns("contributions")
        return contributions

    @available_if(_has_reasons)
    def repair(self, X: ArrayLike) -> Any:
        """Return the nearest version of every row that ``predict`` calls normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_repaired : ndarray or DataFrame of shape (n_samples, n_features)
            Result of :func:`aedetect.repair` for the inner detector with the threshold of this one.

        Raises
        ------
        ValueError
            If ``cv`` is given: several detectors decide together, and none can repair alone.

        Warns
        -----
        UserWarning
            As :func:`aedetect.repair` does.
        """
        check_is_fitted(self, "estimators_")
        repaired, is_traced = repair_traced(self, X)
        if not is_traced:
            warn_of_columns("repaired rows")
        return repaired

    def to(self, device: Any) -> Self:
        """Move the fitted inner detectors, which must be estimators of this package.

        Those at the end of a Pipeline, or inside one, are moved too. A detector that was passed
        with ``prefit`` is moved itself.

        Parameters
        ----------
        device : str, torch.device, or list of them
            As the parameter ``device`` of the inner detectors has it.

        Returns
        -------
        self : object
            It scores, explains and repairs there. Calibration scores stay as they are, but for
            rounding those of the other device; ``calibrate`` computes them anew.

        Raises
        ------
        TypeError
            If the inner detector is one of another package.
        ValueError
            If this machine has no such device.
        """
        check_is_fitted(self, "estimators_")
        move_detectors(self.estimators_, device)
        return self

    def _inner(self) -> Any:
        return DenoisingAutoencoder() if self.estimator is None else self.estimator

    def _set_calibration(self, estimators: list, X: Any, held_out: list[Rows]) -> Self:
        """Score the held-out rows of each detector, and replace the fitted state."""
        direction = resolve_direction(estimators[0], self.higher_is_normal)
        scores = score_held_out(estimators, X, held_out, higher_is_normal=direction)
        pooled = np.concatenate(scores)
        order = np.argsort(pooled, kind="stable")
        rank = alarm_rank(len(pooled), self.alpha, self.block_size)
        reference = None  # with folds, scores of new rows and of calibration rows differ
        if self.cv is None:
            reference = make_reference(X, held_out[0], pooled, rank).to_state()
        kept = {name: value for name, value in vars(self).items() if name not in OPTIONAL}
        self.__dict__ = {
            **kept,
            **_inner_attributes(estimators, has_folds=self.cv is not None),
            "calibration_scores_": pooled[order],
            "calibration_indices_": np.concatenate(held_out)[order],
            "offset_": _alarm_offset(pooled[order], rank, has_folds=self.cv is not None),
            "_calibration": [np.sort(fold) for fold in scores],
            "_rank": rank,
            "_higher_is_normal": direction,
            "_block_size": int(self.block_size),
            "_reference": reference,
        }
        if rank == 0:
            warnings.warn(
                f"{len(pooled)} calibration rows are too few for any alarm at"
                f" alpha={self.alpha:g}: it takes {rows_needed(self.alpha, self.block_size)}."
                " Calibrate with more rows, or raise alpha.",
                stacklevel=3,  # the caller of fit or calibrate
            )
        return self

    def _score(self, X: ArrayLike) -> list[FloatArray]:
        """Return the scores of rows by each inner detector."""
        check_is_fitted(self, "estimators_")
        return [
            score_rows(estimator, X, higher_is_normal=self._higher_is_normal)
            for estimator in self.estimators_
        ]

    def _scores_and_p_values(self, X: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return ``score_samples(X)`` and ``p_values(X)``, and score each row only once."""
        scores = self._score(X)
        p_values = conformal_p_values(self._calibration, scores, block_size_of(self))
        return self._combine(scores), p_values

    def _combine(self, scores: list[FloatArray]) -> FloatArray:
        """Return one score a row from the scores by each inner detector."""
        if hasattr(self, "estimator_"):
            return scores[0]
        return cross_margins(self._calibration, scores, max(self._rank, 1))

    def _weighted(
        self, scores: list[FloatArray], weights: Weights
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return the scores of calibration rows and new rows, and the weights of both."""
        self._refuse_folds("weights")
        self._refuse_blocks("weights")
        calibration = self.calibration_scores_
        return calibration, scores[0], *check_weights(weights, len(calibration), len(scores[0]))

    def _refuse_folds(self, feature: str) -> None:
        if not hasattr(self, "estimator_"):
            raise self._folds_error(feature)

    def _refuse_blocks(self, feature: str) -> None:
        if block_size_of(self) > 1:
            raise ValueError(
                f"{feature} needs independent calibration rows, but they were calibrated with in"
                f" blocks of block_size={block_size_of(self)}. Use block_size=1 if they are."
            )

    def _folds_error(self, feature: str) -> ValueError:
        return ValueError(
            f"{feature} needs one inner detector, but with cv={self.cv!r} there is one for each"
            " fold. Use cv=None."
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self._inner()).input_tags
        return tags


def with_alpha(detector: ConformalDetector, alpha: float) -> ConformalDetector:
    """Return a fitted detector at another ``alpha``, with its calibration rows."""
    other = copy.copy(detector)
    n_rows, block_size = len(detector.calibration_scores_), block_size_of(detector)
    rank = alarm_rank(n_rows, alpha, block_size)
    has_folds = not hasattr(detector, "estimator_")
    other.alpha, other._rank = alpha, rank
    other.offset_ = _alarm_offset(detector.calibration_scores_, rank, has_folds=has_folds)
    return other


def scores_and_p_values(detector: ConformalDetector, X: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return ``score_samples(X)`` and ``p_values(X)``, and score each row only once."""
    return detector._scores_and_p_values(X)


def block_size_of(detector: Any) -> int:
    """Return the block size that a detector was calibrated with; 1 in files of earlier versions."""
    return getattr(detector, "_block_size", 1)


def _inner_attributes(estimators: list, *, has_folds: bool) -> dict[str, Any]:
    """Return the attributes that hold the inner detectors and their features."""
    attributes = {"estimators_": estimators}
    if not has_folds:
        attributes["estimator_"] = estimators[0]
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(estimators[0], name):
            attributes[name] = getattr(estimators[0], name)
    return attributes


def _alarm_offset(calibration_scores: FloatArray, rank: int, *, has_folds: bool) -> float:
    """Return the score below which rows are flagged, given the sorted calibration scores."""
    if rank == 0:
        return -math.inf
    # With folds a score is the distance above the threshold.
    return 0.0 if has_folds else float(calibration_scores[rank - 1])
