"""Which features make a row odd."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.model import View, fit_columns
from aedetect.networks import Autoencoder
from aedetect.scoring import EVIDENCE_SCORES, SCORES
from aedetect.scoring.explanations import Surprise, surprises

IMAGES = {"image_shape": (1, 8, 8), "max_epochs": 10}


def fit(X, score="auto", estimator_class=AutoencoderTransformer, **settings):
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 60, **settings}
    return estimator_class(2, anomaly_score=score, random_state=0, **settings).fit(X)


@pytest.fixture(scope="module")
def detector(normal):
    return fit(normal[:200])


def falsify(X, deviations=3.0):
    """Return rows of which one cell each is moved, and its columns."""
    rng, rows = np.random.RandomState(1), X.copy()
    columns = rng.randint(X.shape[1], size=len(X))
    rows[np.arange(len(X)), columns] += deviations * X.std(axis=0)[columns]
    return rows, columns


def share_found(detector, X):
    rows, columns = falsify(X)
    return (np.asarray(detector.explain(rows)).argmax(axis=1) == columns).mean()


@pytest.mark.parametrize("score", [score for score in SCORES if score not in EVIDENCE_SCORES])
def test_a_false_cell_comes_first(score, normal):
    # A code may hold what is false as well as what is true.
    expected = 0.5 if score in ("mahalanobis", "latent_neighbors") else 0.7
    assert share_found(fit(normal[:200], score), normal[200:]) > expected


@pytest.mark.parametrize("score", EVIDENCE_SCORES)
def test_a_false_cell_comes_first_for_a_variational_autoencoder(score, normal):
    assert share_found(fit(normal[:200], score, VAEDetector, beta=0.1), normal[200:]) > 0.7


@pytest.mark.parametrize("settings", [{"n_members": 3}, {"loss": "huber"}], ids=str)
def test_ensembles_and_other_losses_find_the_cell(settings, normal):
    assert share_found(fit(normal[:200], **settings), normal[200:]) > 0.7


def test_a_network_of_ones_own_finds_the_cell(normal):
    network = Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6))
    detector = fit(normal[:200], network=network, learning_rate=0.01)
    assert share_found(detector, normal[200:]) > 0.7


def test_surprises_find_more_than_residuals_do(normal):
    rows, columns = falsify(normal[200:])
    detector = fit(normal[:200], estimator_class=DenoisingAutoencoder)
    residuals = np.abs(detector.reconstruct(rows) - rows) / normal.std(axis=0)
    assert share_found(detector, normal[200:]) > (residuals.argmax(axis=1) == columns).mean()


def falls_of(detector, rows, typical):
    """Return how far the logarithm of the score falls when a cell is restored in two ways."""
    before, falls = detector.score_samples(rows), np.zeros(rows.shape)
    for column in range(rows.shape[1]):
        blind = rows.copy()
        blind[:, column] = typical[column]
        for given in (rows, blind):
            copies = rows.copy()
            copies[:, column] = detector.reconstruct(given)[:, column]
            falls[:, column] += np.log(before / detector.score_samples(copies)).clip(0) / 2
    return falls


def test_a_surprise_is_how_far_the_score_falls_in_two_orders(detector, normal):
    (rows, _), typical = falsify(normal[200:]), normal[:200].mean(axis=0)
    first, number = falls_of(detector, rows, typical), np.arange(len(rows))
    oddest = first.argmax(axis=1)
    corrected = rows.copy()
    corrected[number, oddest] = detector.reconstruct(rows)[number, oddest]
    again = falls_of(detector, corrected, typical)
    again[number, oddest] = first[number, oddest]
    expected = (first + again) / 2
    surprises = detector.explain(rows)
    unit = expected.sum() / surprises.sum()
    np.testing.assert_allclose(surprises * unit, expected, rtol=1e-3, atol=1e-4)


class HalvingModel:
    """Stands for a model whose reconstruction of a row is half of it."""

    def __init__(self, n_features):
        self.columns = fit_columns(np.zeros((2, n_features)), None, None, "mse")

    def map_scaled(self, function, x, name=None):
        view = View(self, torch.from_numpy(x))
        view.x_hat = 0.5 * view.x
        return function(view).numpy()


def ask(weights, scored):
    """Return the surprise of a score whose logarithm is linear; scored rows are counted."""

    def score(view):
        scored.append(len(view.x))
        return torch.exp(view.x.double() @ torch.from_numpy(weights))

    score.name = "linear"
    typical = np.zeros(len(weights), dtype=np.float32)
    return Surprise(HalvingModel(len(weights)), score, typical, floor=1e-300)


def test_a_wide_row_takes_no_more_scorings_than_a_narrow_one():
    counts = []
    for n_features in (20, 200):
        x, scored = np.ones((3, n_features), dtype=np.float32), []
        surprises(ask(np.linspace(-1, 1, n_features), scored), x)
        counts.append(sum(scored))
    assert counts[0] == counts[1] < 3 * 50


def test_the_slope_tells_of_features_that_are_not_scored():
    weights = np.linspace(-1, 1, 40)
    x = np.random.RandomState(0).randn(5, 40).astype(np.float32)
    falls = surprises(ask(weights, []), x)
    # A value is halved; where the typical one, 0, stands in its place, it becomes 0.
    expected = ((0.5 * weights * x).clip(0) + (weights * x).clip(0)) / 2
    np.testing.assert_allclose(falls, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"validation_fraction": 0.0}], ids=["held out", "none"])
def test_one_is_usual_in_new_normal_rows_and_false_cells_are_far_above(settings, normal):
    detector = fit(normal[:200], **settings)
    assert 0.4 < detector.explain(normal[200:]).mean() < 2.5
    rows, columns = falsify(normal[200:], 6)
    assert np.median(detector.explain(rows)[np.arange(len(rows)), columns]) > 4


@pytest.mark.parametrize(
    "settings",
    [{}, {"n_members": 2}, {"score": "sap"}, {"score": "elbo", "estimator_class": VAEDetector}],
    ids=str,
)
def test_an_explanation_is_the_same_bits_in_any_company(settings, normal):
    detector = fit(normal[:200], **{**settings, "max_epochs": 5})
    X = normal[200:]
    whole = detector.explain(X)
    parts = [detector.explain(part) for part in np.array_split(X, 5)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(detector.explain(X[::-1])[::-1], whole)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(detector)).explain(X), whole)


def test_images_are_explained_the_same_in_any_company(digits):
    X = digits[0][:60]
    detector = fit(X, "auto", network="conv", hidden_layer_sizes=(4,), **IMAGES)
    parts = [detector.explain(part) for part in np.array_split(X, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), detector.explain(X))


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_images_are_explained_by_the_errors_around_a_pixel(loss, digits):
    X = digits[0][:60]
    detector = fit(X, "auto", loss=loss, scaling=None, **IMAGES)
    errors = np.pad(
        np.square(detector.reconstruct(X) - X).reshape(-1, 8, 8),
        ((0, 0), (1, 1), (1, 1)),
        constant_values=np.nan,
    )
    windows = np.lib.stride_tricks.sliding_window_view(errors, (3, 3), axis=(1, 2))
    expected = np.nanmean(windows, axis=(3, 4)).reshape(60, 64)
    heat = detector.explain(X)
    np.testing.assert_allclose(heat / heat.mean(), expected / expected.mean(), rtol=1e-3)
    assert 0.3 < heat.mean() < 3


def test_a_false_patch_is_hot(digits):
    X = digits[0][digits[1] == 0]
    detector = fit(X[:120], "auto", image_shape=(1, 8, 8), max_epochs=60)
    images = X[120:].reshape(-1, 8, 8).copy()
    images[:, 3:5, 3:5] = 1  # the middle of a nought is empty
    heat = detector.explain(images.reshape(-1, 64)).reshape(-1, 8, 8)
    assert heat[:, 3:5, 3:5].mean() > 4 * heat.mean()


def test_a_dataframe_gives_a_dataframe_with_its_names_and_index(normal):
    frame = pd.DataFrame(normal, columns=list("abcdef"), index=range(1000, 1240))
    detector = fit(frame[:200], max_epochs=5)
    parts = detector.explain(frame[200:])
    assert isinstance(parts, pd.DataFrame)
    pd.testing.assert_index_equal(parts.index, frame.index[200:])
    assert parts.columns.tolist() == list("abcdef")
    twin = fit(normal[:200], max_epochs=5)
    values = twin.explain(normal[200:])
    assert isinstance(values, np.ndarray)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(parts.to_numpy(), values)


def test_a_dataframe_with_numbers_for_names_keeps_them(normal):
    frame = pd.DataFrame(normal, columns=range(10, 16))
    contributions = fit(frame[:200], max_epochs=2).explain(frame[200:])
    assert contributions.columns.equals(frame.columns)
    assert contributions.index.equals(frame[200:].index)


@pytest.mark.parametrize("score", ["density", "robust", "sharp", "sap"])
@pytest.mark.parametrize("n_rows", [2, 3, 30])
def test_few_equal_and_constant_values_have_finite_surprises(score, n_rows):
    X = np.random.RandomState(0).randn(n_rows, 4) * [1, 0, 1, 0]
    for rows in (X, np.full((n_rows, 4), 3.0), X[:, :1]):
        detector = fit(rows, score, max_epochs=2)
        surprises = detector.explain(rows + np.eye(n_rows, rows.shape[1]))
        assert np.isfinite(surprises).all()
        assert (surprises >= 0).all()


def test_a_row_beyond_float32_is_an_error(normal):
    detector = fit(normal, scaling=None, max_epochs=2)
    rows = normal[200:].copy()
    rows[3, 2] = 1e300
    with pytest.raises(ValueError, match="score of row 3 is not finite"):
        detector.explain(rows)
