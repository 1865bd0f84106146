"""Searches that train side by side return scikit-learn's results, to the last bit."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    ShuffleSplit,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import aedetect.estimators.fitting
import aedetect.estimators.memo
from aedetect import AutoencoderTransformer, ConformalDetector, DenoisingAutoencoder, VAEDetector
from aedetect.model_selection import (
    GridSearch,
    HalvingGridSearch,
    RandomizedSearch,
    synthetic_auroc,
)

# Only on a CPU are networks that are trained side by side those of lone fits.
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 4, "random_state": 0, "device": "cpu"}
pytestmark = pytest.mark.filterwarnings("ignore:scoring=None compares:UserWarning")


@pytest.fixture
def trained_alone(monkeypatch):
    """Return a list that grows by every network that is trained by itself."""
    calls = []
    train = aedetect.estimators.fitting.train

    def record(*args, **kwargs):
        calls.append(args)
        return train(*args, **kwargs)

    monkeypatch.setattr(aedetect.estimators.fitting, "train", record)
    return calls


def assert_equal_results(ours, theirs):
    """Compare the results of two fitted searches but for times."""
    assert ours.cv_results_.keys() == theirs.cv_results_.keys()
    for name, values in theirs.cv_results_.items():
        if not name.endswith("_time"):
            np.testing.assert_array_equal(ours.cv_results_[name], values, err_msg=name)
    if ours.refit:
        assert ours.best_params_ == theirs.best_params_
        assert ours.best_score_ == theirs.best_score_


def search_both(estimator, grid, X, y=None, **settings):
    settings = {"cv": 3, **settings}
    ours = GridSearch(estimator, grid, **settings).fit(X, y)
    theirs = GridSearchCV(estimator, grid, **settings).fit(X, y)
    assert_equal_results(ours, theirs)
    return ours, theirs


def test_results_and_best_estimator_are_those_of_scikit_learn(table, trained_alone):
    grid = {
        "learning_rate": [1e-3, 1e-2],
        "noise_level": [0.2, 0.5],
        "dropout": [0.1, 0.2],
    }
    grid = [{**grid, "weight_decay": [0.1]}, {"weight_decay": [0.0, 0.2]}]
    X = table[:50]  # unequal folds
    estimator = DenoisingAutoencoder(2, **SMALL)
    ours, theirs = search_both(estimator, grid, X, return_train_score=True)
    assert len(trained_alone) == 1 + 30 + 1  # all of theirs, and the refits
    np.testing.assert_array_equal(ours.score_samples(X), theirs.score_samples(X))
    assert len(np.unique(ours.cv_results_["mean_test_score"])) == 10
    assert ours.estimator is estimator
    assert "_memo" not in vars(estimator) | vars(ours.best_estimator_)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAEDetector])
def test_shapes_losses_and_penalties_may_differ(kind, table, trained_alone):
    grid = [
        {"latent_dim": [1, 2], "hidden_layer_sizes": [(), (8,)]},
        {"loss": ["mse", "huber"], "activation": ["relu", "elu"], "batch_norm": [False, True]},
        {"n_members": [2], "optimizer": ["adam", "sgd"]},
    ]
    search_both(kind(2, **SMALL), grid, table, cv=2)
    assert len(trained_alone) == 28 + 2


def test_early_stopping_is_that_of_each_candidate(table):
    estimator = AutoencoderTransformer(2, **{**SMALL, "max_epochs": 40}, patience=2)
    grid = {"learning_rate": [1e-3, 0.1, 0.5], "patience": [1, 3]}
    search_both(estimator, grid, table, scoring=lambda fitted, X, y=None: fitted.n_iter_)


def test_steps_of_a_pipeline_are_searched(table, trained_alone):
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer(2, **SMALL))
    grid = {
        "standardscaler__with_mean": [True, False],
        "autoencodertransformer__learning_rate": [1e-3, 1e-2],
    }
    frame = pd.DataFrame(table, columns=list("abcde"))
    ours, _ = search_both(pipeline, grid, frame)
    assert len(trained_alone) == 1 + 12 + 1
    assert list(ours.best_estimator_.feature_names_in_) == list("abcde")


def test_codes_for_a_classifier_are_searched_with_labels(digits, trained_alone):
    pipeline = make_pipeline(
        AutoencoderTransformer(4, **SMALL), LogisticRegression(max_iter=20, tol=1)
    )
    grid = {"autoencodertransformer__learning_rate": [1e-3, 1e-2], "logisticregression__C": [1, 9]}
    X, y = digits[0][:90], digits[1][:90]
    search_both(pipeline, grid, X, y)
    assert len(trained_alone) == 1 + 12 + 1


def test_a_candidate_that_diverges_has_the_error_score(table):
    estimator = AutoencoderTransformer(2, **SMALL)
    settings = {"error_score": -9.0, "cv": 2}
    with pytest.warns(match="training diverged"):
        ours, _ = search_both(estimator, {"learning_rate": [1e-3, 1e30]}, table, **settings)
    assert ours.cv_results_["mean_test_score"][1] == -9.0


def test_errors_are_those_of_scikit_learn(table):
    search = GridSearch(
        AutoencoderTransformer(2, **SMALL), {"latent_dim": [2, -1]}, error_score="raise"
    )
    with pytest.raises(ValueError, match="latent_dim"):
        search.fit(table)
    assert "_memo" not in vars(search.estimator)


def test_candidates_that_differ_in_the_score_share_their_network(table, monkeypatch):
    jobs = []
    train_together = aedetect.estimators.memo.train_together
    monkeypatch.setattr(
        aedetect.estimators.memo,
        "train_together",
        lambda new: jobs.extend(new) or train_together(new),
    )
    grid = {"anomaly_score": ["reconstruction", "sharp", "robust"]}
    search_both(AutoencoderTransformer(2, **SMALL), grid, table, cv=2)
    assert len(jobs) == 2  # one a fold


def test_shares_of_anomalies_are_searched(table):
    grid = {"contamination": ["auto", 0.1, 0.2], "learning_rate": [1e-3, 1e-2]}
    search_both(DenoisingAutoencoder(2, **SMALL), grid, table)


def test_processes_take_chunks(table):
    grid = {"learning_rate": [1e-3, 1e30, 1e-2], "weight_decay": [0, 0.1]}
    with pytest.warns(match="training diverged"):
        search_both(DenoisingAutoencoder(2, **SMALL), grid, table, cv=2, n_jobs=2, error_score=-9.0)


def test_draws_without_a_seed_are_those_of_the_networks_ahead(table, trained_alone):
    estimator = AutoencoderTransformer(2, **{**SMALL, "random_state": None})
    search = GridSearch(estimator, {"learning_rate": [1e-3, 1e-2]}, cv=ShuffleSplit(3)).fit(table)
    assert len(trained_alone) == 1  # the refit
    assert search.best_estimator_.random_state is None
    again = clone(search).fit(table)
    assert again.best_score_ != search.best_score_


def test_repeats_over_seeds_are_trained_side_by_side(table, trained_alone, monkeypatch):
    groups = []
    train_together = aedetect.estimators.memo.train_together
    monkeypatch.setattr(
        aedetect.estimators.memo,
        "train_together",
        lambda jobs: groups.append(len(jobs)) or train_together(jobs),
    )
    grid = {"random_state": range(5)}
    ours, _ = search_both(DenoisingAutoencoder(2, **SMALL), grid, table, cv=2, refit=False)
    assert groups == [10]
    assert len(trained_alone) == 10  # theirs
    lone = clone(ours.estimator).set_params(random_state=3).fit(table[30:])
    assert ours.cv_results_["split0_test_score"][3] == lone.score(table[:30])
    assert len(np.unique(ours.cv_results_["split0_test_score"])) == 5


def test_a_generator_is_copied_for_every_fit(table, trained_alone):
    def estimator():
        return AutoencoderTransformer(2, **{**SMALL, "random_state": np.random.RandomState(3)})

    ours = GridSearch(estimator(), {"learning_rate": [1e-3, 1e-2]}, cv=2).fit(table)
    assert len(trained_alone) == 1
    theirs = GridSearchCV(estimator(), {"learning_rate": [1e-3, 1e-2]}, cv=2).fit(table)
    assert_equal_results(ours, theirs)


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "residual"},
        {"network": "conv", "image_shape": (1, 8, 8), "hidden_layer_sizes": (4,)},
        {"tied_weights": True},
        {"contractive": 0.1},
        {"warm_start": True},
    ],
    ids=str,
)
def test_other_trainings_are_as_always(settings, digits, trained_alone):
    estimator = AutoencoderTransformer(2, **{**SMALL, "max_epochs": 1, **settings})
    search_both(estimator, {"learning_rate": [1e-3, 1e-2]}, digits[0][:40], cv=2)
    assert len(trained_alone) == 2 * (4 + 1)


def test_candidates_that_replace_a_step_are_fitted_as_always(table, trained_alone):
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer(2, **SMALL))
    forest = IsolationForest(n_estimators=2, random_state=0)
    grid = {"autoencodertransformer": [forest, VAEDetector(2, **SMALL)]}
    settings = {"scoring": lambda fitted, X, y=None: fitted.score_samples(X).mean()}
    search_both(pipeline, grid, table, cv=2, **settings)
    assert len(trained_alone) >= 2 * 2


def test_other_estimators_are_searched_as_always(table):
    y = np.arange(60) % 2
    search_both(LogisticRegression(), {"C": [0.1, 1.0]}, table / table.max(axis=0), y)
    detector = ConformalDetector(AutoencoderTransformer(2, **SMALL), random_state=0)
    settings = {"scoring": lambda fitted, X, y=None: fitted.score_samples(X).mean()}
    search_both(detector, {"alpha": [0.2, 0.3]}, table, cv=2, **settings)


def test_a_randomized_search_draws_the_candidates_of_scikit_learn(table, trained_alone):
    estimator = AutoencoderTransformer(2, **SMALL)
    rates = {"learning_rate": loguniform(1e-4, 1e-1)}
    settings = {"n_iter": 5, "random_state": 7, "cv": 2}
    ours = RandomizedSearch(estimator, rates, **settings).fit(table)
    assert len(trained_alone) == 1
    assert_equal_results(ours, RandomizedSearchCV(estimator, rates, **settings).fit(table))


@pytest.mark.parametrize("resource", [{}, {"resource": "max_epochs", "max_resources": 8}])
def test_a_halving_search_trains_every_iteration_ahead(table, trained_alone, resource):
    estimator = AutoencoderTransformer(2, **SMALL)
    grid = {"learning_rate": [1e-4, 1e-3, 1e-2, 1e-1]}
    settings = {"factor": 2, "cv": KFold(2), "random_state": 0, **resource}
    ours = HalvingGridSearch(estimator, grid, **settings).fit(table)
    assert len(trained_alone) == 1
    theirs = HalvingGridSearchCV(estimator, grid, **settings).fit(table)
    assert_equal_results(ours, theirs)
    assert ours.n_iterations_ == theirs.n_iterations_ > 1


def test_a_search_works_without_refit_and_with_several_scores(table, trained_alone):
    y = np.where(np.arange(60) % 10 == 0, -1, 1)
    estimator = AutoencoderTransformer(2, **SMALL)
    scoring = {"auroc": "roc_auc", "drawn": synthetic_auroc()}
    settings = {"scoring": scoring, "refit": False, "cv": 2}
    ours = GridSearch(estimator, {"learning_rate": [1e-3, 1e-2]}, **settings).fit(table, y)
    assert not trained_alone
    theirs = GridSearchCV(estimator, {"learning_rate": [1e-3, 1e-2]}, **settings).fit(table, y)
    for name in ("mean_test_auroc", "mean_test_drawn"):
        np.testing.assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])


class Follower:
    """A callback for a search and, at any depth, for its fits."""

    max_propagation_depth = None

    def __init__(self):
        self.tasks = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.tasks.append(context.task_name)

    def on_fit_task_end(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass


def test_callbacks_that_follow_the_candidates_see_every_epoch(table, trained_alone):
    estimator, follower = AutoencoderTransformer(2, **SMALL), Follower()
    search = GridSearch(estimator, {"learning_rate": [1e-3, 1e-2]}, cv=2)
    search.set_callbacks(follower).fit(table)
    assert len(trained_alone) == 4 + 1
    assert follower.tasks.count("epoch") == 5 * 4


def test_a_search_by_the_held_out_score_warns(table):
    estimator = AutoencoderTransformer(2, **SMALL)
    search = GridSearch(estimator, {"learning_rate": [1e-3]}, cv=2)
    with pytest.warns(UserWarning, match=r"scoring=None.*roc_auc.*synthetic_auroc"):
        search.fit(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.set_params(scoring=synthetic_auroc()).fit(table)
        GridSearch(LogisticRegression(), {"C": [1.0]}, cv=2).fit(table[:, :1], np.arange(60) % 2)


def test_rows_that_memory_does_not_hold_at_once_are_trained_in_turn(table, monkeypatch):
    monkeypatch.setattr(aedetect.estimators.memo, "MAX_BYTES", 1)
    search_both(AutoencoderTransformer(2, **SMALL), {"learning_rate": [1e-3, 1e-2]}, table, cv=2)


# A score for searches without labels.


class Distance:
    """A detector that calls rows odd that are far from zero."""

    def decision_function(self, X):
        self.rows = np.asarray(X, dtype=float)
        self.dtype = np.asarray(X).dtype
        return -np.abs(self.rows).sum(axis=1)


def test_drawn_anomalies_fill_the_box_of_the_rows():
    X = np.random.RandomState(1).randn(300, 3) * [1, 5, 0.1]
    detector = Distance()
    score = synthetic_auroc()(detector, X)
    drawn = detector.rows
    assert drawn.shape == (1000, 3)
    assert (drawn >= X.min(axis=0)).all()
    assert (drawn <= X.max(axis=0)).all()
    middle = (X.min(axis=0) + X.max(axis=0)) / 2
    np.testing.assert_allclose((drawn > middle).mean(axis=0), 0.5, atol=0.05)
    assert 0.7 < score < 1
    assert synthetic_auroc()(detector, X) == score


def test_a_trained_network_tells_drawn_anomalies_better_than_an_untrained_one(normal):
    settings = {"hidden_layer_sizes": (32,), "anomaly_score": "reconstruction", "random_state": 0}
    untrained = AutoencoderTransformer(2, max_epochs=1, learning_rate=1e-9, **settings).fit(normal)
    trained = AutoencoderTransformer(2, max_epochs=60, **settings).fit(normal)
    scorer = synthetic_auroc("box")
    assert scorer(trained, normal) > scorer(untrained, normal) + 0.05


def test_drawn_anomalies_come_as_the_rows_do(table):
    frame = pd.DataFrame(table, columns=list("abcde"))
    frame.iloc[0, 0] = np.nan
    detector = AutoencoderTransformer(2, missing="mask", **SMALL).fit(frame)
    assert 0 <= synthetic_auroc()(detector, frame) <= 1
    narrow = Distance()
    synthetic_auroc()(narrow, table.astype(np.float32))
    assert narrow.dtype == np.float32


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"kind='ball' is unknown. Use 'box'"):
        synthetic_auroc("ball")
    with pytest.raises(ValueError, match=r"draws numbers .* dtype"):
        synthetic_auroc()(Distance(), np.array([["a", "b"]], dtype=object))
