"""Splits, searches and ConformalDetector take rows on disk, and give the bits of arrays."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aedetect import AutoencoderTransformer, ConformalDetector, explain, open_rows, repair
from aedetect.rows import Rows

X = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
Y = np.where(np.arange(600) % 10, 1, -1)


@pytest.fixture(scope="module")
def rows():
    return open_rows(lambda: [X])


@pytest.fixture
def estimator():
    return AutoencoderTransformer(2, hidden_layer_sizes=(8,), max_epochs=2, random_state=0)


def test_splits_are_views(rows):
    for train, test in KFold(3, shuffle=True, random_state=0).split(rows):
        np.testing.assert_array_equal(rows[train].to_numpy(), X[train])
        np.testing.assert_array_equal(rows[test].to_numpy(), X[test])
    for part, expected in zip(
        train_test_split(rows, random_state=0), train_test_split(X, random_state=0), strict=True
    ):
        assert isinstance(part, Rows)
        np.testing.assert_array_equal(part.to_numpy(), expected)


@pytest.mark.parametrize("options", [{}, {"scoring": "roc_auc"}], ids=["score", "AUROC"])
def test_a_search_over_rows_is_one_over_an_array(rows, estimator, options):
    found = [
        GridSearchCV(estimator, {"latent_dim": [1, 2]}, cv=3, **options).fit(table, Y)
        for table in (rows, X)
    ]
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(*(search.cv_results_[name] for search in found))
    np.testing.assert_array_equal(*(search.score_samples(X) for search in found))


def test_a_pipeline_that_passes_rows_on_takes_them(rows, estimator):
    fitted = [make_pipeline("passthrough", clone(estimator)).fit(table) for table in (rows, X)]
    np.testing.assert_array_equal(fitted[0].score_samples(rows), fitted[1].score_samples(X))
    np.testing.assert_array_equal(
        cross_val_score(estimator, rows, cv=3), cross_val_score(estimator, X, cv=3)
    )


@pytest.mark.parametrize("options", [{}, {"cv": 3}, {"calibration_size": 250}], ids=str)
def test_conformal_decisions_about_rows_are_those_about_an_array(rows, estimator, options):
    detectors = [
        ConformalDetector(estimator, random_state=0, **options).fit(table) for table in (rows, X)
    ]
    np.testing.assert_array_equal(*(d.calibration_scores_ for d in detectors))
    np.testing.assert_array_equal(detectors[0].predict(rows), detectors[1].predict(X))
    np.testing.assert_array_equal(detectors[0].p_values(rows[::3]), detectors[1].p_values(X[::3]))


def test_conformal_errors_name_the_row_of_the_whole(estimator):
    holes = X.copy()
    holes[123, 2] = np.nan
    rows = open_rows(lambda: [holes])
    with pytest.raises(ValueError, match="has no value") as caught:
        ConformalDetector(estimator, random_state=0).fit(rows)
    assert "row 123" in str(caught.value)


@pytest.mark.parametrize(
    "use",
    [
        lambda e, rows: make_pipeline(StandardScaler(), e).fit(rows),
        lambda e, rows: explain(e.fit(X), rows),
        lambda e, rows: repair(e.fit(X), rows),
        lambda e, rows: ConformalDetector(e.fit(X), prefit=True).fit(X).explain(rows),
    ],
)
def test_steps_and_functions_that_need_arrays_refuse_rows(rows, estimator, use):
    with pytest.raises(TypeError, match=r"rows\[:1000\].to_"):
        use(estimator, rows)
