"""Networks that are trained side by side get the bits that they get alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_runs import Unwatched

import aedetect.training.together
from aedetect.corruption import Corruption, Hiding
from aedetect.networks import (
    ACTIVATIONS,
    VariationalAutoencoder,
    dense_autoencoder,
    initialize,
)
from aedetect.training import (
    OPTIMIZERS,
    Job,
    Objective,
    make_generator,
    one_thread,
    train,
    train_together,
)
from aedetect.training.dense import DenseStep
from aedetect.training.loop import _set_dropout
from aedetect.training.products import as_alone, empty, multiply

CPU = torch.device("cpu")
PLAIN = {"activation": "relu", "latent_activation": "identity", "batch_norm": False}


def make_network(seed, *, n_members=1, dropout=0.0, variational=False, sizes=(17, 9), **choices):
    network = dense_autoencoder(
        7,
        3,
        hidden_layer_sizes=sizes,
        n_members=n_members,
        dropout=dropout,
        codes_per_dim=1 + variational,
        **{**PLAIN, **choices},
    )
    if variational:
        network = VariationalAutoencoder(network.encoder, network.decoder)
    generator = make_generator(seed, CPU)
    initialize(network, generator)
    _set_dropout(network, generator)
    return network.train(), generator


def noise(level, kind="gaussian"):
    bounds = np.stack([np.zeros(7), np.ones(7)]).astype(np.float32)
    return Corruption(kind, level, bounds, clamp=False, keeps_missing=False)


def gradients_of(networks, objectives, generators, batches):
    """Return the losses and gradients of each network after some batches, in which weights move."""
    step = DenseStep(networks, objectives, generators)
    step.begin_epoch([x.shape[1] for x in batches])
    n_members = networks[0].n_members
    results = [[] for _ in networks]
    for x in batches:
        losses = step.backpropagate(x).split(n_members)
        for result, loss, vector in zip(results, losses, step.parameters, strict=True):
            result += [loss.clone(), vector.grad.clone()]
            vector.data.sub_(vector.grad)
    for result, network in zip(results, networks, strict=True):
        result += [buffer.clone() for buffer in network.buffers()]
    return results


def assert_alone(makers, objectives, n_rows=(32, 33, 5)):
    """Compare networks trained together with equal networks alone."""
    n_members = makers[0]()[0].n_members
    batches = [
        torch.rand(len(makers) * n_members, n, 7, generator=make_generator(n, CPU)) for n in n_rows
    ]
    with one_thread():
        networks, generators = zip(*[make() for make in makers], strict=True)
        together = gradients_of(networks, objectives, generators, batches)
        for index, (make, objective) in enumerate(zip(makers, objectives, strict=True)):
            own = slice(index * n_members, (index + 1) * n_members)
            network, generator = make()
            rows = [x[own].clone() for x in batches]
            (alone,) = gradients_of([network], [objective], [generator], rows)
            for one, other in zip(together[index], alone, strict=True):
                assert torch.equal(one, other)


def makers(**choices):
    return [lambda seed=seed: make_network(seed, **choices) for seed in range(4)]


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gradients_are_those_of_lone_networks(activation, batch_norm, n_members):
    choices = {"activation": activation, "batch_norm": batch_norm, "n_members": n_members}
    assert_alone(makers(**choices), [Objective("mse")] * 4)


@pytest.mark.parametrize("sizes", [(), (1,), (256, 64), (2, 3)])
@pytest.mark.parametrize("loss", ["mse", "bce", "huber"])
def test_gradients_of_any_width_and_loss_are_those_of_lone_networks(loss, sizes):
    objectives = [Objective(loss, l1_activity=weight) for weight in (0.1, 0.2, 0.3, 0.1)]
    assert_alone(makers(sizes=sizes), objectives, (64, 2, 31))


@pytest.mark.parametrize("n_members", [1, 3])
def test_every_network_has_its_own_noise_dropout_and_prior(n_members):
    levels = (0.1, 0.2, 0.3, 0.4)
    own = [
        lambda p=p: make_network(
            5, dropout=p, variational=True, latent_activation="tanh", n_members=n_members
        )
        for p in levels
    ]
    objectives = [Objective("mse", corrupt=noise(p), beta=p) for p in levels]
    assert_alone(own, objectives)
    masks = [Objective("mse", corrupt=noise(p, "masking")) for p in levels]
    assert_alone(makers(n_members=n_members), masks)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_gradients_with_missing_cells_are_those_of_lone_networks(loss):
    objectives = [Objective(loss, missing=True, corrupt=Hiding(noise(0.2), 0.2))] * 4
    assert_alone(makers(mask_input=True), objectives)


def test_products_that_round_otherwise_are_taken_one_by_one():
    calls = []

    def product(a, b, *, out):
        calls.append(a.ndim)
        multiply(a, b, out=out)
        return out.mul_(1 + 1e-6) if a.ndim == 3 else out

    a, b, like = torch.rand(3, 4, 5), torch.rand(3, 5, 6), torch.empty(())
    with one_thread():
        chosen = as_alone(product, a, b, out=empty(3, 4, 6, like=like))
        calls.clear()
        result = chosen(a, b, out=empty(3, 4, 6, like=like))
    assert calls == [2, 2, 2]
    assert torch.equal(result, torch.stack([x @ y for x, y in zip(a, b, strict=True)]))


# Whole trainings.


def make_job(seed=0, *, n_rows=70, n_members=1, dropout=0.0, sizes=(17, 9), **settings):
    network, _ = make_network(seed, n_members=n_members, dropout=dropout, sizes=sizes)
    x = torch.randn(100, 7, generator=make_generator(seed + 50, CPU))
    values = {
        "objective": Objective("mse"),
        "x": x[:n_rows],
        "x_val": x[90:],
        "generator": make_generator(seed, CPU),
        "optimizer": "adam",
        "learning_rate": 3e-3,
        "weight_decay": 0.0,
        "schedule": "onecycle",
        "batch_size": 16,
        "max_epochs": 6,
        "patience": 50,
    }
    return Job(network, **{**values, **settings})


def train_alone(job):
    return train(**vars(job), precision="float32", compile=False, watcher=Unwatched())


def measures_of(run):
    """Return all measures of a history but for the time."""
    return [epoch._replace(seconds=0.0) for epoch in run.epochs]


def assert_trained_as_alone(make_jobs):
    """Compare jobs that are trained together with equal jobs alone; return the runs."""
    together, alone = make_jobs(), make_jobs()
    runs = train_together(together)
    for job, run, lone_job in zip(together, runs, alone, strict=True):
        lone = train_alone(lone_job)
        assert measures_of(run) == measures_of(lone)
        expected = lone_job.network.state_dict()
        for name, tensor in job.network.state_dict().items():
            assert torch.equal(tensor, expected[name])
            assert tensor.is_contiguous()
        assert not job.network.training
    return runs


def grid_of_jobs(**settings):
    """Return jobs that differ in all that jobs of one group may differ in."""
    return [
        make_job(
            seed,
            learning_rate=rate,
            weight_decay=decay,
            objective=Objective("mse", corrupt=noise(rate * 30), l1_activity=decay + 0.1),
            max_epochs=n_epochs,
            patience=patience,
            schedule=schedule,
            dropout=0.1 + decay,
            **settings,
        )
        for seed, (rate, decay, n_epochs, patience, schedule) in enumerate(
            [
                (1e-3, 0.0, 12, 50, "onecycle"),
                (1e-3, 0.1, 12, 50, "onecycle"),
                (3e-2, 0.1, 12, 50, "cosine"),
                (0.3, 0.0, 12, 1, "constant"),
                (0.2, 0.0, 12, 2, "constant"),
                (1e-2, 0.2, 3, 50, "onecycle"),
            ]
        )
    ]


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_trainings_are_those_of_lone_networks(optimizer, n_members):
    runs = assert_trained_as_alone(lambda: grid_of_jobs(optimizer=optimizer, n_members=n_members))
    assert len(runs[5].epochs) == 3


def test_a_network_stops_when_it_would_alone_and_keeps_its_best_weights():
    runs = assert_trained_as_alone(grid_of_jobs)
    lengths = [len(run.epochs) for run in runs]
    assert lengths[:3] == [12, 12, 12]
    assert 2 <= lengths[3] < 12
    assert all(run.best[0].epoch < 11 for run in runs[3:])


def test_networks_of_unequal_numbers_of_rows_are_trained_as_alone():
    sizes = [70, 70, 71, 71, 65, 65]
    assert_trained_as_alone(lambda: [make_job(seed, n_rows=n) for seed, n in enumerate(sizes)])


def test_networks_of_unlike_kinds_are_trained_as_alone():
    def make_jobs():
        kinds = [{"sizes": (8,)}, {"objective": Objective("huber")}, {"batch_size": 10}, {}]
        return [make_job(seed, **kinds[seed % 4]) for seed in range(8)]

    assert_trained_as_alone(make_jobs)


def test_more_networks_than_fit_are_divided(monkeypatch):
    monkeypatch.setattr(aedetect.training.together, "AT_ONCE", 3)
    runs = assert_trained_as_alone(lambda: [make_job(seed) for seed in range(7)])
    assert len(runs) == 7


def test_a_network_that_diverges_is_left_to_lone_training():
    jobs = [make_job(seed, learning_rate=rate) for seed, rate in enumerate([1e-3, 1e20, 1e-3])]
    first, diverged, last = train_together(jobs)
    assert diverged is None
    with pytest.raises(ValueError, match="training diverged"):
        train_alone(make_job(1, learning_rate=1e20))
    for seed, run in ((0, first), (2, last)):
        assert measures_of(run) == measures_of(train_alone(make_job(seed, learning_rate=1e-3)))


def test_a_network_without_a_like_is_trained_as_alone():
    assert_trained_as_alone(lambda: [make_job(), make_job(1, batch_size=9)])


def test_networks_of_other_kinds_are_left_to_lone_training():
    penalised = [make_job(seed, objective=Objective("mse", contractive=0.1)) for seed in (0, 1)]
    assert train_together(penalised) == [None] * 2


def test_networks_that_several_threads_train_are_left_to_lone_training(monkeypatch):
    monkeypatch.setattr(DenseStep, "shared_work", 1)
    assert train_together([make_job(0), make_job(1)]) == [None] * 2
