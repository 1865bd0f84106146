"""The detectors find what they should: defaults against simple peers on the same split."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from aedetect.datasets import make_anomaly_split


@pytest.fixture(scope="module")
def problems():
    """Return ten one-class problems on grey values from 0 to 16, as scikit-learn has them."""
    X, y = load_digits(return_X_y=True)
    return [make_anomaly_split(X, y, normal=digit, random_state=0) for digit in range(10)]


def pca_scores(X_train, X_test):
    pca = PCA(16).fit(X_train)
    return -((X_test - pca.inverse_transform(pca.transform(X_test))) ** 2).sum(axis=1)


def neighbour_scores(X_train, X_test):
    return -NearestNeighbors(n_neighbors=1).fit(X_train).kneighbors(X_test)[0][:, 0]


def mean_auroc(problems, score):
    return np.mean([roc_auc_score(y, score(train, test)) for train, test, y in problems])


def test_defaults_find_odd_digits_at_least_as_well_as_pca_and_the_nearest_neighbour(
    problems, estimator_class
):
    ours = mean_auroc(
        problems,
        lambda train, test: estimator_class(random_state=0).fit(train).score_samples(test),
    )
    assert ours >= mean_auroc(problems, pca_scores)
    assert ours >= mean_auroc(problems, neighbour_scores)


def test_shuffled_labels_give_no_auroc(problems):
    rng = np.random.RandomState(0)
    shuffled = [(train, test, rng.permutation(y)) for train, test, y in problems]
    assert mean_auroc(shuffled, neighbour_scores) == pytest.approx(0.5, abs=0.05)
