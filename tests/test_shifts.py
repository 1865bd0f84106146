"""Training images that are shifted anew in every epoch."""

from __future__ import annotations

import dataclasses
import pickle
from itertools import pairwise

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from stand_in import META, OneDevice
from training_runs import Unwatched, run_training

from aedetect import AutoencoderTransformer
from aedetect.estimators.defaults import resolve_max_shift
from aedetect.model.scaling import fit_scaling
from aedetect.model_selection import GridSearch
from aedetect.networks import dense_autoencoder, initialize
from aedetect.training import Job, Objective, Shifts, make_generator, train, train_together

CPU = torch.device("cpu")
SHAPE = (2, 3, 4)
N_FEATURES = 24


def make_shifts(max_shift=1, shape=SHAPE, scaling=None):
    n_features = int(np.prod(shape))
    arrays = np.zeros(n_features), np.ones(n_features), *np.full((2, n_features), 1e9)
    arrays = arrays if scaling is None else scaling
    location, scale, low, high = (np.float32(array) for array in arrays)
    low = -high if scaling is None else low
    return Shifts(max_shift, shape, location, scale, low, high)


def moves_of(down, right, max_shift=1):
    """Return the moves of one image."""
    return torch.tensor([down, right]).view(2, 1, 1) + max_shift


def shifted(images, down, right):
    """Return images ``(n, channels, height, width)`` moved with NumPy, edges repeated."""
    n = 3
    padded = np.pad(images, ((0, 0), (0, 0), (n, n), (n, n)), mode="edge")
    height, width = images.shape[2:]
    return padded[:, :, n - down : n - down + height, n - right : n - right + width]


@pytest.mark.parametrize("max_shift", [1, 2])
def test_images_move_by_whole_pixels_and_edges_are_repeated(max_shift):
    images = np.random.RandomState(0).rand(1, *SHAPE).astype(np.float32)
    x, shifts = torch.from_numpy(images).view(1, 1, -1), make_shifts(max_shift)
    for down in range(-max_shift, max_shift + 1):
        for right in range(-max_shift, max_shift + 1):
            moved = shifts(x, moves_of(down, right, max_shift))
            expected = shifted(images, down, right).reshape(1, 1, -1)
            np.testing.assert_array_equal(moved.numpy(), expected)


def test_all_moves_are_drawn_alike_and_each_row_has_its_own():
    moves = make_shifts(2).draw(3, 5000, make_generator(0, CPU))
    assert moves.shape == (2, 3, 5000)
    for numbers in moves.flatten(0, 1):
        assert numbers.bincount().tolist() == pytest.approx([1000] * 5, rel=0.15)
    assert all((a != b).any() for a, b in pairwise(moves.flatten(0, 1)))


@pytest.mark.parametrize("scaling", ["standard", "common", None])
def test_pixels_move_in_their_own_units(scaling):
    rng = np.random.RandomState(0)
    X = 50 + rng.rand(80, N_FEATURES) * (1 + np.arange(N_FEATURES) % 5)
    fitted = fit_scaling(X, scaling, "mse")
    images = X[:1].reshape(1, *SHAPE)
    with np.errstate(over="ignore"):
        shifts = make_shifts(scaling=np.clip(fitted, -1e30, 1e30))
    x = torch.from_numpy(fitted.apply(X[:1]))[None]
    moved = shifts(x, moves_of(1, -1))
    expected = fitted.apply(shifted(images, 1, -1).reshape(1, -1))
    np.testing.assert_allclose(moved.numpy()[0], expected, atol=1e-4)


def test_a_pixel_that_would_be_wild_where_it_comes_to_is_tamed():
    n_features = 4
    numbers = np.zeros(n_features), np.array([1, 1, 1e-3, 1]), *np.full((2, n_features), 30.0)
    shifts = make_shifts(shape=(1, 1, 4), scaling=(*numbers[:2], -numbers[2], numbers[3]))
    moved = shifts(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), moves_of(0, 1))
    assert moved[0, 0].tolist() == [1.0, 1.0, 0.0, pytest.approx(0.003)]


def test_missing_pixels_move_too():
    x = torch.tensor([[[1.0, torch.nan, 3.0, 4.0]]])
    moved = make_shifts(shape=(1, 1, 4))(x, moves_of(0, 1))
    np.testing.assert_array_equal(moved.numpy(), [[[1, 1, np.nan, 3]]])


def test_shifts_compute_on_the_device_of_the_rows():
    shifts, x = make_shifts(), torch.zeros(2, 5, N_FEATURES, device=META)
    moves = torch.zeros(2, 2, 5, dtype=torch.long, device=META)
    shifts(x, moves)  # makes constants
    with OneDevice(copies=False):
        moved = shifts(x, moves)
    assert moved.device == META
    assert moved.shape == x.shape


def test_equal_shifts_have_equal_digests_after_use():
    fresh, used = make_shifts(), make_shifts()
    used(torch.zeros(1, 1, N_FEATURES), moves_of(0, 0))
    assert joblib.hash(fresh) == joblib.hash(used) != joblib.hash(make_shifts(2))
    assert joblib.hash(pickle.loads(pickle.dumps(used))) == joblib.hash(fresh)


# Training.


def make_network(seed):
    network = dense_autoencoder(
        N_FEATURES,
        2,
        hidden_layer_sizes=(9,),
        n_members=1 + seed % 2,
        activation="relu",
        latent_activation="identity",
        batch_norm=False,
        dropout=0.0,
    )
    initialize(network, make_generator(seed, CPU))
    return network


class Batches:
    """An objective's noise that adds nothing, and keeps the rows of training it was given."""

    def __init__(self):
        self.seen = []

    def __call__(self, x, generator):
        self.seen.append(x.clone())
        return x


def test_each_row_of_each_epoch_but_the_last_has_a_draw_of_its_own():
    batches = Batches()
    x = torch.arange(float(N_FEATURES)).expand(40, -1)
    run_training(make_network(0), Objective("mse", batches), x, shifts=make_shifts(), batch_size=40)
    *first, last = batches.seen
    assert len(first) == 4
    for rows in first:
        assert len(rows[0].unique(dim=0)) == 9
    assert all((a != b).any() for a, b in pairwise(first))
    assert torch.equal(last[0], x)  # in the last fifth of the epochs images stay


def test_held_out_rows_stay():
    batches = Batches()
    x = torch.arange(float(N_FEATURES)).expand(40, -1)
    network, objective = make_network(0), Objective("mse", batches)
    run_training(network, objective, x, x[:30], shifts=make_shifts(), batch_size=40)
    held_out = batches.seen[1::2]
    assert len(held_out) == 5
    for rows in held_out:
        assert len(rows.flatten(0, -2).unique(dim=0)) == 1


def make_job(seed, shifts):
    x = torch.randn(60, N_FEATURES, generator=make_generator(seed + 50, CPU))
    return Job(
        make_network(0),
        Objective("mse"),
        x[:50],
        x[50:],
        make_generator(seed, CPU),
        optimizer="adam",
        learning_rate=3e-3,
        weight_decay=0.0,
        schedule="onecycle",
        batch_size=16,
        max_epochs=5,
        patience=50,
        shifts=shifts,
    )


def weights_together_and_alone(make_jobs):
    """Return the weights of each network trained beside the others, and of an equal one alone."""
    together, alone = make_jobs(), make_jobs()
    assert None not in train_together(together)
    for job in alone:
        train(**vars(job), precision="float32", compile=False, watcher=Unwatched())
    return [
        (own.network.state_dict(), lone.network.state_dict())
        for own, lone in zip(together, alone, strict=True)
    ]


@pytest.mark.parametrize("n_members", [1, 2])
def test_networks_that_are_trained_side_by_side_are_shifted_as_alone(n_members):
    scalings = [np.random.RandomState(seed).rand(4, N_FEATURES) + 1 for seed in range(2)]
    choices = [None, make_shifts(), *(make_shifts(2, scaling=s * [[1], [1], [-9], [9]])
               for s in scalings)]  # fmt: skip

    def make_jobs():
        jobs = [make_job(seed, shifts) for seed, shifts in enumerate(choices)]
        for job in jobs:
            object.__setattr__(job, "network", make_network(n_members - 1))
        return jobs

    for own, alone in weights_together_and_alone(make_jobs):
        for name, tensor in own.items():
            assert torch.equal(tensor, alone[name])


class Upwards(Shifts):
    """Moves every image up and to the left."""

    def draw(self, n_members, n_rows, generator):
        super().draw(n_members, n_rows, generator)
        return torch.zeros(2, n_members, n_rows, dtype=torch.long)


def test_members_of_one_stack_on_a_device_are_shifted_each_as_its_job_says(monkeypatch):
    monkeypatch.setattr(train_together.__module__ + ".is_exact", lambda job: False)
    choices = [None, Upwards(**vars(make_shifts())), Upwards(**vars(make_shifts(2)))]

    def make_jobs():  # one batch an epoch: the order of rows has no effect but rounding
        jobs = [make_job(0, shifts) for shifts in choices]
        return [dataclasses.replace(job, batch_size=50) for job in jobs]

    pairs = weights_together_and_alone(make_jobs)
    for own, alone in pairs:
        for name, tensor in own.items():
            torch.testing.assert_close(tensor, alone[name], rtol=1e-3, atol=1e-5)
    weights = [alone["encoder.0.weight"] for _, alone in pairs]
    assert all((a - b).abs().max() > 1e-3 for a, b in pairwise(weights))


# Estimators.


@pytest.fixture
def images(digits):
    X, y = digits
    return X[y == 3]


def test_normal_images_that_are_shifted_score_better_after_training_with_shifts(images):
    settings = {"image_shape": (1, 8, 8), "random_state": 0, "anomaly_score": "reconstruction"}
    X, new = images[:120], images[120:].reshape(-1, 1, 8, 8)
    moved = [(1, 0), (-1, 0), (0, 1), (0, -1)]
    new = np.concatenate([shifted(new, *move).reshape(-1, 64) for move in moved])
    plain, trained = (
        AutoencoderTransformer(**settings, max_shift=n).fit(X).score_samples(new) for n in (0, 1)
    )
    assert trained.mean() > 0.7 * plain.mean()  # scores are below 0
    assert (trained > plain).mean() > 0.9


def test_shifts_are_those_of_the_random_state(images, estimator_class):
    detector = estimator_class(
        image_shape=(1, 8, 8), max_shift=1, max_epochs=3, hidden_layer_sizes=(8,), random_state=0
    )
    first, again = (clone(detector).fit(images).score_samples(images) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = clone(detector).set_params(random_state=1).fit(images)
    assert (other.score_samples(images) != first).any()
    still = clone(detector).set_params(max_shift=0).fit(images)
    assert (still.score_samples(images) != first).any()


def test_auto_shifts_large_images_whose_pixels_have_one_scale():
    one, several = np.full(4, 0.2), np.linspace(0.1, 1, 4)
    assert resolve_max_shift("auto", (1, 28, 28), one) == 1
    assert resolve_max_shift("auto", (3, 224, 320), one) == 1
    assert resolve_max_shift("auto", (1, 28, 28), several) == 0
    assert resolve_max_shift("auto", (1, 27, 28), one) == 0
    assert resolve_max_shift("auto", None, one) == 0
    assert resolve_max_shift(3, (1, 8, 8), several) == 3
    assert resolve_max_shift(0, (1, 28, 28), one) == 0


def test_auto_is_a_shift_by_one_pixel_or_none():
    X = np.random.RandomState(0).rand(40, 784)
    X[:, :28] = 0  # a dark edge
    settings = {"max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}
    auto, one, none = (
        AutoencoderTransformer(image_shape=(1, 28, 28), max_shift=n, **settings)
        .fit(X)
        .score_samples(X)
        for n in ("auto", 1, 0)
    )
    np.testing.assert_array_equal(auto, one)
    assert (auto != none).any()
    auto, none = (
        AutoencoderTransformer(image_shape=(1, 14, 56), max_shift=n, **settings)
        .fit(X)
        .score_samples(X)
        for n in ("auto", 0)
    )
    np.testing.assert_array_equal(auto, none)


@pytest.mark.filterwarnings("ignore:scoring=None")
def test_a_search_side_by_side_gives_the_bits_of_lone_fits(images):
    detector = AutoencoderTransformer(
        2, image_shape=(1, 8, 8), max_epochs=4, hidden_layer_sizes=(8,), random_state=0
    )
    grid = {"max_shift": [0, 1, 2], "learning_rate": [1e-3, 1e-2]}
    ours = GridSearch(detector, grid, cv=2).fit(images).cv_results_["mean_test_score"]
    theirs = GridSearchCV(detector, grid, cv=2).fit(images).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(ours, theirs)
    assert len(set(ours)) == 6


def test_training_goes_on_with_shifts(images):
    settings = {"image_shape": (1, 8, 8), "max_epochs": 3, "hidden_layer_sizes": (8,)}
    detectors = [
        AutoencoderTransformer(**settings, max_shift=n, random_state=0).fit(images) for n in (0, 0)
    ]
    detectors[1].set_params(max_shift=1)
    first, second = (d.partial_fit(images).score_samples(images) for d in detectors)
    assert (first != second).any()


def test_a_table_cannot_be_shifted(estimator_class, table):
    with pytest.raises(ValueError, match=r"max_shift=1 .* without image_shape.*Pass image_shape="):
        estimator_class(max_shift=1).fit(table)
    estimator_class(max_shift=0, max_epochs=1).fit(table)


@pytest.mark.parametrize(
    ("shape", "limit"), [((1, 8, 8), 8), ((4, 4, 4), 4), ((1, 1, 64), 64), ((64, 1, 1), 1)]
)
def test_images_cannot_be_shifted_out_of_sight(images, shape, limit):
    detector = AutoencoderTransformer(image_shape=shape, max_shift=limit, max_epochs=1)
    with pytest.raises(ValueError, match=f"max_shift={limit} .* It must be less than {limit}"):
        detector.fit(images)
    detector.set_params(max_shift=limit - 1).fit(images)
