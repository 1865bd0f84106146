"""The contract that scikit-learn's own checks do not cover."""

from __future__ import annotations

import copy
import pickle
import random

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from torch import nn

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector, datasets
from aedetect.networks import Autoencoder


@pytest.fixture
def fitted(small, table):
    return small.fit(table)


# Relations between the methods.


def test_decision_is_the_score_less_the_offset_and_its_sign_the_label(fitted, table):
    scores = fitted.score_samples(table)
    decisions = fitted.decision_function(table)
    np.testing.assert_array_equal(decisions, scores - fitted.offset_)
    np.testing.assert_array_equal(fitted.predict(table), np.where(decisions < 0, -1, 1))
    assert scores.dtype == np.float64
    assert fitted.score(table) == scores.mean()


def test_rows_unlike_the_training_data_score_lower(estimator_class, digits):
    X_train, X_test, y_test = datasets.make_anomaly_split(*digits, normal=0, random_state=0)
    detector = estimator_class(random_state=0).fit(X_train)
    assert roc_auc_score(y_test, detector.score_samples(X_test)) > 0.99
    labels = detector.predict(X_test)
    assert (labels[y_test == -1] == -1).mean() > 0.95
    assert (labels[y_test == 1] == -1).mean() < 0.25


def test_reconstruction_is_the_decoded_code_in_the_units_of_the_data(estimator_class, table):
    detector = estimator_class(4, random_state=1).fit(table)
    codes = detector.transform(table)
    restored = detector.reconstruct(table)
    assert codes.shape == (60, 4)
    np.testing.assert_allclose(detector.inverse_transform(codes), restored, rtol=1e-5)
    unexplained = ((table - restored) ** 2).mean(axis=0) / table.var(axis=0)
    assert (unexplained < 0.9).all()


@pytest.mark.parametrize("loss", ["mse", "huber", "bce"])
def test_explanations_are_the_feature_errors_and_add_up_to_the_score(small, digits, loss):
    X = digits[0][:100]
    detector = small.set_params(loss=loss, scaling=None, anomaly_score="reconstruction").fit(X)
    contributions = detector.explain(X)
    restored = detector.reconstruct(X).astype(float)
    if loss == "bce":
        expected = -X * np.log(restored) - (1 - X) * np.log1p(-restored)
    else:
        residuals = np.abs(X - restored)
        expected = residuals**2
        if loss == "huber":
            expected = np.where(residuals > 1, 2 * residuals - 1, expected)
    np.testing.assert_allclose(contributions, expected, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(contributions.sum(axis=1), -detector.score_samples(X), rtol=1e-6)


def test_explanation_finds_the_corrupted_column(table):
    detector = AutoencoderTransformer(2, random_state=0).fit(table)
    for column in range(table.shape[1]):
        row = table[:1].copy()
        row[0, column] += 10 * table[:, column].std()
        assert detector.explain(row).argmax() == column


def test_bce_restores_values_inside_the_unit_interval(digits):
    X = digits[0][:200]
    restored = AutoencoderTransformer(loss="bce", random_state=0).fit(X).reconstruct(X)
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_dtype_of_the_rows_is_kept_and_scores_are_float64(fitted, table):
    for dtype in (np.float32, np.float64):
        X = table.astype(dtype)
        assert fitted.transform(X).dtype == dtype
        assert fitted.reconstruct(X).dtype == dtype
        assert fitted.inverse_transform(fitted.transform(X)).dtype == dtype
        assert fitted.score_samples(X).dtype == fitted.explain(X).dtype == np.float64


# Training.


def test_training_beats_an_untrained_network(estimator_class, digits):
    X, y = digits
    train, test = X[y == 1][:120], X[y == 1][120:]
    settings = {"anomaly_score": "reconstruction", "random_state": 0}
    untrained = estimator_class(learning_rate=1e-12, max_epochs=1, **settings).fit(train)
    trained = estimator_class(**settings).fit(train)
    assert trained.score(test) > 0.7 * untrained.score(test)


def test_history_has_one_entry_an_epoch(fitted):
    assert list(fitted.history_) == ["loss", "val_loss", "learning_rate", "seconds"]
    assert {len(values) for values in fitted.history_.values()} == {fitted.n_iter_} == {3}
    assert all(np.isfinite(values).all() for values in fitted.history_.values())


def test_held_out_loss_of_a_plain_autoencoder_is_the_error_of_the_kept_weights(table):
    detector = AutoencoderTransformer(
        2, max_epochs=30, anomaly_score="reconstruction", random_state=0
    ).fit(table)
    held_out = np.random.RandomState(0)
    held_out.randint(np.iinfo(np.int32).max)  # the seed of the first weights comes first
    rows = held_out.permutation(60)[:6]
    best = detector.history_["val_loss"].min()
    assert -detector.score(table[rows]) == pytest.approx(best, rel=1e-5)


def test_early_stopping_ends_training_and_keeps_the_best_epoch(digits):
    X = digits[0][:300]
    detector = AutoencoderTransformer(
        max_epochs=200, patience=2, learning_rate=0.02, schedule="constant", random_state=0
    ).fit(X)
    val_loss = detector.history_["val_loss"]
    assert detector.n_iter_ < 200
    assert len(val_loss) - 1 - val_loss.argmin() == 2
    again = clone(detector).set_params(max_epochs=int(val_loss.argmin()) + 1).fit(X)
    np.testing.assert_array_equal(detector.score_samples(X), again.score_samples(X))


def test_without_held_out_rows_training_runs_to_the_end(small, table):
    detector = small.set_params(validation_fraction=0, max_epochs=30, patience=1).fit(table)
    assert detector.n_iter_ == 30
    assert np.isnan(detector.history_["val_loss"]).all()


def test_verbose_shows_progress_on_stderr_and_silence_is_the_default(small, table, capsys):
    small.fit(table)
    assert capsys.readouterr() == ("", "")
    small.set_params(verbose=True).fit(table)
    output = capsys.readouterr()
    assert output.out == ""
    assert "3/3" in output.err
    assert "val_loss" in output.err


def test_the_bar_says_why_training_ended_early(small, table, capsys):
    small.set_params(verbose=True, max_epochs=500, learning_rate=0.05, patience=1).fit(table)
    assert small.n_iter_ < 500
    assert "early stopping" in capsys.readouterr().err
    small.set_params(max_epochs=3).fit(table)
    assert "early stopping" not in capsys.readouterr().err


# Seeds and state.


def test_refit_clone_and_copy_give_the_same_scores(fitted, table):
    scores = fitted.score_samples(table)
    np.testing.assert_array_equal(clone(fitted).fit(table).score_samples(table), scores)
    np.testing.assert_array_equal(fitted.fit(table).score_samples(table), scores)


def test_random_state_takes_effect_after_construction(small, table):
    first = clone(small).fit(table).score_samples(table)
    other = clone(small).set_params(random_state=1).fit(table).score_samples(table)
    assert not np.array_equal(first, other)
    unseeded = clone(small).set_params(random_state=None)
    assert not np.array_equal(
        unseeded.fit(table).score_samples(table), unseeded.fit(table).score_samples(table)
    )


def test_a_random_state_instance_is_consumed(small, table):
    small.set_params(random_state=np.random.RandomState(0))
    first, second = (small.fit(table).score_samples(table) for _ in range(2))
    small.set_params(random_state=np.random.RandomState(0))
    np.testing.assert_array_equal(small.fit(table).score_samples(table), first)
    assert not np.array_equal(first, second)


def custom_network(n_codes=2):
    return Autoencoder(
        nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, n_codes)), nn.Linear(2, 5)
    )


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("custom", [False, True], ids=["dense", "custom"])
def test_global_generators_are_not_touched(small, table, custom, random_state):
    network = custom_network(4 if isinstance(small, VAEDetector) else 2) if custom else "dense"
    small.set_params(dropout=0.3, network=network, random_state=random_state)
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    python_state = random.getstate()
    small.fit(table).score_samples(table)
    np.testing.assert_equal(np.random.get_state(), numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_norm": True},
        {"tied_weights": True},
        {"network": "residual"},
        {"network": "conv", "image_shape": (1, 5, 1), "batch_norm": True},
        {
            "network": "conv",
            "image_shape": (1, 5, 1),
            "downsample": "maxpool",
            "upsample": "unpool",
        },
    ],
    ids=str,
)
def test_copies_and_files_give_bit_equal_scores(small, table, tmp_path, settings):
    if isinstance(small, VAEDetector):
        settings = {k: v for k, v in settings.items() if k != "tied_weights"}
    detector = small.set_params(**settings).fit(table)
    joblib.dump(detector, tmp_path / "detector.joblib")
    twins = [
        pickle.loads(pickle.dumps(detector)),
        joblib.load(tmp_path / "detector.joblib"),
        copy.deepcopy(detector),
        clone(detector).fit(table),
    ]
    for twin in twins:
        np.testing.assert_array_equal(twin.score_samples(table), detector.score_samples(table))
        np.testing.assert_array_equal(twin.predict(table), detector.predict(table))
        assert not twin.network_.training


def test_parameters_set_after_the_fit_do_not_break_a_copy(fitted, table):
    scores = fitted.score_samples(table)
    fitted.set_params(hidden_layer_sizes=(3, 3), latent_dim=1, network="residual")
    np.testing.assert_array_equal(copy.deepcopy(fitted).score_samples(table), scores)


def test_state_holds_arrays_and_plain_python_only(fitted):
    def leaves(value):
        if isinstance(value, dict):
            return [leaf for entry in value.values() for leaf in leaves(entry)]
        if isinstance(value, tuple | list):
            return [leaf for entry in value for leaf in leaves(entry)]
        return [value]

    plain = (np.ndarray, np.generic, int, float, str, bool, type(None))
    assert all(isinstance(leaf, plain) for leaf in leaves(fitted.__getstate__()))


def test_a_copy_shares_no_weights_with_its_original(fitted, table):
    scores = fitted.score_samples(table)
    twin = copy.deepcopy(fitted)
    with torch.no_grad():
        next(twin.network_.parameters()).zero_()
    np.testing.assert_array_equal(fitted.score_samples(table), scores)


# Awkward tables.


@pytest.mark.parametrize("n_rows", [2, 3, 32, 33, 34, 65])
def test_any_number_of_rows_trains_with_batch_norm(small, n_rows):
    X = np.random.RandomState(0).randn(n_rows, 4)
    small.set_params(batch_norm=True, batch_size=32, validation_fraction=0)
    assert np.isfinite(small.fit(X).score_samples(X)).all()


@pytest.mark.parametrize("validation_fraction", [0.5, 0.99])
def test_two_rows_are_left_to_train_on(small, validation_fraction):
    X = np.random.RandomState(0).randn(3, 4)
    small.set_params(validation_fraction=validation_fraction, batch_norm=True).fit(X)
    assert np.isfinite(small.score_samples(X)).all()


@pytest.mark.parametrize("shape", [(40, 1), (5, 30)], ids=["one column", "wide"])
def test_narrow_and_wide_tables_train(estimator_class, shape):
    X = np.random.RandomState(0).randn(*shape)
    detector = estimator_class(max_epochs=3, random_state=0).fit(X)
    assert detector.transform(X).shape == (shape[0], detector.latent_dim_)
    assert detector.reconstruct(X).shape == shape
    assert np.isfinite(detector.score_samples(X)).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_drift_in_a_constant_column_stays_small(estimator_class, table, value):
    X = np.c_[table, np.full(len(table), value)]
    detector = estimator_class(max_epochs=20, random_state=0).fit(X[:40])
    drifted = X[40:].copy()
    drifted[:, -1] += 1e-4
    difference = detector.score_samples(drifted) - detector.score_samples(X[40:])
    assert np.abs(difference).max() < 0.1


def test_scores_do_not_depend_on_the_units_of_the_columns(estimator_class, table):
    detector = estimator_class(max_epochs=5, random_state=0, scaling="standard")
    scores = detector.fit(table).score_samples(table)
    rescaled = detector.fit(table * 2.0**20).score_samples(table * 2.0**20)
    np.testing.assert_allclose(rescaled, scores, rtol=1e-4)


def test_rows_that_are_all_equal_are_normal(small):
    X = np.full((20, 3), 7.0)
    assert (small.fit(X).predict(X) == 1).all()


# scikit-learn's ways.


def test_dataframes_in_and_out(small, table):
    frame = pd.DataFrame(table, columns=list("abcde"), index=np.arange(100, 160))
    codes = small.set_output(transform="pandas").fit(frame).transform(frame)
    name = type(small).__name__.lower()
    assert codes.columns.tolist() == [f"{name}0", f"{name}1"]
    assert codes.index.equals(frame.index)
    assert small.feature_names_in_.tolist() == list("abcde")
    assert small.get_feature_names_out().tolist() == codes.columns.tolist()


def test_integer_rows_are_taken(small):
    X = np.random.RandomState(0).randint(0, 255, (30, 6)).astype(np.uint8)
    np.testing.assert_array_equal(
        small.fit(X).score_samples(X), small.score_samples(X.astype(float))
    )


class Recorder:
    """A callback that records epochs and stops after the second."""

    def __init__(self):
        self.events = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        self.scores = fitted_estimator.score_samples(X)
        self.n_iter = fitted_estimator.n_iter_
        return context.task_name == "epoch" and context.task_id == 1

    def teardown(self, estimator, context):
        self.events.append("teardown")


def test_scikit_learn_callbacks_see_every_epoch_and_can_stop(small, table):
    recorder = Recorder()
    small.set_params(validation_fraction=0).set_callbacks(recorder).fit(table)
    epoch = ["begin epoch", "end epoch"]
    assert recorder.events == ["setup", "begin fit", *epoch, *epoch, "end fit", "teardown"]
    assert small.n_iter_ == recorder.n_iter == 2
    np.testing.assert_array_equal(recorder.scores, small.score_samples(table))


# The user's own network.


def test_a_network_of_ones_own_is_copied_and_trained(table):
    network = custom_network()
    before = copy.deepcopy(network.state_dict())
    detector = AutoencoderTransformer(network=network, max_epochs=3, random_state=0).fit(table)
    assert detector.latent_dim_ == 2
    assert detector.transform(table).shape == (60, 2)
    for name, weights in network.state_dict().items():
        assert torch.equal(weights, before[name])
        assert not torch.equal(weights, detector.network_.state_dict()[name])
    scores = detector.score_samples(table)
    np.testing.assert_array_equal(clone(detector).fit(table).score_samples(table), scores)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(detector)).score_samples(table), scores)


@pytest.mark.parametrize("network", ["conv", "residual"])
def test_other_networks_learn_and_find_odd_rows(estimator_class, digits, network):
    X_train, X_test, y_test = datasets.make_anomaly_split(*digits, normal=0, random_state=0)
    sizes = (8, 16) if network == "conv" else (64, 64)
    detector = estimator_class(
        network=network,
        hidden_layer_sizes=sizes,
        image_shape=(1, 8, 8),
        learning_rate=5e-3,
        max_epochs=60,
        random_state=0,
    ).fit(X_train)
    assert roc_auc_score(y_test, detector.score_samples(X_test)) > 0.98


def test_a_feature_map_is_the_code(digits):
    X = digits[0][:100]
    detector = AutoencoderTransformer(
        network="conv", image_shape=(1, 8, 8), latent="map", hidden_layer_sizes=(4, 3), max_epochs=2
    ).fit(X)
    codes = detector.transform(X)
    assert codes.shape == (100, 2 * 2 * 3)
    np.testing.assert_allclose(
        detector.inverse_transform(codes), detector.reconstruct(X), rtol=1e-4, atol=1e-5
    )


def test_a_network_of_ones_own_needs_matching_shapes(table):
    network = Autoencoder(nn.Linear(5, 2), nn.Linear(2, 4))
    with pytest.raises(ValueError, match=r"5 features to a code of one dimension and back.*\(4,\)"):
        AutoencoderTransformer(network=network).fit(table)


def test_an_encoder_without_as_many_log_variances_as_means_is_refused(table):
    network = Autoencoder(nn.Linear(5, 3), nn.Linear(2, 5))
    with pytest.raises(ValueError, match="as many log-variances, but its output has 3 columns"):
        VAEDetector(network=network).fit(table)


# The denoising one.


@pytest.mark.parametrize("noise", ["gaussian", "masking", "salt_and_pepper"])
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_corrupted_rows_are_those_of_training_in_the_units_of_the_data(digits, noise, loss):
    X = digits[0][:200]
    detector = DenoisingAutoencoder(
        noise=noise, noise_level=0.4, loss=loss, max_epochs=1, random_state=0
    ).fit(X)
    noisy = detector.corrupt(X, random_state=3)
    assert noisy.dtype == X.dtype
    np.testing.assert_array_equal(noisy, copy.deepcopy(detector).corrupt(X, random_state=3))
    assert not np.array_equal(noisy, detector.corrupt(X, random_state=4))
    varying = X.std(axis=0) > 0
    changed = ~np.isclose(noisy, X, atol=1e-6)[:, varying]
    if noise == "gaussian" and loss == "mse":
        scale = detector.detector_.model.columns.scaling.scale[0]
        assert (noisy - X).std() == pytest.approx(0.4 * scale, rel=0.05)
    else:
        assert 0.05 < changed.mean() < 0.95
    if loss == "bce":
        assert 0 <= noisy.min() <= noisy.max() <= 1


# The variational one.


def test_samples_look_like_the_training_data(digits):
    X = digits[0]
    detector = VAEDetector(4, loss="bce", max_epochs=30, random_state=0).fit(X)
    samples = detector.sample(500, random_state=0)
    assert samples.shape == (500, 64)
    assert 0 <= samples.min() <= samples.max() <= 1
    assert np.corrcoef(samples.mean(axis=0), X.mean(axis=0))[0, 1] > 0.95
    assert samples.std(axis=0).mean() > 0.3 * X.std(axis=0).mean()  # not one mean image


def test_samples_are_decoded_draws_of_the_prior(table):
    detector = VAEDetector(2, max_epochs=3, random_state=0).fit(table)
    samples = detector.sample(4, random_state=3)
    np.testing.assert_array_equal(samples, detector.sample(4, random_state=3))
    assert not np.array_equal(samples, detector.sample(4, random_state=4))
    codes = np.random.RandomState(3).standard_normal((4, 2))
    np.testing.assert_array_equal(samples, detector.inverse_transform(codes))
    with pytest.raises(ValueError, match="n_samples == 0, must be >= 1"):
        detector.sample(0)


def test_kl_term_pulls_codes_to_the_prior(digits):
    X = digits[0][:500]
    spread = [
        VAEDetector(4, beta=beta, max_epochs=40, random_state=0).fit(X).transform(X).std()
        for beta in (0.0, 1.0, 100.0)
    ]
    assert spread[0] > spread[1] > spread[2]
    assert spread[2] < 0.1  # the posterior has collapsed onto the prior


def test_scores_of_the_vae_are_the_error_at_the_posterior_mean(digits):
    X = digits[0][:100].astype(float)
    detector = VAEDetector(
        2, max_epochs=3, scaling=None, anomaly_score="reconstruction", random_state=0
    ).fit(X)
    restored = detector.inverse_transform(detector.transform(X))
    expected = -((X - restored) ** 2).sum(axis=1)
    np.testing.assert_allclose(detector.score_samples(X), expected, rtol=1e-5)


def test_summary_counts_the_parameters(table):
    detector = AutoencoderTransformer(2, hidden_layer_sizes=(4,), max_epochs=1).fit(table)
    n_parameters = (5 * 4 + 4) + (4 * 2 + 2) + (2 * 4 + 4) + (4 * 5 + 5)
    assert detector.summary()["parameters"].sum() == n_parameters
