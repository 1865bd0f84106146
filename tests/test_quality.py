"""The detectors find what they should: defaults against simple peers on the same split."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from aedetect import AutoencoderTransformer
from aedetect.datasets import make_anomaly_split


@pytest.fixture(scope="module")
def problems():
    """Return one-class problems on grey values from 0 to 16, as scikit-learn has them."""
    X, y = load_digits(return_X_y=True)
    return [make_anomaly_split(X, y, normal=digit, random_state=0) for digit in range(0, 10, 2)]


def pca_scores(X_train, X_test):
    pca = PCA(16).fit(X_train)
    return -((X_test - pca.inverse_transform(pca.transform(X_test))) ** 2).sum(axis=1)


def neighbour_scores(X_train, X_test):
    return -NearestNeighbors(n_neighbors=1).fit(X_train).kneighbors(X_test)[0][:, 0]


def mean_auroc(labels, scores):
    return np.mean([roc_auc_score(y, score) for y, score in zip(labels, scores, strict=True)])


def test_odd_digits_are_found_at_least_as_well_as_by_peers_and_none_by_shuffled_labels(
    problems, estimator_class
):
    def scores_of(score):
        return [score(train, test) for train, test, _ in problems]

    labels = [y for *_, y in problems]

    def ours_of(**settings):
        return scores_of(
            lambda train, test: (
                estimator_class(**settings, random_state=0).fit(train).score_samples(test)
            )
        )

    peers = [mean_auroc(labels, scores_of(peer)) for peer in (pca_scores, neighbour_scores)]
    ours = ours_of(contamination=0)  # the training rows are clean
    assert mean_auroc(labels, ours) >= max(peers)
    assert mean_auroc(labels, ours_of()) >= max(peers) - 0.002  # not told so
    rng = np.random.RandomState(0)
    by_chance = [mean_auroc([rng.permutation(y) for y in labels], ours) for _ in range(20)]
    assert np.mean(by_chance) == pytest.approx(0.5, abs=0.02)


def smooth_images(n_images):
    """Return images of 16x16 pixels with next to nothing that alternates from pixel to pixel."""
    rng = np.random.default_rng(0)
    centre = rng.uniform(0, 16, size=(n_images, 2, 3, 1, 1))
    width = rng.uniform(2.5, 4.5, size=(n_images, 3, 1, 1))
    squares = ((np.mgrid[:16, :16][None, :, None] - centre) ** 2).sum(axis=1)
    return np.exp(-squares / (2 * width**2)).sum(axis=1).reshape(n_images, -1)


def checkerboard(rows):
    """Return the share of the variance in [[+, -], [-, +]] patterns of 2x2 pixels."""
    images = rows.reshape(-1, 16, 16)
    rises = np.diff(np.diff(images, axis=1), axis=2)
    return np.square(rises).mean() / 4 / images.var()


def test_nearest_upsampling_avoids_the_checkerboards_of_the_other_two():
    X = smooth_images(300)
    shares = {
        upsample: checkerboard(
            AutoencoderTransformer(
                16,
                network="conv",
                image_shape=(1, 16, 16),
                downsample="maxpool",
                upsample=upsample,
                learning_rate=3e-3,
                max_epochs=25,
                random_state=0,
            )
            .fit(X[:250])
            .reconstruct(X[250:])
        )
        for upsample in ("nearest", "transpose", "unpool")
    }
    assert shares["nearest"] < 0.8 * shares["transpose"] < 0.8 * shares["unpool"]
