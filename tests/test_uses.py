"""Estimators in use: Pipelines in place of PCA, t-SNE, grid searches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector, datasets

QUICK = AutoencoderTransformer(8, max_epochs=20, random_state=0)
GRID = {"latent_dim": [1, 6], "hidden_layer_sizes": [(16,), (32, 16)]}


@pytest.mark.parametrize("reducer", [QUICK, PCA(8)], ids=["ae", "pca"])
def test_codes_go_to_tsne(digits, reducer):
    X, y = (values[:200] for values in digits)
    pipeline = Pipeline(
        [("scale", MinMaxScaler()), ("ae", reducer), ("tsne", TSNE(random_state=0, max_iter=300))]
    )
    embedded = pipeline.fit_transform(X)
    assert embedded.shape == (200, 2)
    neighbours = NearestNeighbors(n_neighbors=2).fit(embedded).kneighbors(return_distance=False)
    assert (y[neighbours[:, 0]] == y).mean() > 0.7


@pytest.mark.parametrize(
    "estimator",
    [
        QUICK,
        DenoisingAutoencoder(8, max_epochs=20, random_state=0),
        VAEDetector(8, max_epochs=20, random_state=0),
    ],
)
def test_codes_train_a_classifier(digits, estimator):
    X_train, X_test, y_train, y_test = train_test_split(*digits, train_size=900, random_state=0)
    pipeline = Pipeline(
        [
            ("scale", StandardScaler()),
            ("ae", estimator),
            ("clf", LogisticRegression(max_iter=1000)),
        ]
    )
    assert pipeline.fit(X_train, y_train).score(X_test, y_test) > 0.8


def test_a_pipeline_that_ends_in_a_detector_flags_rows(digits):
    X_train, X_test, y_test = datasets.make_anomaly_split(*digits, normal=1, random_state=0)
    pipeline = Pipeline([("scale", MinMaxScaler()), ("ae", DenoisingAutoencoder(random_state=0))])
    pipeline.fit(X_train)
    assert roc_auc_score(y_test, pipeline.score_samples(X_test)) > 0.95
    assert set(pipeline.predict(X_test)) == {1, -1}


@pytest.fixture(scope="module")
def problem(digits):
    """Return rows of one digit and 35 of others, and y in {+1, -1}."""
    _, X, y = datasets.make_anomaly_split(
        *digits, normal=4, n_test_anomalies=35, test_size=0.99, random_state=0
    )
    return X, y


def test_grid_search_by_reconstruction_prefers_the_larger_code(problem):
    estimator = AutoencoderTransformer(
        max_epochs=15, anomaly_score="reconstruction", random_state=0, device="cpu"
    )
    search = GridSearchCV(estimator, GRID, cv=3).fit(problem[0])
    assert search.best_params_["latent_dim"] == 6
    best = search.best_estimator_
    assert search.score(problem[0]) == pytest.approx(best.score_samples(problem[0]).mean())


def search_by_labels(X, y, grid, **options):
    """Return a search for the largest AUROC inside a Pipeline."""
    autoencoder = AutoencoderTransformer(max_epochs=15, random_state=0, device="cpu")
    return GridSearchCV(
        Pipeline([("scale", MinMaxScaler()), ("ae", autoencoder)]),
        {f"ae__{name}": values for name, values in grid.items()},
        scoring="roc_auc",
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        **options,
    ).fit(X, y)


def test_grid_search_takes_labels_inside_a_pipeline(problem):
    X, y = problem
    search = search_by_labels(X, y, GRID)
    assert search.best_score_ > 0.9
    shuffled = np.random.RandomState(0).permutation(y)
    assert search.score(X, y) > 0.9 > 0.7 > search.score(X, shuffled)


def test_a_parallel_grid_search_gives_the_scores_of_a_serial_one(problem):
    serial, parallel = (
        search_by_labels(*problem, {"latent_dim": [1, 6]}, n_jobs=n_jobs, refit=False)
        for n_jobs in (1, 2)
    )
    np.testing.assert_allclose(
        serial.cv_results_["mean_test_score"], parallel.cv_results_["mean_test_score"], rtol=1e-4
    )


def test_a_dataframe_passes_through_a_pipeline_with_its_names(digits):
    frame = pd.DataFrame(digits[0][:100]).rename(columns="pixel{}".format)
    pipeline = Pipeline([("scale", StandardScaler()), ("ae", clone(QUICK))])
    codes = pipeline.set_output(transform="pandas").fit_transform(frame)
    assert codes.columns.tolist() == [f"autoencodertransformer{i}" for i in range(8)]
    assert pipeline[-1].feature_names_in_[0] == "pixel0"
