"""Missing values: refused by default, learned around with ``missing="mask"``."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from torch import nn

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.corruption import hide
from aedetect.losses import FEATURE_ERRORS, observed_loss, reconstruction_loss
from aedetect.networks import Autoencoder, MaskInput
from aedetect.scoring import EVIDENCE_SCORES, SCORES
from aedetect.training import make_generator

MASK = {"missing": "mask", "random_state": 0}
TINY = {**MASK, "latent_dim": 2, "hidden_layer_sizes": (8,), "max_epochs": 3}
QUICK = {**MASK, "hidden_layer_sizes": (16,), "max_epochs": 40, "learning_rate": 3e-3}
CONV = {"network": "conv", "image_shape": (1, 2, 4), "hidden_layer_sizes": (4, 4)}


def correlated(n_rows, seed):
    """Return rows of eight features that two factors make."""
    factors = np.random.RandomState(0).randn(2, 8)
    rng = np.random.RandomState(seed)
    return (rng.randn(n_rows, 2) @ factors + 0.2 * rng.randn(n_rows, 8)) * np.logspace(-1, 2, 8)


def remove(X, share, seed=0):
    """Return rows with cells missing at random, but for the first cell of each."""
    missing = np.random.RandomState(seed).rand(*X.shape) < share
    missing[:, 0] = False
    return np.where(missing, np.nan, X)


@pytest.fixture(scope="module")
def whole():
    return correlated(300, seed=1)


@pytest.fixture(scope="module")
def holed(whole):
    return remove(whole, 0.25)


@pytest.fixture
def fitted(estimator_class, holed):
    return estimator_class(**TINY).fit(holed)


# What is refused.


def test_nan_is_refused_by_place_and_with_the_remedy(small, holed):
    first = np.argwhere(np.isnan(holed))[0]
    message = rf"NaN: row {first[0]} has no value in column {first[1]}.*missing='mask'.*SimpleImp"
    with pytest.raises(ValueError, match=message):
        small.fit(holed)
    complete = np.nan_to_num(holed)
    small.fit(complete)
    with pytest.raises(ValueError, match=message):
        small.score_samples(holed)


def test_the_remedies_that_the_error_names_work(small, holed):
    assert make_pipeline(SimpleImputer(), clone(small)).fit(holed).predict(holed).shape == (300,)
    assert small.set_params(missing="mask").fit(holed).predict(holed).shape == (300,)


def test_infinity_is_refused_where_nan_is_not(fitted, holed):
    X = holed.copy()
    X[0, 0] = np.inf
    for call in (fitted.score_samples, clone(fitted).fit):
        with pytest.raises(ValueError, match="infinity"):
            call(X)


def test_rows_and_columns_without_a_value_are_refused_by_number(fitted, holed):
    empty_row, empty_column = holed.copy(), holed.copy()
    empty_row[7] = np.nan
    empty_column[:, 5] = np.nan
    for call in (fitted.score_samples, clone(fitted).fit):
        with pytest.raises(ValueError, match="Row 7 of X holds NaN alone"):
            call(empty_row)
    with pytest.raises(ValueError, match="Column 5 of X holds NaN alone"):
        clone(fitted).fit(empty_column)
    assert np.isfinite(fitted.score_samples(empty_column)).all()


def test_the_tag_tells_whether_nan_is_allowed(estimator_class):
    assert not get_tags(estimator_class()).input_tags.allow_nan
    assert get_tags(estimator_class(missing="mask")).input_tags.allow_nan


def test_setting_the_parameter_does_not_change_a_fitted_estimator(fitted, holed):
    scores = fitted.score_samples(holed)
    np.testing.assert_array_equal(fitted.set_params(missing="error").score_samples(holed), scores)


# What is learned.


@pytest.mark.parametrize("loss", FEATURE_ERRORS)
def test_missing_cells_cost_nothing_and_the_others_in_proportion(loss):
    x, x_hat = torch.rand(6, 4), torch.rand(6, 4, requires_grad=True)
    torch.testing.assert_close(observed_loss(x_hat, x, loss), reconstruction_loss(x_hat, x, loss))
    holed = x.clone()
    holed[:, 2:] = torch.nan
    half = reconstruction_loss(x_hat[:, :2], x[:, :2], loss)
    losses = observed_loss(x_hat, holed, loss)
    torch.testing.assert_close(losses, 2 * half)
    losses.sum().backward()
    assert (x_hat.grad[:, 2:] == 0).all()
    assert (x_hat.grad[:, :2] != 0).all()


def test_hiding_takes_the_share_of_what_is_observed():
    x = torch.randn(500, 20)
    x[:, :10] = torch.nan
    hidden = hide(x, 0.3, make_generator(0, x.device)).isnan()
    assert hidden[:, :10].all()
    assert hidden[:, 10:].float().mean().item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"network": "residual"},
        {"n_members": 2},
        {"tied_weights": True},
        {**CONV, "hidden_layer_sizes": (16, 32)},
        {"loss": "huber"},
    ],
    ids=str,
)
def test_imputed_cells_are_nearer_than_the_mean_of_their_column(
    estimator_class, whole, holed, settings
):
    if estimator_class is VAEDetector:
        settings = {key: value for key, value in settings.items() if key != "tied_weights"}
    missing = np.isnan(holed)
    detector = estimator_class(4, **{**QUICK, **settings}).fit(holed)
    scale = whole.std(axis=0)
    errors, of_means = (
        np.sqrt(np.square((filled - whole) / scale)[missing].mean())
        for filled in (detector.reconstruct(holed), np.nanmean(holed, axis=0))
    )
    assert errors < 0.92 * of_means


def test_cells_missing_at_scoring_alone_are_imputed_too(whole):
    detector = AutoencoderTransformer(4, **QUICK).fit(whole)
    new = correlated(200, seed=2)
    holed = remove(new, 0.25)
    missing = np.isnan(holed)
    errors, of_means = (
        np.square((filled - new) / new.std(axis=0))[missing].mean()
        for filled in (detector.reconstruct(holed), new.mean(axis=0))
    )
    assert errors < 0.5 * of_means


def test_missing_cells_move_no_statistic_of_the_scaling(estimator_class, holed):
    detector = estimator_class(**TINY, scaling="standard").fit(holed)
    scaling = detector.detector_.model.columns.scaling
    np.testing.assert_allclose(scaling.location, np.nanmean(holed, axis=0))
    np.testing.assert_allclose(scaling.scale, np.nanstd(holed, axis=0))


@pytest.mark.parametrize("noise", ["gaussian", "masking", "salt_and_pepper"])
def test_noise_leaves_missing_cells_missing(holed, noise):
    detector = DenoisingAutoencoder(**TINY, noise=noise, noise_level=0.5).fit(holed)
    assert np.isfinite(detector.history_["val_loss"]).all()
    noisy = detector.corrupt(holed, random_state=0)
    np.testing.assert_array_equal(np.isnan(noisy), np.isnan(holed))
    assert not np.allclose(noisy, holed, equal_nan=True)


def test_a_column_observed_in_held_out_rows_alone_has_salt_and_pepper_of_zero():
    X = np.random.RandomState(0).randn(20, 3)
    order = np.random.RandomState(0)
    order.randint(np.iinfo(np.int32).max)  # the seed of the first weights comes first
    X[order.permutation(20)[2:], 1] = np.nan
    detector = DenoisingAutoencoder(**TINY, noise="salt_and_pepper").fit(X)
    assert np.isfinite(detector.history_["val_loss"]).all()
    np.testing.assert_array_equal(detector._corruption.bounds[:, 1], 0)


def test_a_network_of_ones_own_takes_the_mask(estimator_class, whole, holed):
    def network(*first):
        n_codes = 4 if estimator_class is VAEDetector else 2
        return Autoencoder(nn.Sequential(*first, nn.Linear(8 * (1 + len(first)), n_codes)), tail)

    tail = nn.Linear(2, 8)
    detector = estimator_class(network=network(MaskInput()), max_epochs=3, **MASK).fit(holed)
    assert np.isfinite(detector.score_samples(holed)).all()
    with pytest.raises(ValueError, match=r"Begin its encoder with aedetect.networks.MaskInput\(\)"):
        estimator_class(network=network(), **MASK).fit(holed)


# Scores.

ALL_SCORES = [
    (VAEDetector if score in EVIDENCE_SCORES else AutoencoderTransformer, score) for score in SCORES
]


@pytest.fixture(scope="module", params=ALL_SCORES, ids=lambda param: param[1])
def scorer(request, holed):
    estimator, score = request.param
    return estimator(4, anomaly_score=score, **QUICK).fit(holed)


def test_as_many_rows_are_flagged_whatever_is_missing(scorer):
    new = correlated(1000, seed=3)
    limit = np.quantile(scorer.score_samples(new), 0.1)
    for share in (0.2, 0.5):
        flagged = (scorer.score_samples(remove(new, share)) < limit).mean()
        assert 0.04 < flagged < 0.2


def test_odd_cells_are_found_beside_missing_ones(scorer):
    normal, odd = (remove(correlated(200, seed=seed), 0.25, seed) for seed in (4, 5))
    odd[:, 1:] = np.random.default_rng(0).permuted(odd[:, 1:], axis=0)  # breaks correlations
    odd *= 3
    scores = scorer.score_samples(np.concatenate([normal, odd]))
    assert roc_auc_score(np.repeat([1, 0], 200), scores) > 0.85


def test_explanations_leave_missing_cells_out_and_sums_add_up(scorer, holed):
    contributions = scorer.explain(holed)
    assert (contributions >= 0).all()
    assert contributions.any(axis=1).mean() > 0.5
    assert (contributions[np.isnan(holed)] == 0).all()
    if scorer.anomaly_score in ("reconstruction", "standardized"):
        np.testing.assert_allclose(contributions.sum(axis=1), -scorer.score_samples(holed))


def test_repaired_rows_keep_their_holes(holed):
    detector = DenoisingAutoencoder(missing="mask", max_epochs=30, random_state=0).fit(holed)
    odd = holed[:10] + np.where(np.arange(8) == 3, 20 * np.nanstd(holed, axis=0), 0)
    odd = odd[~np.isnan(odd[:, 3])]
    repaired = detector.repair(odd)
    np.testing.assert_array_equal(np.isnan(repaired), np.isnan(odd))
    assert (detector.predict(odd) == -1).all()
    assert (detector.predict(repaired) == 1).all()
    assert (repaired[:, 3] != odd[:, 3]).all()


def test_complete_rows_are_scored_by_the_score_itself(scorer, whole):
    detector = scorer.detector_
    assert detector.levels is not None
    without = dataclasses.replace(detector, levels=None)
    np.testing.assert_array_equal(scorer.score_samples(whole), without.score_samples(whole))


def test_scores_are_the_same_bits_in_any_company_and_copy(scorer, holed):
    scores = scorer.score_samples(holed)
    parts = [scorer.score_samples(part) for part in np.array_split(holed, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), scores)
    twin = pickle.loads(pickle.dumps(scorer))
    np.testing.assert_array_equal(twin.score_samples(holed), scores)


def test_a_training_row_with_missing_cells_finds_itself_among_the_neighbours(holed):
    detector = AutoencoderTransformer(**TINY, anomaly_score="neighbors").fit(holed)
    model, bank = detector.detector_.model, detector.detector_.score.bank
    filled = model.fill(model.scale(holed))  # at distance 0, so each is left out of the bank
    assert sorted(map(tuple, filled)) == sorted(map(tuple, bank.points))


@pytest.mark.parametrize("n_rows", [2, 3, 25])
@pytest.mark.parametrize(("estimator", "score"), ALL_SCORES)
def test_few_rows_and_equal_rows_have_finite_scores(n_rows, estimator, score):
    X = remove(correlated(n_rows, seed=0), 0.3)
    X[0] = 1.0  # no column is empty
    equal = np.where(np.isnan(X), np.nan, 5.0)
    for rows in (X, equal):
        detector = estimator(**TINY, anomaly_score=score).fit(rows)
        assert np.isfinite(detector.score_samples(rows)).all()
        assert np.isfinite(detector.explain(rows)).all()


# Every method and container.


@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("settings", [{}, CONV, {"image_shape": (1, 2, 4)}], ids=str)
def test_every_method_takes_rows_with_missing_cells(estimator_class, whole, loss, settings):
    low, high = whole.min(axis=0), whole.max(axis=0)
    X = remove(np.clip((whole - low) / (high - low), 0, 1), 0.3).astype(np.float32)
    before = X.copy()
    detector = estimator_class(**{**TINY, **settings}, loss=loss).fit(X)
    codes = detector.transform(X)
    assert codes.shape == (300, 2)
    assert np.isfinite(codes).all()
    restored = detector.reconstruct(X)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, detector.inverse_transform(codes), rtol=1e-4, atol=1e-5)
    assert set(detector.predict(X)) <= {-1, 1}
    np.testing.assert_array_equal(X, before)


def test_a_contractive_penalty_and_one_layer_take_the_mask(holed):
    settings = {**TINY, "hidden_layer_sizes": (), "latent_activation": "tanh"}
    plain, contracted = (
        AutoencoderTransformer(**settings, contractive=weight).fit(holed) for weight in (0, 1.0)
    )
    assert not np.allclose(plain.transform(holed), contracted.transform(holed))


def test_masks_and_na_of_other_containers_are_missing_cells(fitted, holed):
    scores = fitted.score_samples(holed)
    names = list("abcdefgh")
    frame = pd.DataFrame(holed, columns=names)
    nullable = pd.DataFrame({name: frame[name].astype("Float64") for name in names})
    assert nullable.isna().sum().sum() == np.isnan(holed).sum()
    masked = np.ma.masked_array(np.nan_to_num(holed, nan=5.0), mask=np.isnan(holed))
    tensor = torch.from_numpy(holed)
    for X in (masked, tensor, holed.astype(object)):
        np.testing.assert_array_equal(fitted.score_samples(X), scores)
    refitted = clone(fitted).fit(nullable)
    np.testing.assert_array_equal(refitted.score_samples(frame), scores)
    np.testing.assert_array_equal(refitted.score_samples(nullable), scores)
