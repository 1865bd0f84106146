"""Every parameter changes the result, is refused out of its range, and is documented."""

from __future__ import annotations

import inspect
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.estimators.parameters import GROUPS, OTHER, PARAMETERS, TRAINING, WEIGHTS
from aedetect.losses import FEATURE_ERRORS
from aedetect.networks import ACTIVATIONS
from aedetect.training import OPTIMIZERS, SCHEDULES, devices, resolve_device

ESTIMATORS = [AutoencoderTransformer, DenoisingAutoencoder, VAEDetector]
BASE = {
    "latent_dim": 2,
    "hidden_layer_sizes": (8,),
    "max_epochs": 4,
    "anomaly_score": "reconstruction",
    "random_state": 0,
}
CHANGES = {
    "latent_dim": 3,
    "hidden_layer_sizes": (8, 4),
    "activation": "tanh",
    "latent_activation": "tanh",
    "batch_norm": True,
    "dropout": 0.3,
    "loss": "huber",
    "optimizer": "sgd",
    "learning_rate": 1e-2,
    "schedule": "cosine",
    "weight_decay": 0.1,
    "batch_size": 8,
    "max_epochs": 5,
    "validation_fraction": 0.3,
    "scaling": "common",
    "missing": "mask",
    "anomaly_score": "sap",
    "random_state": 1,
    "n_members": 3,
    "precision": "bf16",
    "noise": "masking",
    "noise_level": 0.1,
    "beta": 20.0,
    "network": "residual",
    "tied_weights": True,
    "l1_activity": 1.0,
    "contractive": 1.0,
}
CONV_CHANGES = {
    "downsample": "maxpool",
    "upsample": "transpose",
    "latent": "map",
    "image_shape": (2, 2, 3),
    "max_shift": 1,
    "hidden_layer_sizes": (3,),
    "batch_norm": True,
    "dropout": 0.3,
    "activation": "tanh",
    "latent_dim": 3,
    "contractive": 1.0,
    "noise": "masking",
    "beta": 20.0,
}
TESTED_ELSEWHERE = {
    "categorical_features": "test_named_columns_of_an_array_are_categories",
    "checkpoint": "test_a_fit_cut_short_ends_as_one_that_was_not",
    "warm_start": "test_a_warm_start_goes_on_where_the_last_fit_ended",
    "compile": "test_compiled_networks_learn_what_others_do",
    "patience": "test_early_stopping_ends_training_and_keeps_the_best_epoch",
    "contamination": "test_contamination_changes_score_and_threshold",
    "labels": "test_labels_change_the_scores_for_the_better",
    "device": "test_weights_rows_and_noise_go_to_the_asked_device_and_nowhere_else",
    "verbose": "test_verbose_shows_progress_on_stderr_and_silence_is_the_default",
}


def parameters_of(estimator_class):
    return list(estimator_class().get_params())


def cases(changes):
    """Return every estimator with every parameter that it has, and the value of that."""
    return [
        pytest.param(estimator, name, value, id=f"{estimator.__name__}-{name}")
        for name, value in changes
        for estimator in ESTIMATORS
        if name in parameters_of(estimator)
    ]


def test_no_parameter_is_left_out(estimator_class):
    assert set(parameters_of(estimator_class)) <= {*CHANGES, *CONV_CHANGES, *TESTED_ELSEWHERE}


@pytest.mark.parametrize(("estimator", "name", "value"), cases(CHANGES.items()))
def test_parameter_changes_the_scores(estimator, name, value, table):
    detector = estimator(**BASE)
    X = table * 1.0
    X[0, 0] = 30.0  # a residual beyond the bend of Huber's loss
    before = clone(detector).fit(X).score_samples(X)
    after = detector.set_params(**{name: value}).fit(X).score_samples(X)
    assert not np.allclose(before, after, rtol=1e-4)


@pytest.mark.parametrize(("estimator", "name", "value"), cases(CONV_CHANGES.items()))
def test_parameter_changes_the_scores_of_a_conv_network(estimator, name, value):
    X = np.random.RandomState(0).rand(40, 12)
    detector = estimator(
        "auto" if name == "latent" else 2,
        network="conv",
        image_shape=(1, 4, 3),
        hidden_layer_sizes=(4, 4),
        max_epochs=3,
        random_state=0,
    )
    before = clone(detector).fit(X).score_samples(X)
    after = detector.set_params(**{name: value}).fit(X).score_samples(X)
    assert not np.allclose(before, after, rtol=1e-4)


@pytest.mark.parametrize("weight", ["l1_activity", "contractive"])
@pytest.mark.parametrize("sizes", [(), (8,)], ids=["one layer", "deep"])
def test_penalties_shrink_what_they_punish(table, weight, sizes):
    detector = AutoencoderTransformer(
        4,
        hidden_layer_sizes=sizes,
        latent_activation="sigmoid",
        learning_rate=1e-2,
        schedule="constant",
        max_epochs=100,
        validation_fraction=0,
        random_state=0,
    )

    def punished(value):
        codes = detector.set_params(**{weight: value}).fit(table).transform(table)
        if weight == "l1_activity":
            return np.abs(codes).sum()
        steps = 1e-3 * np.diag(table.std(axis=0))
        return sum(((detector.transform(table + step) - codes) ** 2).sum() for step in steps)

    assert punished(10.0) < 0.7 * punished(0.0)


@pytest.mark.parametrize(
    ("name", "choices"),
    [("activation", ACTIVATIONS), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)],
)
def test_all_choices_differ_and_learn(table, name, choices):
    settings = {**BASE, "max_epochs": 40, "validation_fraction": 0, "learning_rate": 1e-2}
    settings["weight_decay"] = 0.01  # adamw differs from adam in this alone
    losses = {
        choice: AutoencoderTransformer(**{**settings, name: choice}).fit(table).history_["loss"]
        for choice in choices
    }
    assert len({values[-1] for values in losses.values()}) == len(choices)
    for choice, values in losses.items():
        assert values[-1] < values[0], choice


@pytest.mark.parametrize("loss", FEATURE_ERRORS)
def test_all_losses_learn(estimator_class, digits, loss):
    detector = estimator_class(loss=loss, max_epochs=40, random_state=0).fit(digits[0][:200])
    assert detector.history_["val_loss"].min() < 0.95 * detector.history_["val_loss"][0]


def test_contamination_changes_score_and_threshold(small, table):
    detectors = {
        share: clone(small).set_params(contamination=share).fit(table)
        for share in (0, 0.05, 0.25, "auto")
    }
    for share in (0, 0.05, 0.25):
        assert (detectors[share].predict(table) == -1).mean() == pytest.approx(share)
    assert len({detector.offset_ for detector in detectors.values()}) == 4
    assert len({detector.score_samples(table)[0] for detector in detectors.values()}) == 4


class Elsewhere(TorchDispatchMode):
    """Keeps on the CPU all that is sent to the device "meta", and notes its shape."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if kwargs.get("device") == torch.device("meta"):
            kwargs["device"] = torch.device("cpu")
            self.shapes += [tuple(x.shape) for x in args if isinstance(x, torch.Tensor)]
        return function(*args, **kwargs)


@pytest.mark.parametrize("device", ["meta", torch.device("meta")])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_weights_rows_and_noise_go_to_the_asked_device_and_nowhere_else(
    small, table, method, device, monkeypatch
):
    def train(detector):
        return getattr(detector, method)(table)

    generators = []

    def make_generator(device):
        generators.append(torch.device(device).type)
        return torch.Generator()

    monkeypatch.setattr(devices, "Generator", make_generator)
    with Elsewhere() as cpu:
        expected = train(clone(small).set_params(device="cpu")).score_samples(table)
    assert cpu.shapes == []
    assert set(generators) == {"cpu"}
    with Elsewhere() as asked:
        detector = train(small.set_params(device=device))
    weights = {tuple(p.shape) for p in detector.network_.parameters()}
    assert weights <= set(asked.shapes)
    rows = [shape[0] for shape in asked.shapes if shape not in weights and shape[1:] == (5,)]
    assert sum(rows) >= len(table)
    assert "meta" in generators
    np.testing.assert_array_equal(detector.score_samples(table), expected)


@pytest.mark.parametrize(
    ("found", "taken"), [("cuda", "cuda:0"), ("mps", "mps:0"), ("xpu", "cpu"), (None, "cpu")]
)
def test_auto_takes_the_accelerator_that_is_there(found, taken, monkeypatch):
    accelerator = None if found is None else torch.device(found)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: accelerator)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    assert resolve_device("auto") == torch.device(taken)


def test_auto_settings_follow_the_data():
    X = np.random.RandomState(0).randn(400, 6)
    detector = AutoencoderTransformer(random_state=0, patience=10_000).fit(X)
    assert detector.latent_dim_ == 3
    assert detector.n_iter_ == 89  # 360 rows in batches of 32: 12 steps an epoch, 1,000 in all
    wide = AutoencoderTransformer(max_epochs=1).fit(np.random.RandomState(0).randn(20, 100))
    assert wide.latent_dim_ == 16


def test_scaling_keeps_the_proportions_of_columns_that_share_a_unit(digits):
    X = digits[0][:200]
    auto, common, standard = (
        AutoencoderTransformer(max_epochs=2, random_state=0, scaling=scaling).fit(X)
        for scaling in ("auto", "common", "standard")
    )
    np.testing.assert_array_equal(auto.score_samples(X), common.score_samples(X))
    mixed = X * np.logspace(-3, 3, 64)
    auto, standard = (
        AutoencoderTransformer(max_epochs=2, random_state=0, scaling=scaling).fit(mixed)
        for scaling in ("auto", "standard")
    )
    np.testing.assert_array_equal(auto.score_samples(mixed), standard.score_samples(mixed))


def test_the_table_of_parameters_is_that_of_the_signatures(estimator_class):
    parameters = inspect.signature(estimator_class).parameters
    assert list(parameters) == [name for name in PARAMETERS if name in parameters]
    for name, parameter in parameters.items():
        assert parameter.default == PARAMETERS[name].default, name
        assert (parameter.kind is parameter.KEYWORD_ONLY) == (name != "latent_dim"), name
        assert isinstance(parameter.annotation, str), name
    assert estimator_class._parameter_constraints == {
        name: PARAMETERS[name].constraint for name in parameters
    }


def test_every_parameter_of_the_table_belongs_to_an_estimator():
    shared = set(parameters_of(AutoencoderTransformer))
    assert set(PARAMETERS) == shared.union(*map(parameters_of, ESTIMATORS))
    own = {cls: set(parameters_of(cls)) - shared for cls in ESTIMATORS[1:]}
    assert own == {DenoisingAutoencoder: {"noise", "noise_level"}, VAEDetector: {"beta"}}


def test_groups_of_parameters_follow_each_other_in_order(estimator_class):
    groups = [PARAMETERS[name].group for name in parameters_of_signature(estimator_class)]
    assert [group for group, _ in itertools.groupby(groups)] == list(GROUPS)
    assert {parameter.affects for parameter in PARAMETERS.values()} == {WEIGHTS, TRAINING, OTHER}


def parameters_of_signature(estimator_class):
    return list(inspect.signature(estimator_class).parameters)


def test_every_parameter_is_documented_once_in_order_with_its_default(estimator_class):
    section = estimator_class.__doc__.split("Attributes\n---")[0]
    lines = re.findall(r"^(\w+) : (.*)\n    \S", section, re.MULTILINE)
    assert [name for name, _ in lines] == parameters_of_signature(estimator_class)
    for name, first_line in lines:
        default = repr(PARAMETERS[name].default).replace("'", '"')
        assert first_line.endswith(f", default={default}"), name


def test_parameters_that_are_tested_elsewhere_are():
    files = Path(__file__).parent.glob("test_*.py")
    text = "".join(path.read_text() for path in files)
    for name, test in TESTED_ELSEWHERE.items():
        assert f"def {test}(" in text, name


# Errors at fit.

BAD_VALUES = {
    "categorical_features": ["all", 3],
    "latent_dim": [0, -1, 2.5, "big"],
    "network": ["transformer", nn.Linear(2, 2)],
    "image_shape": ["square"],
    "tied_weights": ["yes"],
    "max_shift": [-1, 0.5, "far"],
    "downsample": ["meanpool"],
    "upsample": ["bilinear"],
    "latent": ["scalar"],
    "l1_activity": [-1],
    "contractive": [-1],
    "hidden_layer_sizes": [8, (0,), (8, 2.5), "wide"],
    "activation": ["relux", None],
    "latent_activation": ["relux"],
    "batch_norm": ["yes"],
    "dropout": [-0.1, 1.0],
    "loss": ["mae"],
    "optimizer": ["adamax"],
    "learning_rate": [0, -1e-3],
    "schedule": ["plateau"],
    "weight_decay": [-1],
    "batch_size": [0, 1.5],
    "max_epochs": [0],
    "validation_fraction": [1.0, -0.1],
    "patience": [0],
    "scaling": ["minmax"],
    "missing": ["drop", None],
    "anomaly_score": ["error"],
    "contamination": [-0.1, 0.6, "some"],
    "labels": ["yes", None],
    "random_state": ["seed"],
    "device": ["gpu", 3],
    "n_members": [0, 1.5],
    "precision": ["half", 16],
    "compile": ["yes"],
    "checkpoint": [3],
    "warm_start": ["yes"],
    "verbose": ["loud"],
    "noise": ["pink"],
    "noise_level": [0, -1],
    "beta": [-1],
}


def test_every_parameter_has_a_bad_value_here(estimator_class):
    assert set(parameters_of(estimator_class)) <= set(BAD_VALUES)


@pytest.mark.parametrize(
    ("estimator", "name", "value"),
    cases((name, value) for name, values in BAD_VALUES.items() for value in values),
)
def test_a_parameter_out_of_range_is_refused_by_name_at_fit(estimator, name, value, table):
    detector = estimator(**{name: value})  # constructors only store
    with pytest.raises((ValueError, TypeError), match=name):
        detector.fit(table)
    assert not hasattr(detector, "network_")


def test_a_device_that_is_not_there_is_refused(table):
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(ValueError, match=f"device='{missing}' cannot be used on this machine"):
        AutoencoderTransformer(device=missing).fit(table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "conv"}, r"network='conv' needs image_shape=\(channels, height, width\)"),
        ({"image_shape": (1, 3, 2)}, r"image_shape=\(1, 3, 2\) has 6 values, but X has 5 features"),
        ({"image_shape": (1, 5)}, r"image_shape=\(1, 5\) must hold three.*such as \(1, 1, 5\) for"),
        ({"image_shape": (1, 5, 1.0)}, r"image_shape must hold integers of at least 1, but it is"),
        ({"hidden_layer_sizes": np.array([8, 0])}, "integers of at least 1, but it is array"),
        ({"hidden_layer_sizes": ()}, r"hidden_layer_sizes=\(\) leaves network='conv'"),
        ({"upsample": "unpool"}, "upsample='unpool' .*needs downsample='maxpool', but it is 'stri"),
        ({"latent": "map", "latent_dim": 2}, "latent_dim=2 contradicts latent='map'"),
        ({"tied_weights": True}, "tied_weights=True needs network='dense', but it is 'conv'"),
    ],
)
def test_combinations_that_make_no_sense_are_refused_by_name(table, options, message):
    settings = {"network": "conv", "image_shape": (1, 5, 1), **options}
    if options == {"network": "conv"}:
        del settings["image_shape"]
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(**settings).fit(table)


@pytest.mark.parametrize("shape", [(32, 32, 3), (8, 8, 1), (5, 9, 4), (64, 8, 3)])
def test_channels_last_are_refused_with_the_shape_and_the_rows_to_pass(shape):
    height, width, channels = shape
    images = np.random.RandomState(0).rand(4, *shape)
    X = images.reshape(4, -1)
    with pytest.raises(ValueError, match="looks like") as caught:
        AutoencoderTransformer(image_shape=shape).fit(X)
    text = str(caught.value)
    assert f"Pass {(channels, height, width)}." in text
    if channels > 1:
        remedy = f"X.reshape(-1, {height}, {width}, {channels}).transpose(0, 3, 1, 2)"
        assert f"{remedy}.reshape(len(X), -1)." in text
        X = X.reshape(-1, *shape).transpose(0, 3, 1, 2).reshape(len(X), -1)
    for number in range(channels):
        first = X.reshape(4, channels, height, width)[:, number]
        np.testing.assert_array_equal(first, images[..., number])


MAPS = [(1, 3, 3), (3, 8, 3), (64, 1, 3), (2, 5, 1), (32, 4, 4), (8, 8, 8)]


@pytest.mark.parametrize("shape", MAPS)
def test_feature_maps_that_cannot_be_mistaken_are_taken(shape):
    X = np.random.RandomState(0).rand(6, math.prod(shape))
    small = AutoencoderTransformer(2, hidden_layer_sizes=(4,), max_epochs=1, random_state=0)
    small.set_params(image_shape=np.array(shape), anomaly_score="reconstruction").fit(X)
    assert np.isfinite(small.score_samples(X)).all()


def test_layer_sizes_may_be_an_array(small, table):
    sizes = np.array([8, 4])
    listed = clone(small).set_params(hidden_layer_sizes=[8, 4]).fit(table)
    scores = clone(small).set_params(hidden_layer_sizes=sizes).fit(table).score_samples(table)
    np.testing.assert_array_equal(scores, listed.score_samples(table))


def test_an_image_shape_that_does_not_fit_is_refused_for_any_network(estimator_class, table):
    with pytest.raises(ValueError, match=r"image_shape=\(1, 3, 2\) has 6 values, but X has 5"):
        estimator_class(image_shape=(1, 3, 2)).fit(table)


@pytest.mark.parametrize("noise", ["masking", "salt_and_pepper"])
def test_a_share_of_replaced_values_above_one_is_refused(table, noise):
    with pytest.raises(ValueError, match=f"noise_level=1.5 is the share .* noise='{noise}'"):
        DenoisingAutoencoder(noise=noise, noise_level=1.5).fit(table)


def test_a_diverging_learning_rate_is_named(estimator_class, table):
    detector = estimator_class(learning_rate=1e8, optimizer="sgd", schedule="constant")
    with pytest.raises(ValueError, match=r"after epoch 1 .*try learning_rate=1e\+07"):
        detector.fit(table)
    assert not hasattr(detector, "network_")


def test_a_refit_that_fails_leaves_the_fitted_estimator_as_it_was(small, table):
    before = answers(small.fit(table), table)
    small.set_params(learning_rate=1e8, optimizer="sgd", schedule="constant")
    with pytest.raises(ValueError, match="diverged"):
        small.fit(table * 2)
    assert answers(small, table) == before


def answers(estimator, X):
    methods = (estimator.decision_function, estimator.transform, estimator.reconstruct)
    return [method(X).tobytes() for method in methods]


# Errors of the data.


def with_value(table, value):
    X = table.copy()
    X[3, 1] = value
    return X


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X: with_value(X, np.nan), "NaN"),
        (lambda X: with_value(X, np.inf), "infinity"),
        (
            lambda X: X.astype(str).astype(object) + "x",
            "column 0 holds '.*x' in row 0. (fit was|For a)",
        ),
        (lambda X: X[:0], "0 sample"),
        (lambda X: X[:, :0], "0 feature"),
        (lambda X: X[0], "Expected 2D array, got 1D"),
        (lambda X: X.reshape(60, 5, 1), r"X.reshape\(60, -1\)"),
        (lambda X: X[:, :4], "X has 4 features, but .* is expecting 5"),
        (lambda X: X[:, :1], "X has 1 features, but .* is expecting 5"),
    ],
    ids=["nan", "inf", "strings", "no rows", "no columns", "1-D", "3-D", "narrow", "one column"],
)
def test_bad_rows_are_refused(small, table, make, message):
    bad = make(table)
    fitted = clone(small).fit(table)
    for method in ("score_samples", "transform", "reconstruct", "explain", "repair", "predict"):
        with pytest.raises(ValueError, match=message):
            getattr(fitted, method)(bad)
    if "expecting" not in message:
        with pytest.raises(ValueError, match=message):
            small.fit(bad)


def test_one_row_cannot_train(small, table):
    with pytest.raises(ValueError, match=r"1 sample.* while a minimum of 2 is required"):
        small.fit(table[:1])


@pytest.mark.parametrize("columns", ["abcdx", "bacde"], ids=["renamed", "reordered"])
def test_columns_are_checked_by_name(small, table, columns):
    small.fit(pd.DataFrame(table, columns=list("abcde")))
    with pytest.raises(ValueError, match="feature names"):
        small.score_samples(pd.DataFrame(table, columns=list(columns)))


@pytest.mark.parametrize(
    "call",
    [
        "transform",
        "inverse_transform",
        "reconstruct",
        "score_samples",
        "decision_function",
        "predict",
        "explain",
        "repair",
        "score",
    ],
)
def test_use_before_fit_is_refused(small, table, call):
    with pytest.raises(ValueError, match="not fitted yet"):
        getattr(small, call)(table)


@pytest.mark.parametrize("call", [VAEDetector.sample, VAEDetector.summary])
def test_calls_without_rows_before_fit_are_refused(call):
    with pytest.raises(ValueError, match="not fitted yet"):
        call(VAEDetector())


def test_bce_needs_the_unit_interval(small, digits):
    X = digits[0][:50]
    small.set_params(loss="bce")
    with pytest.raises(ValueError, match=r"loss='bce' needs values in \[0, 1\], but X runs from 0"):
        small.fit(X * 16)
    small.fit(X)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        small.score_samples(X - 0.5)


def test_codes_of_the_wrong_width_are_refused(small, table):
    small.fit(table)
    with pytest.raises(ValueError, match=r"Z has 3 columns, but the codes of this .* have 2"):
        small.inverse_transform(np.zeros((4, 3)))


def test_a_score_beyond_float32_is_an_error_and_not_a_silent_nan(small, table):
    small.set_params(scaling=None).fit(table)
    with pytest.raises(ValueError, match="score of row 3 is not finite"):
        small.score_samples(with_value(table, 1e300))
