from __future__ import annotations

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, binomtest, false_discovery_control
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, ShuffleSplit
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from sklearn.utils.validation import check_is_fitted

import aedetect.estimators.fitting
from aedetect import ConformalDetector, DenoisingAutoencoder
from aedetect.conformal import scores_and_p_values, with_alpha
from aedetect.conformal.p_values import conformal_p_values, cross_margins, weighted_p_values
from aedetect.conformal.selection import select_by_p_values, select_by_weights

ALPHAS = [0.01, 0.05, 0.1, 0.29, 1 / 3, 0.9]
METHODS = ["score_samples", "decision_function", "predict", "p_values", "select"]


class Norm(OutlierMixin, BaseEstimator):
    """A detector that gives low scores to rows far from the mean."""

    def fit(self, X, y=None):
        self.mean_ = np.mean(X, axis=0)
        return self

    def score_samples(self, X):
        return -np.linalg.norm(X - self.mean_, axis=1)


class Opposite(BaseEstimator):
    """Norm with the method and the direction of PyOD."""

    def fit(self, X, y=None):
        self.norm_ = Norm().fit(X)
        return self

    def decision_function(self, X):
        return -self.norm_.score_samples(X)


class Rounded(Norm):
    """A detector whose scores tie."""

    def score_samples(self, X):
        return np.round(super().score_samples(X))


@pytest.fixture(scope="module")
def rows():
    return np.random.RandomState(0).randn(600, 3)


@pytest.fixture(scope="module")
def new_rows():
    """Return 200 normal rows and then 20 odd ones."""
    rng = np.random.RandomState(1)
    return np.r_[rng.randn(200, 3), 4 + rng.randn(20, 3)]


def conformal(estimator=None, **parameters):
    inner = Norm() if estimator is None else estimator
    return ConformalDetector(inner, **{"random_state": 0, **parameters})


def about_zero(**parameters):
    """Return an uncalibrated detector whose scores are distances from zero."""
    return conformal(Norm().fit(np.zeros((1, 1))), prefit=True, **parameters)


# Rows given to fit are normal ones.

QUICK = {"hidden_layer_sizes": (4,), "max_epochs": 1}


@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: make_pipeline(StandardScaler(), e)])
@pytest.mark.parametrize("cv", [None, 2])
@pytest.mark.parametrize(("given", "fitted"), [("auto", 0), (0.1, 0.1), (0, 0)], ids=str)
def test_estimators_of_this_package_take_the_rows_for_clean_ones(rows, wrap, cv, given, fitted):
    inner = wrap(DenoisingAutoencoder(contamination=given, **QUICK))
    detector = conformal(inner, cv=cv).fit(rows)
    for estimator in detector.estimators_:
        last = estimator if wrap(None) is None else estimator[-1]
        assert last.contamination == fitted
        assert last.detector_.score.name == ("robust" if fitted else "sharp")
    given_one = inner if wrap(None) is None else inner[-1]
    assert given_one.contamination == given


def test_the_default_detector_takes_the_rows_for_clean_ones(rows):
    detector = ConformalDetector(alpha=0.2, random_state=0).fit(rows[:60])
    assert detector.estimator_.contamination == 0


def test_a_fitted_detector_stays_as_it_is(rows):
    inner = DenoisingAutoencoder(**QUICK).fit(rows[:100])
    for detector in (
        conformal(inner, prefit=True).fit(rows[100:]),
        conformal(FrozenEstimator(inner)).fit(rows[100:]),
    ):
        assert detector.estimator_.contamination == "auto"
        np.testing.assert_array_equal(detector.score_samples(rows), inner.score_samples(rows))


# The guarantee.


def simulate_p_values(make, n_repeats=400, n_rows=30, n_new=5):
    rng = np.random.RandomState(0)
    tables = [rng.randn(n_rows + n_new, 2) for _ in range(n_repeats)]
    return np.array([make().fit(X[:n_rows]).p_values(X[n_rows:]) for X in tables])


@pytest.mark.filterwarnings("ignore:.*too few for any alarm")
@pytest.mark.parametrize("estimator", [Norm(), Rounded()], ids=["", "ties"])
def test_p_values_of_normal_rows_are_at_most_uniform(estimator):
    p = simulate_p_values(lambda: conformal(estimator, calibration_size=19))[:, 0]
    for t in (0.05, 0.1, 0.2, 0.5, 0.8):
        assert binomtest(int((p <= t).sum()), len(p), t, alternative="greater").pvalue > 1e-3
    if isinstance(estimator, Rounded):
        return
    for t in (0.1, 0.5):  # without ties they are not far below either
        assert binomtest(int((p <= t).sum()), len(p), t, alternative="less").pvalue > 1e-3


@pytest.mark.filterwarnings("ignore:.*too few for any alarm")
def test_p_values_by_folds_keep_twice_the_level():
    p = simulate_p_values(lambda: conformal(cv=5), n_repeats=200)[:, 0]
    for t in (0.1, 0.2, 0.4):
        assert (p <= t).mean() <= 2 * t
        assert (p <= t).mean() > t / 3  # a level at which nothing is flagged would also be kept


def test_the_rate_of_one_calibration_set_lies_in_its_interval_as_often_as_stated():
    rng = np.random.RandomState(0)
    detector = about_zero(alpha=0.1)
    n_inside = 0
    for _ in range(300):
        detector.calibrate(rng.randn(99, 1))
        rate = (np.abs(rng.randn(20_000)) > -detector.offset_).mean()
        low, high = detector.fpr_interval(0.8)
        n_inside += low <= rate <= high
    assert binomtest(n_inside, 300, 0.8).pvalue > 1e-3


def test_the_interval_is_that_of_the_beta_distribution(rows):
    detector = conformal(alpha=0.1, calibration_size=199).fit(rows)
    assert detector.fpr_interval() == pytest.approx(beta.interval(0.95, 20, 180))
    low, high = detector.fpr_interval(0.5)
    assert detector.fpr_interval()[0] < low < 0.1 < high < detector.fpr_interval()[1]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_share_of_normal_rows_among_those_selected_is_kept(weighted):
    rng = np.random.RandomState(0)
    fdr, shift, n_repeats, m, n_odd = 0.2, 0.5 * weighted, 300, 50, 10
    shares, found = [], []
    for _ in range(n_repeats):
        calibration = np.sort(rng.randn(200))
        scores = np.r_[rng.randn(n_odd) - 3, rng.randn(m - n_odd) + shift]
        if weighted:  # the density of N(shift, 1) over that of N(0, 1)
            ratios = [np.exp(shift * s) for s in (calibration, scores)]
            selected = select_by_weights(calibration, scores, *ratios, fdr)
        else:
            selected = select_by_p_values(conformal_p_values([calibration], [scores]), fdr)
        shares.append(selected[n_odd:].sum() / max(selected.sum(), 1))
        found.append(selected[:n_odd].mean())
    aim = fdr * (m - n_odd) / m
    error = np.std(shares) / np.sqrt(n_repeats)
    assert aim - 0.04 - 3 * error < np.mean(shares) < aim + 3 * error
    assert np.mean(found) > 0.7


# P-values, scores and decisions.


def test_p_values_count_calibration_rows_that_score_as_low(rows, new_rows):
    detector = conformal().fit(rows)
    scores = detector.score_samples(new_rows)
    as_low = (detector.calibration_scores_ <= scores[:, None]).sum(axis=1)
    np.testing.assert_array_equal(detector.p_values(new_rows), (1 + as_low) / 181)
    assert len(detector.calibration_scores_) == 180


def test_odd_rows_have_low_scores_low_p_values_and_alarms(rows, new_rows):
    detector = conformal().fit(rows)
    assert (detector.p_values(new_rows)[200:] == 1 / 181).all()
    assert (detector.predict(new_rows)[200:] == -1).all()
    assert detector.score_samples(new_rows)[200:].max() < detector.calibration_scores_[0]
    np.testing.assert_array_equal(
        detector.score_samples(new_rows), detector.estimator_.score_samples(new_rows)
    )


@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("method", [*METHODS, "scores_and_p_values"])
def test_a_call_scores_each_row_once_by_each_detector(rows, new_rows, monkeypatch, method, cv):
    detector = conformal(cv=cv).fit(rows)
    calls = []
    score_samples = Norm.score_samples

    def counted(norm, X):
        calls.append(len(X))
        return score_samples(norm, X)

    monkeypatch.setattr(Norm, "score_samples", counted)
    if method == "scores_and_p_values":
        scores_and_p_values(detector, new_rows)
    else:
        getattr(detector, method)(new_rows)
    assert calls == [len(new_rows)] * len(detector.estimators_)


@pytest.mark.parametrize("cv", [None, 3])
def test_scores_and_p_values_are_those_of_the_methods(rows, new_rows, cv):
    detector = conformal(cv=cv).fit(rows)
    scores, p_values = scores_and_p_values(detector, new_rows)
    np.testing.assert_array_equal(scores, detector.score_samples(new_rows))
    np.testing.assert_array_equal(p_values, detector.p_values(new_rows))


@pytest.mark.parametrize("cv", [None, 4])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("estimator", [Norm(), Rounded()], ids=["", "ties"])
def test_alarms_are_where_p_is_at_most_alpha(rows, new_rows, estimator, alpha, cv):
    detector = conformal(estimator, alpha=alpha, cv=cv).fit(rows)
    X = np.r_[rows, new_rows]  # calibration rows tie with themselves
    decisions = detector.decision_function(X)
    np.testing.assert_array_equal(decisions < 0, detector.p_values(X) <= alpha)
    np.testing.assert_array_equal(decisions < 0, detector.predict(X) == -1)
    np.testing.assert_array_equal(decisions, detector.score_samples(X) - detector.offset_)
    assert decisions.min() < 0 <= decisions.max()


@pytest.mark.parametrize("cv", [None, 4])
def test_another_alpha_gives_the_alarms_of_a_fit_with_it(rows, new_rows, cv):
    detector = conformal(alpha=0.2, cv=cv).fit(rows)
    before = detector.predict(new_rows)
    for alpha in ALPHAS:
        other = with_alpha(detector, alpha)
        fitted = conformal(alpha=alpha, cv=cv).fit(rows)
        assert (other.alpha, other.offset_) == (alpha, fitted.offset_)
        np.testing.assert_array_equal(
            other.decision_function(new_rows), fitted.decision_function(new_rows)
        )
        if cv is None:
            assert other.fpr_interval() == fitted.fpr_interval()
    np.testing.assert_array_equal(detector.predict(new_rows), before)


@pytest.mark.parametrize("n_calibration", [1, 9, 10, 19, 20, 99, 100])
@pytest.mark.filterwarnings("ignore:.*too few for any alarm")
def test_the_offset_is_right_for_any_number_of_calibration_rows(rows, new_rows, n_calibration):
    for alpha in ALPHAS:
        detector = conformal(alpha=alpha, calibration_size=n_calibration).fit(rows)
        flagged = detector.decision_function(new_rows) < 0
        np.testing.assert_array_equal(flagged, detector.p_values(new_rows) <= alpha)
        assert (detector.offset_ == -np.inf) == (1 / (n_calibration + 1) > alpha)


def test_select_is_the_procedure_of_benjamini_and_hochberg(rows, new_rows):
    detector = conformal().fit(rows)
    adjusted = false_discovery_control(detector.p_values(new_rows), method="bh")
    for fdr in (0.06, 0.1, 0.5):
        selected = detector.select(new_rows, fdr=fdr)
        np.testing.assert_array_equal(selected, adjusted <= fdr + 1e-9)
    assert detector.select(new_rows, fdr=0.1)[200:].all()
    assert detector.select(new_rows, fdr=0.5).sum() > detector.select(new_rows, fdr=0.06).sum()


def test_p_values_equal_to_the_level_up_to_rounding_are_selected():
    # Seven of 21 rows at p = 1/30: 1/30 * 21/7 is 0.1, but not in floating point.
    p = np.r_[np.full(7, 1 / 30), np.ones(14)]
    assert select_by_p_values(p, 0.1).sum() == 7


def test_a_row_infinitely_far_off_is_an_anomaly(rows):
    kernel = KernelDensity(kernel="tophat", bandwidth=2)
    detector = conformal(kernel).fit(rows)
    assert detector.estimator_.score_samples([[99.0] * 3]) == -np.inf
    assert detector.predict([[99.0] * 3]) == -1
    assert np.isfinite(detector.decision_function([[99.0] * 3]))


def test_margins_by_folds_are_differences_to_calibration_rows():
    rng = np.random.RandomState(0)
    calibration = [np.sort(rng.randn(n)) for n in (5, 7)]
    scores = [rng.randn(9) for _ in calibration]
    gaps = [new[:, None] - known for known, new in zip(calibration, scores, strict=True)]
    gaps = np.sort(np.concatenate(gaps, axis=1), axis=1)
    for rank in (1, 3, 12):
        margins = cross_margins(calibration, scores, rank)
        np.testing.assert_array_equal(margins, gaps[:, -rank])


def test_folds_compare_each_calibration_row_by_the_detector_of_its_fold(rows, new_rows):
    folds = KFold(3)
    detector = conformal(cv=folds).fit(rows)
    n_as_low = np.zeros(len(new_rows))
    for fitted, held_out in folds.split(rows):
        norm = Norm().fit(rows[fitted])
        known, new = norm.score_samples(rows[held_out]), norm.score_samples(new_rows)
        n_as_low += (known <= new[:, None]).sum(axis=1)
    np.testing.assert_array_equal(detector.p_values(new_rows), (1 + n_as_low) / 601)
    assert len(detector.estimators_) == 3
    assert not hasattr(detector, "estimator_")
    assert len(detector.calibration_scores_) == 600


@pytest.mark.parametrize("cv", [None, 5])
def test_calibration_scores_are_sorted_and_name_their_rows(rows, cv):
    detector = conformal(cv=cv).fit(rows)
    scores = detector.calibration_scores_
    assert (np.diff(scores) >= 0).all()
    assert len(np.unique(detector.calibration_indices_)) == len(scores)
    if cv is None:
        known = rows[detector.calibration_indices_]
        np.testing.assert_array_equal(detector.score_samples(known), scores)
        # The detector was fitted to all others.
        fitted = np.setdiff1d(np.arange(600), detector.calibration_indices_)
        np.testing.assert_allclose(detector.estimator_.mean_, rows[fitted].mean(axis=0))


# Covariate shift.


def ratio(X):
    """Return the density of N((1, 0, 0), 1) over that of N(0, 1)."""
    return np.exp(X[:, 0] - 0.5)


def test_equal_weights_change_nothing(rows, new_rows):
    detector = conformal().fit(rows)
    for w in (1.0, 3.0):
        weights = np.full(180, w), np.full(220, w)
        p = detector.p_values(new_rows, weights=weights)
        np.testing.assert_allclose(p, detector.p_values(new_rows))
        reported = detector.select(new_rows, weights=weights)
        np.testing.assert_array_equal(reported, detector.select(new_rows))


def test_weights_keep_the_level_where_the_rows_have_shifted():
    rng = np.random.RandomState(0)
    plain, weighted = [], []
    for _ in range(300):
        rows, X = rng.randn(100, 3), np.array([1, 0, 0]) + rng.randn(20, 3)
        detector = about_zero().calibrate(rows)
        weights = ratio(rows[detector.calibration_indices_]), ratio(X)
        plain.append((detector.p_values(X) <= 0.1).mean())
        weighted.append((detector.p_values(X, weights=weights) <= 0.1).mean())
    error = np.std(weighted) / np.sqrt(300)
    assert 0.05 < np.mean(weighted) <= 0.1 + 3 * error < np.mean(plain)


def test_a_weight_of_two_counts_a_row_twice():
    calibration, scores = np.array([1.0, 2.0, 3.0]), np.array([2.5])
    repeated = np.array([1.0, 1.0, 2.0, 2.0, 2.0, 3.0])
    p = weighted_p_values(calibration, scores, np.array([2.0, 3.0, 1.0]), np.array([1.0]))
    np.testing.assert_allclose(p, conformal_p_values([repeated], [scores]))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(180), "must be a pair"),
        ((np.ones(179), np.ones(220)), r"shapes \(180,\), .*\(220,\), .*\(179,\) and \(220,\)"),
        ((np.ones(180), np.ones(3)), r"\(180,\) and \(3,\)"),
        ((np.ones(180), -np.ones(220)), "not negative, .* run from -1 to 1"),
        ((np.full(180, np.inf), np.ones(220)), "must be finite"),
        ((np.full(180, np.nan), np.ones(220)), "must be finite"),
        ((np.zeros(180), np.ones(220)), "not 0 for all calibration rows"),
    ],
)
@pytest.mark.parametrize("method", ["p_values", "select"])
def test_weights_of_a_wrong_shape_or_value_are_an_error(rows, new_rows, method, weights, message):
    detector = conformal().fit(rows)
    with pytest.raises(ValueError, match=message):
        getattr(detector, method)(new_rows, weights=weights)


# Inner detectors.


@pytest.mark.parametrize(
    "estimator",
    [
        IsolationForest(n_estimators=20),
        LocalOutlierFactor(novelty=True),
        OneClassSVM(),
        EllipticEnvelope(),
        make_pipeline(StandardScaler(), OneClassSVM()),
        DenoisingAutoencoder(hidden_layer_sizes=(8,), max_epochs=20),
        GridSearchCV(KernelDensity(), {"bandwidth": [0.5, 1.0]}),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize("cv", [None, 3])
def test_any_detector_finds_odd_rows_with_few_false_alarms(rows, new_rows, estimator, cv):
    detector = conformal(estimator, alpha=0.1, cv=cv).fit(rows)
    flagged = detector.predict(new_rows) == -1
    assert flagged[200:].all()
    assert 0 < flagged[:200].mean() < 0.2
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)  # a clone was fitted


def test_scores_of_the_opposite_direction_are_turned(rows, new_rows):
    opposite = conformal(Opposite(), higher_is_normal=False).fit(rows)
    usual = conformal().fit(rows)
    np.testing.assert_array_equal(opposite.score_samples(new_rows), usual.score_samples(new_rows))
    np.testing.assert_array_equal(opposite.predict(new_rows), usual.predict(new_rows))
    wrong = conformal(Opposite(), higher_is_normal=True).fit(rows)
    assert (wrong.predict(new_rows)[200:] == 1).all()


def test_a_direction_without_a_convention_must_be_given(rows):
    with pytest.raises(ValueError, match=r"Opposite has decision_function alone.*False for PyOD"):
        conformal(Opposite()).fit(rows)
    with pytest.raises(ValueError, match=r"LocalOutlierFactor has neither.*novelty=True"):
        conformal(LocalOutlierFactor()).fit(rows)


def test_pyod_detectors_are_wrapped(rows, new_rows):
    knn = pytest.importorskip("pyod.models.knn")
    with pytest.raises(ValueError, match="KNN has decision_function alone"):
        conformal(knn.KNN()).fit(rows)
    detector = conformal(knn.KNN(), higher_is_normal=False).fit(rows)
    assert (detector.predict(new_rows)[200:] == -1).all()
    assert (detector.predict(new_rows)[:200] == 1).mean() > 0.8


def test_the_default_is_a_denoising_autoencoder(rows):
    X = rows[:20]
    detector = ConformalDetector(alpha=0.3, random_state=0).fit(X)
    assert isinstance(detector.estimator_, DenoisingAutoencoder)
    again = ConformalDetector(alpha=0.3, random_state=0).fit(X)
    np.testing.assert_array_equal(detector.score_samples(X), again.score_samples(X))


def test_it_sits_at_the_end_of_a_pipeline(rows, new_rows):
    pipeline = make_pipeline(StandardScaler(), conformal()).fit(rows)
    inside = conformal(make_pipeline(StandardScaler(), Norm())).fit(rows)
    for flagged in (pipeline.predict(new_rows), inside.predict(new_rows)):
        assert (flagged[200:] == -1).all()
    assert pipeline[-1].p_values(pipeline[:-1].transform(new_rows)).shape == (220,)


def test_it_is_searched_by_labels(rows, new_rows):
    y = np.repeat([1, -1], [200, 20])
    grid = {"estimator__n_estimators": [5, 10]}
    forest = IsolationForest(random_state=0)
    search = GridSearchCV(conformal(forest, alpha=0.2), grid, scoring="roc_auc", cv=KFold(2))
    order = np.random.RandomState(0).permutation(220)
    assert search.fit(new_rows[order], y[order]).best_score_ > 0.9


def test_frames_reach_the_inner_detector_with_their_names(rows, new_rows):
    frame = pd.DataFrame(rows, columns=list("abc"))
    new = pd.DataFrame(new_rows, columns=list("abc"), index=np.arange(220) + 7)
    forest = IsolationForest(n_estimators=20, random_state=0)
    detector = conformal(forest).fit(frame)
    assert detector.feature_names_in_.tolist() == list("abc")
    assert detector.n_features_in_ == 3
    plain = conformal(forest).fit(rows)
    np.testing.assert_array_equal(detector.p_values(new), plain.p_values(new_rows))
    with pytest.raises(ValueError, match="feature names should match"):
        detector.predict(new[["b", "a", "c"]])
    detector.set_params(estimator=Norm()).fit(frame)  # it has no feature names
    assert not hasattr(detector, "feature_names_in_")


@pytest.mark.parametrize("cv", [None, 2])
def test_reasons_are_those_of_the_inner_detectors(rows, cv):
    inner = DenoisingAutoencoder(hidden_layer_sizes=(8,), max_epochs=2)
    detector = conformal(inner, cv=cv).fit(rows)
    X = rows[:20]
    mean = np.mean([estimator.explain(X) for estimator in detector.estimators_], axis=0)
    np.testing.assert_allclose(detector.explain(X), mean)
    assert not hasattr(conformal(), "explain")
    assert hasattr(ConformalDetector(), "explain")


# Fitted detectors, and state.


def test_a_fitted_detector_is_calibrated_without_a_fit(rows, new_rows):
    norm = Norm().fit(rows[:400])
    detector = conformal(norm, prefit=True).fit(rows[400:])
    assert detector.estimator_ is norm
    assert len(detector.calibration_scores_) == 200
    other = conformal(norm, prefit=True).calibrate(rows[400:])
    np.testing.assert_array_equal(other.p_values(new_rows), detector.p_values(new_rows))


def test_newer_rows_calibrate_in_place_of_the_old(rows, new_rows):
    detector = conformal(alpha=0.1).fit(rows)
    inner = detector.estimator_
    drifted = 1.5 * rows
    before = (detector.predict(drifted[300:]) == -1).mean()
    detector.calibrate(drifted[:300])
    assert detector.estimator_ is inner
    assert len(detector.calibration_scores_) == 300
    assert (detector.predict(drifted[300:]) == -1).mean() < 0.2 < before
    known = drifted[:300][detector.calibration_indices_]
    np.testing.assert_array_equal(detector.score_samples(known), detector.calibration_scores_)


def test_rows_that_cannot_be_scored_leave_the_calibration_as_it_is(rows, new_rows):
    detector = conformal(IsolationForest(n_estimators=5)).fit(rows)
    before = detector.p_values(new_rows)
    with pytest.raises(ValueError, match="X has 5 features"):
        detector.calibrate(np.zeros((30, 5)))
    np.testing.assert_array_equal(detector.p_values(new_rows), before)


def test_the_threshold_is_the_one_that_set_threshold_gives(digits):
    X = digits[0][:400]
    inner = DenoisingAutoencoder(hidden_layer_sizes=(8,), max_epochs=2, random_state=0).fit(X[:100])
    detector = conformal(inner, alpha=0.1, prefit=True).calibrate(X[100:])
    assert inner.set_threshold(fpr=0.1, X=X[100:]).offset_ == detector.offset_


def test_calibrating_applies_another_alpha(rows):
    detector = conformal().fit(rows)
    before = detector.offset_
    detector.set_params(alpha=0.2).calibrate(rows[:300])
    assert detector.offset_ > before


def test_a_frozen_detector_survives_a_clone_and_a_fit(rows):
    norm = Norm().fit(rows[:400])
    frozen = clone(conformal(FrozenEstimator(norm), prefit=True)).calibrate(rows[400:])
    np.testing.assert_array_equal(frozen.score_samples(rows), norm.score_samples(rows))
    split = conformal(FrozenEstimator(norm)).fit(rows[400:])
    np.testing.assert_array_equal(split.score_samples(rows), norm.score_samples(rows))
    with pytest.raises(NotFittedError, match=r"this Norm is not. .*FrozenEstimator"):
        clone(conformal(norm, prefit=True)).calibrate(rows)


@pytest.mark.parametrize("cv", [None, 3])
def test_refits_clones_and_copies_agree(rows, new_rows, cv, tmp_path):
    detector = conformal(IsolationForest(n_estimators=10), cv=cv).fit(rows)
    state = np.random.get_state()  # noqa: NPY002
    joblib.dump(detector, tmp_path / "detector.joblib")
    copies = [
        copy.deepcopy(detector),
        pickle.loads(pickle.dumps(detector)),
        joblib.load(tmp_path / "detector.joblib"),
        clone(detector).fit(rows),
        detector.fit(rows),
    ]
    for other in copies:
        np.testing.assert_array_equal(other.p_values(new_rows), detector.p_values(new_rows))
        scores = detector.score_samples(new_rows)
        np.testing.assert_array_equal(other.score_samples(new_rows), scores)
    np.testing.assert_equal(np.random.get_state(), state)  # noqa: NPY002


def test_a_refit_drops_the_folds(rows):
    detector = conformal(cv=3).fit(rows)
    detector.set_params(cv=None).fit(rows)
    assert len(detector.estimators_) == 1
    assert not hasattr(detector.set_params(cv=3).fit(rows), "estimator_")


@pytest.mark.parametrize(
    "change",
    [
        {"estimator": OneClassSVM()},
        {"alpha": 0.2},
        {"calibration_size": 0.5},
        {"calibration_size": 100},
        {"cv": 5},
        {"random_state": 1},
        {"higher_is_normal": False},
    ],
    ids=str,
)
def test_every_parameter_changes_the_result(rows, new_rows, change):
    before = conformal().fit(rows)
    after = conformal().set_params(**change).fit(rows)
    assert (before.decision_function(new_rows) != after.decision_function(new_rows)).any()


def test_the_inner_seed_is_kept_where_there_is_one(rows):
    forest = IsolationForest(n_estimators=5)
    seeds = []
    for seed in (0, 1):
        seeds.append(conformal(forest, random_state=seed).fit(rows).estimator_.random_state)
    assert len(set(seeds)) == 2
    assert forest.random_state is None
    own = conformal(forest.set_params(random_state=7)).fit(rows)
    assert own.estimator_.random_state == 7


def test_sizes_are_shares_or_numbers(rows):
    for size, n in [(0.25, 150), (0.999, 599), (0.0001, 1), (77, 77)]:
        detector = conformal(calibration_size=size, alpha=0.5).fit(rows)
        assert len(detector.calibration_scores_) == n


# Warnings and errors.


@pytest.mark.parametrize(("alpha", "needed"), [(0.05, 19), (0.01, 99), (0.3, 3), (0.1, 9)])
def test_too_few_calibration_rows_warn_with_the_number_needed(rows, alpha, needed):
    message = rf"{needed - 1} calibration rows are too few .* alpha={alpha}: it takes {needed}\."
    with pytest.warns(UserWarning, match=message) as record:
        detector = conformal(alpha=alpha, calibration_size=needed - 1).fit(rows)
    assert record[0].filename == __file__
    assert (detector.predict([[1e9] * 3]) == 1).all()  # without another warning
    assert detector.fpr_interval() == (0.0, 0.0)
    enough = conformal(alpha=alpha, calibration_size=needed).fit(rows)
    assert (enough.predict([[1e9] * 3]) == -1).all()


def test_folds_with_too_few_rows_warn_too(rows):
    with pytest.warns(UserWarning, match="10 calibration rows are too few"):
        detector = conformal(cv=2).fit(rows[:10])
    assert (detector.decision_function(rows) == np.inf).all()
    assert np.isfinite(detector.score_samples(rows)).all()


def test_select_says_how_many_calibration_rows_odd_rows_need(rows):
    # 20 odd rows among 220, at fdr=0.1: 220 / (20 * 0.1) - 1.
    X = np.repeat([99.0, 0.0], [20, 200])[:, None]
    few = about_zero().calibrate(rows[:108, :1])
    with pytest.warns(
        UserWarning, match="20 of 220 rows score below all 108 .* takes at least 109"
    ) as record:
        assert not few.select(X, fdr=0.1).any()
    assert record[0].filename == __file__
    enough = about_zero().calibrate(rows[:109, :1])
    assert enough.select(X, fdr=0.1).sum() == 20
    assert not few.select(X[20:], fdr=0.1).any()  # more calibration rows would not report any row


@pytest.mark.parametrize("cv", [None, LeaveOneOut()])
@pytest.mark.filterwarnings("ignore:.*too few for any alarm")
def test_two_rows_are_enough(cv):
    detector = conformal(cv=cv).fit([[0.0], [1.0]])
    p = detector.p_values([[0.0], [9.0]])
    assert ((p > 0) & (p <= 1)).all()
    with pytest.raises(ValueError, match=r"needs two rows.* n_samples=1"):
        conformal(cv=cv).fit([[0.0]])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"calibration_size": 1.0}, "calibration_size"),
        ({"calibration_size": 0}, "calibration_size"),
        ({"calibration_size": 600}, "calibration_size=600 leaves no row to fit to"),
        ({"cv": ShuffleSplit(3, random_state=0)}, r"cv must test each row once, but it tests row"),
        ({"higher_is_normal": "yes"}, "higher_is_normal"),
        ({"estimator": 3}, "estimator"),
    ],
    ids=str,
)
def test_parameters_out_of_range_are_an_error(rows, parameters, message):
    with pytest.raises(ValueError, match=message):
        conformal().set_params(**parameters).fit(rows)


def test_nan_scores_are_an_error_that_names_the_row_before_the_split(rows):
    class Broken(Norm):
        def score_samples(self, X):
            return np.where(X[:, 0] == rows[3, 0], np.nan, super().score_samples(X))

    with pytest.raises(ValueError, match="The score of row 3 by Broken is NaN"):
        conformal(Broken(), cv=3).fit(rows)
    with pytest.raises(ValueError, match="The score of row 0 by Broken is NaN"):
        conformal(Broken().fit(rows), prefit=True).fit(rows[3:])


def test_folds_are_refused_where_one_detector_is_needed(rows):
    detector = conformal(cv=3).fit(rows)
    message = "{} needs one inner detector, but with cv=3 there is one for each fold"
    with pytest.raises(ValueError, match=message.format("fpr_interval")):
        detector.fpr_interval()
    for method in (detector.p_values, detector.select):
        with pytest.raises(ValueError, match=message.format("weights")):
            method(rows, weights=(np.ones(600), np.ones(600)))
    with pytest.raises(ValueError, match=message.format("calibrate")):
        detector.calibrate(rows)


def test_levels_out_of_range_are_an_error(rows):
    detector = conformal().fit(rows)
    with pytest.raises(ValueError, match=r"fdr must be above 0 and below 1, but it is 0\."):
        detector.select(rows, fdr=0.0)
    with pytest.raises(ValueError, match="confidence must be above 0 and below 1, but it is 95"):
        detector.fpr_interval(95)


@pytest.mark.parametrize("method", [*METHODS, "calibrate"])
def test_methods_need_a_fit(rows, method):
    with pytest.raises(NotFittedError):
        getattr(conformal(), method)(rows)
    with pytest.raises(NotFittedError):
        conformal().fpr_interval()


def test_folds_are_trained_side_by_side_to_the_bits_of_lone_fits(normal, monkeypatch):
    alone = []
    train = aedetect.estimators.fitting.train
    monkeypatch.setattr(
        aedetect.estimators.fitting, "train", lambda *a, **k: alone.append(a) or train(*a, **k)
    )
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
    inner = DenoisingAutoencoder(2, **settings, device="cpu")  # where it holds
    folds = [(rows, held_out) for rows, held_out in KFold(4).split(normal)]
    detector = ConformalDetector(make_pipeline(StandardScaler(), inner), cv=folds, alpha=0.1)
    detector.fit(normal)
    assert not alone
    for fitted, (rows, _) in zip(detector.estimators_, folds, strict=True):
        lone = make_pipeline(StandardScaler(), clone(inner).set_params(contamination=0))
        expected = lone.fit(normal[rows]).score_samples(normal)
        np.testing.assert_array_equal(fitted.score_samples(normal), expected)
        assert "_memo" not in vars(fitted[-1])
    assert len(alone) == 4


def test_a_fold_that_cannot_be_fitted_names_its_row(normal):
    X = normal.copy()
    X[17, 2] = np.nan
    inner = DenoisingAutoencoder(2, hidden_layer_sizes=(8,), max_epochs=3, random_state=0)
    with pytest.raises(ValueError, match=r"row 17 .*column 2"):
        ConformalDetector(inner, cv=3, random_state=0).fit(X)
