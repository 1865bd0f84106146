"""Networks that are trained as the members of one, as on a GPU; the CPU stands in for it."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from stand_in import META, OneDevice
from test_searches import trained_alone  # noqa: F401
from test_together import (
    CPU,
    grid_of_jobs,
    make_job,
    make_network,
    measures_of,
    noise,
    train_alone,
)
from test_updates import OBJECTIVES, Replayed, assert_stays_on_device
from test_updates import make_network as make_wide
from torch.utils._python_dispatch import TorchDispatchMode

from aedetect import AutoencoderTransformer, ConformalDetector, DenoisingAutoencoder
from aedetect.corruption import Corruption, Hiding
from aedetect.estimators.memo import Memo
from aedetect.model_selection import GridSearch, ahead, synthetic_auroc
from aedetect.networks import Dropout
from aedetect.training import Objective, make_generator, stacks, together, train_together, updates
from aedetect.training.dense import DenseStep
from aedetect.training.joining import join_networks, join_objectives
from aedetect.training.loop import prepare
from aedetect.training.optimizers import CAPTURABLE, OPTIMIZERS, make_optimizer
from aedetect.training.rates import StackedRates
from aedetect.training.steps import AutogradStep
from aedetect.training.updates import CapturedUpdate

WHOLE = {"batch_size": 100}  # one batch an epoch: the order of rows has no effect but rounding


@pytest.fixture(autouse=True)
def joined(monkeypatch):
    """Let the CPU stand for a device; return the stacks that are made."""
    made = []

    class Noted(stacks.Joined):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(together, "is_exact", lambda job: False)
    monkeypatch.setattr(together, "Joined", Noted)
    return made


def assert_close(job, run, lone_job, lone):
    """Compare a network of a stack with an equal one that was trained alone."""
    losses, expected = (torch.tensor([e[:3] for e in r.epochs]) for r in (run, lone))
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert [record.epoch for record in run.best] == [record.epoch for record in lone.best]
    weights = lone_job.network.state_dict()
    for name, tensor in job.network.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-3, atol=1e-5)
        assert tensor.is_contiguous()
    assert not job.network.training


def assert_trained_as_alone(make_jobs):
    jobs, lone_jobs = make_jobs(), make_jobs()
    runs = train_together(jobs)
    for job, run, lone_job in zip(jobs, runs, lone_jobs, strict=True):
        assert_close(job, run, lone_job, train_alone(lone_job))
    return runs


def jobs_without_noise(**settings):
    jobs = grid_of_jobs(**settings)
    return [
        dataclasses.replace(
            make_job(seed, **settings),
            objective=Objective("mse", l1_activity=job.objective.l1_activity),
            learning_rate=job.learning_rate / 10,
            weight_decay=job.weight_decay,
            max_epochs=job.max_epochs + 3,
            patience=job.patience,
            schedule=job.schedule,
        )
        for seed, job in enumerate(jobs)
    ]


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_each_network_has_its_own_rate_decay_penalty_and_end(optimizer, n_members, joined):
    make = lambda: jobs_without_noise(optimizer=optimizer, n_members=n_members, **WHOLE)  # noqa: E731
    runs = assert_trained_as_alone(make)
    assert len(runs[5].epochs) == 6
    assert len({len(run.epochs) for run in runs}) > 1
    assert len(joined[0].members) == 6


def test_each_network_has_its_own_patience_and_best_weights(joined):
    def make_jobs():
        return [
            make_job(seed, learning_rate=rate, patience=patience, max_epochs=40, **WHOLE)
            for seed, (rate, patience) in enumerate([(1e-3, 9), (0.3, 1), (0.3, 3), (0.2, 2)])
        ]

    runs = assert_trained_as_alone(make_jobs)
    lengths = [len(run.epochs) for run in runs]
    assert lengths[0] == 40
    assert max(lengths[1:]) < 40
    assert [len(stack.members) for stack in joined] == [4, 2]  # once half of them are done


def test_networks_without_held_out_rows_end_with_their_last_weights():
    def make_jobs():
        jobs = [make_job(seed, max_epochs=n, **WHOLE) for seed, n in enumerate([3, 9, 9])]
        return [dataclasses.replace(job, x_val=job.x_val[:0]) for job in jobs]

    assert_trained_as_alone(make_jobs)


def test_networks_of_batch_normalisation_keep_their_statistics():
    def make_jobs():
        jobs = []
        for seed in range(3):
            network, generator = make_network(seed, batch_norm=True)
            # Adam's bias before a normalisation follows rounding errors.
            job = make_job(seed, optimizer="sgd", generator=generator, **WHOLE)
            jobs.append(dataclasses.replace(job, network=network))
        return jobs

    assert_trained_as_alone(make_jobs)


def test_networks_of_unequal_tables_and_kinds_are_trained(joined):
    sizes = [70, 70, 71, 71]
    assert_trained_as_alone(lambda: [make_job(s, n_rows=n, **WHOLE) for s, n in enumerate(sizes)])
    assert [len(stack.members) for stack in joined] == [2, 2]


def test_equal_calls_give_equal_weights():
    def train_all(seeds):
        jobs = [
            make_job(seed, objective=Objective("mse", corrupt=noise(0.3)), dropout=0.2)
            for seed in seeds
        ]
        runs = train_together(jobs)
        return [measures_of(run) for run in runs], jobs

    first, jobs = train_all([0, 1, 2])
    second, others = train_all([0, 1, 2])
    assert first == second
    for job, other in zip(jobs, others, strict=True):
        for one, two in zip(job.network.parameters(), other.network.parameters(), strict=True):
            assert torch.equal(one, two)
    assert first != train_all([0, 1, 3])[0]


def test_a_network_that_diverges_is_left_to_lone_training():
    jobs = [make_job(seed, learning_rate=rate) for seed, rate in enumerate([1e-3, 1e20, 1e-3])]
    first, diverged, last = train_together(jobs)
    assert diverged is None
    assert len(first.epochs) == len(last.epochs) == 6


def test_what_cannot_be_joined_is_left_to_lone_training(monkeypatch):
    assert train_together([make_job(0)]) == [None]
    unknown = Objective("mse", corrupt=lambda x, g: x)
    assert train_together([make_job(s, objective=unknown) for s in (0, 1)]) == [None] * 2
    kinds = [Objective("mse", corrupt=noise(0.1, kind)) for kind in ("gaussian", "masking")]
    assert train_together([make_job(s, objective=o) for s, o in enumerate(kinds)]) == [None] * 2

    def refuse(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(DenseStep, "_make_pass", refuse)
    assert train_together([make_job(0), make_job(1)]) == [None] * 2


# Draws of each network.


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_each_network_has_its_own_noise(kind):
    levels = [0.1, 0.2, 0.5]
    bounds = [np.float32([[0] * 7, [top] * 7]) for top in (2, 3, 4)]
    noises = [
        dataclasses.replace(noise(level, kind), bounds=own)
        for level, own in zip(levels, bounds, strict=True)
    ]
    joint = Hiding(Corruption.join(noises, 2), 0.0001).corrupt
    x = torch.ones(6, 3000, 7)
    changed = joint(x, make_generator(0, CPU)) - x
    if kind == "gaussian":
        found = changed.std(dim=(1, 2))
    else:
        found = (changed != 0).float().mean(dim=(1, 2))
    np.testing.assert_allclose(found, np.repeat(levels, 2), rtol=0.05)
    if kind == "salt_and_pepper":
        assert changed.amax(dim=(1, 2)).tolist() == [1, 1, 2, 2, 3, 3]


def test_each_network_has_its_own_dropout():
    shares = [0.1, 0.3, 0.6]
    networks = [make_network(0, dropout=p, n_members=2)[0] for p in shares]
    joint = join_networks(networks)
    generator = make_generator(0, CPU)
    prepare(joint, generator)
    dropout = next(module for module in joint.modules() if isinstance(module, Dropout))
    x = dropout(torch.ones(6, 2000, 9))
    np.testing.assert_allclose((x == 0).float().mean(dim=(1, 2)), np.repeat(shares, 2), rtol=0.05)
    np.testing.assert_allclose(x.mean(dim=(1, 2)), 1, rtol=0.05)


def test_each_network_has_its_own_weight_of_the_prior():
    def losses(betas):
        makers = [make_network(seed, variational=True) for seed in range(3)]
        networks = [network for network, _ in makers]
        objective = join_objectives([Objective("mse", beta=b) for b in betas], networks)
        joint = join_networks(networks).eval()
        x = torch.rand(3, 20, 7, generator=make_generator(1, CPU))
        return objective(joint, x, make_generator(0, CPU)).detach()

    none, all_, own = losses([0, 0, 0]), losses([1, 1, 1]), losses([0.1, 2.0, 0.0])
    weight = torch.tensor([0.1, 2.0, 0.0])[:, None]
    torch.testing.assert_close(own, none + weight * (all_ - none))


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("n_members", [1, 2])
def test_gradients_of_joined_networks_are_those_of_autograd(n_members, variational):
    own = [
        make_network(seed, variational=variational, dropout=0.0, n_members=n_members)[0]
        for seed in range(3)
    ]
    objectives = [
        Objective("mse", corrupt=noise(p), l1_activity=p, beta=p) for p in (0.1, 0.5, 2.0)
    ]
    joint, objective = join_networks(own), join_objectives(objectives, own)
    twin = join_networks(own)
    step = DenseStep([joint], [objective], [make_generator(3, CPU)])
    x = torch.rand(3 * n_members, 16, 7, generator=make_generator(1, CPU))
    step.begin_epoch([16])
    losses = step.backpropagate(x)
    plain = AutogradStep(twin, objective, make_generator(3, CPU), compile=False)
    torch.testing.assert_close(losses, plain.backpropagate(x))
    gradients = step._weights.gradients
    for name, parameter in twin.named_parameters():
        expected = parameter.grad.view(len(gradients[name]), -1)
        torch.testing.assert_close(gradients[name], expected, rtol=1e-4, atol=1e-6)


# The optimiser.


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_stacked_rates_move_each_network_as_its_own_optimiser_would(name):
    generator = make_generator(0, CPU)
    start = torch.randn(3, 10, generator=generator)
    rates, decays = [0.1, 0.01, 0.0], [0.0, 0.5, 0.1]
    vector = start.flatten().requires_grad_()
    vector.grad = torch.zeros_like(vector)
    optimizer = StackedRates(name, vector, decays, capturable=False, state={})
    own = [row.clone().requires_grad_() for row in start]
    lone = [
        make_optimizer(name, [w], learning_rate=r, weight_decay=d)
        for w, r, d in zip(own, rates, decays, strict=True)
    ]
    for step in range(6):
        slopes = torch.randn(len(own), 10, generator=generator)
        vector.grad.copy_(slopes.flatten())
        optimizer.param_groups[0]["lr"] = torch.tensor(rates)[:, None] / (1 + step)
        optimizer.step()
        for weight, slope, lone_one, rate in zip(own, slopes, lone, rates, strict=True):
            weight.grad = slope.clone()
            lone_one.param_groups[0]["lr"] = rate / (1 + step)
            lone_one.step()
        expected = torch.cat([weight.detach() for weight in own])
        torch.testing.assert_close(vector.detach(), expected, rtol=1e-4, atol=1e-6)
        if step == 2:  # two of the networks are left
            rows = torch.tensor([0, 1])
            state = optimizer.state_of(rows)
            own, lone, rates = own[:2], lone[:2], rates[:2]
            vector = vector.detach()[:20].clone().requires_grad_()
            vector.grad = torch.zeros_like(vector)
            optimizer = StackedRates(name, vector, decays[:2], capturable=False, state=state)


# As a GPU does it.


@pytest.mark.parametrize("optimizer", CAPTURABLE)
def test_one_graph_serves_all_rates(optimizer, monkeypatch):
    made = []

    def capture(step, optimizer, generators):
        made.append(CapturedUpdate(step, optimizer, generators, Replayed))
        return made[-1]

    monkeypatch.setattr(updates, "EAGER", 2)
    monkeypatch.setattr(stacks, "is_capturable", lambda step: True)
    monkeypatch.setattr(stacks, "make_update", capture)
    Replayed.made = 0
    assert_trained_as_alone(lambda: jobs_without_noise(optimizer=optimizer, **WHOLE))
    assert Replayed.made == len(made)
    assert len(made) <= 3  # stacks


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_steps_of_joined_networks_copy_nothing_from_the_cpu_once_they_are_warm(name, variational):
    objective = OBJECTIVES[name]
    networks = [
        make_wide(variational=variational, mask_input=objective.missing, activation="gelu").to(META)
        for _ in range(2)
    ]
    joint = join_networks(networks)
    generator = make_generator(0, CPU)  # the stand-in has none
    prepare(joint, generator)
    step = DenseStep([joint], [join_objectives([objective] * 2, networks)], [generator])
    assert_stays_on_device(step, n_members=4)


class Count(TorchDispatchMode):
    """Counts operations, most of which are a kernel each."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("variational", [False, True])
def test_a_step_takes_as_many_kernels_for_many_networks_as_for_two(variational):
    def count(n):
        jobs = []
        for seed in range(n):
            objective = Objective("mse", corrupt=noise(0.1 + seed), l1_activity=seed + 1, beta=seed)
            network, _ = make_network(seed, dropout=0.2, variational=variational, batch_norm=True)
            jobs.append(
                dataclasses.replace(
                    make_job(seed, objective=objective, learning_rate=0.01 / (1 + seed)),
                    network=network,
                    weight_decay=seed / 10,
                )
            )
        stack = stacks.Joined([stacks.Member(job) for job in jobs])
        together._train_epoch(stack)  # makes buffers and constants
        x, totals, rate = torch.rand(n, 16, 7), torch.zeros(n), stack.rates()[0]
        with Count() as counted:
            stack.update(x, rate, totals)
        return counted.number

    assert count(2) == count(8)


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_everything_is_on_one_device(name, variational, monkeypatch):
    """An epoch, and a stack of half as many networks after it."""
    objective = OBJECTIVES[name]

    def draw(n_rows, n_members, generator):
        return torch.zeros(n_members, n_rows, dtype=torch.int64, device=META)

    jobs = [
        make_job(seed, objective=objective, optimizer="rmsprop", weight_decay=0.1, max_epochs=n)
        for seed, n in enumerate([1, 1, 2, 2])
    ]
    x = torch.zeros(40, 6, device=META)
    jobs = [
        dataclasses.replace(
            job,
            network=make_wide(variational=variational, mask_input=objective.missing).to(META),
            x=x,
            x_val=x[:30],
        )
        for job in jobs
    ]
    monkeypatch.setattr(stacks, "draw_orders", draw)
    monkeypatch.setattr(stacks, "make_generator", lambda seed, device: make_generator(seed, CPU))
    monkeypatch.setattr(together, "read", lambda totals, held_out: ([1.0] * len(totals),) * 2)
    with OneDevice():
        stack = stacks.Joined([stacks.Member(job) for job in jobs])
        together._train_epoch(stack)
        stack = stack.without_done()
        assert len(stack.members) == 2
        together._train_epoch(stack)
        batch, totals = torch.zeros(4, 8, 6, device=META), torch.zeros(4, device=META)
        rate, *_ = stack.rates()
        stack.update.begin_epoch([8])
        with OneDevice(copies=False):  # a step that is warm sends nothing
            stack.update(batch, rate, totals)
        assert stack.held_out_losses().device == META
        assert stack.without_done() is None
    assert {p.device for job in jobs for p in job.network.parameters()} == {META}


# In searches.

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 8, "random_state": 0}


def scores_of(search):
    return np.array([search.cv_results_[f"split{i}_test_score"] for i in range(3)])


def test_a_search_gives_the_results_of_lone_fits(table, trained_alone, joined):  # noqa: F811
    grid = {"learning_rate": [1e-4, 1e-3], "weight_decay": [0.0, 0.1], "random_state": [0, 1]}
    settings = {"cv": 3, "scoring": synthetic_auroc(), "refit": False}
    estimator = AutoencoderTransformer(2, **SMALL, batch_size=100)
    ours = GridSearch(estimator, grid, **settings).fit(table)
    assert not trained_alone
    assert [len(stack.members) for stack in joined] == [24]
    theirs = GridSearchCV(estimator, grid, **settings).fit(table)
    np.testing.assert_allclose(scores_of(ours), scores_of(theirs), atol=2e-3)
    assert len(np.unique(ours.cv_results_["mean_test_score"])) > 4


def test_a_search_with_noise_repeats_itself(table, trained_alone):  # noqa: F811
    grid = {"learning_rate": [1e-3, 1e-2], "noise_level": [0.1, 0.5], "dropout": [0.1, 0.2]}
    settings = {"cv": 3, "scoring": synthetic_auroc(), "refit": False}
    found = [
        scores_of(GridSearch(DenoisingAutoencoder(2, **SMALL), grid, **settings).fit(table))
        for _ in range(2)
    ]
    assert not trained_alone
    np.testing.assert_array_equal(*found)


def test_folds_of_a_conformal_detector_are_joined(table, trained_alone, joined):  # noqa: F811
    inner = DenoisingAutoencoder(2, **SMALL, missing="mask")
    detector = ConformalDetector(inner, alpha=0.3, cv=4, random_state=0).fit(table)
    assert not trained_alone
    assert [len(stack.members) for stack in joined] == [4]
    assert detector.p_values(table).shape == (60,)


def test_results_of_a_search_do_not_depend_on_the_number_of_devices(table, monkeypatch):
    monkeypatch.setattr(ahead, "AT_ONCE_ON_DEVICE", 5)
    threads = []
    train_batch = Memo.train_batch
    monkeypatch.setattr(
        Memo,
        "train_batch",
        lambda memo, batch: threads.append(threading.current_thread()) or train_batch(memo, batch),
    )
    grid = {"learning_rate": [1e-3, 1e-2], "noise_level": [0.1, 0.5]}
    settings = {"cv": 3, "scoring": synthetic_auroc(), "refit": False}
    found = []
    for n_devices in (1, 2, 3):
        monkeypatch.setattr(ahead, "_count_devices", lambda estimator, n=n_devices: n)
        estimator = DenoisingAutoencoder(2, **SMALL, device=["cpu"] * n_devices)
        found.append(scores_of(GridSearch(estimator, grid, **settings).fit(table)))
    assert len(threads) == 9  # three chunks each
    assert len(set(threads)) > 2  # this one for the first search
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_devices_are_counted():
    estimator = DenoisingAutoencoder(device="cpu")
    assert ahead._count_devices(estimator) == 0
    assert ahead._count_devices(estimator.set_params(device=["meta", "meta"])) == 2
    assert ahead._count_devices(estimator.set_params(device="cuda:99")) == 0


# On a GPU alone.

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def on_cuda(jobs, device="cuda"):
    device = torch.device(device)
    return [
        dataclasses.replace(
            job,
            network=job.network.to(device),
            x=job.rows.to(device),
            x_val=job.x_val.to(device),
            generator=make_generator(job.generator.initial_seed(), device),
        )
        for job in jobs
    ]


@needs_cuda
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_trainings_on_a_gpu_are_those_of_lone_networks(optimizer, monkeypatch):
    monkeypatch.setattr(updates, "EAGER", 2)
    assert_trained_as_alone(lambda: on_cuda(jobs_without_noise(optimizer=optimizer, **WHOLE)))


@needs_cuda
def test_graphs_of_a_search_repeat_themselves(monkeypatch):
    monkeypatch.setattr(updates, "EAGER", 2)
    found = []
    for _ in range(2):
        runs = train_together(on_cuda(grid_of_jobs()))
        found.append([measures_of(run) for run in runs])
    assert found[0] == found[1]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_search_on_two_gpus_gives_what_one_gives(table, monkeypatch):
    monkeypatch.setattr(ahead, "AT_ONCE_ON_DEVICE", 5)
    grid = {"learning_rate": [1e-3, 1e-2], "noise_level": [0.1, 0.5]}
    settings = {"cv": 3, "scoring": synthetic_auroc(), "refit": False}
    found = []
    for devices in (["cuda:0"], ["cuda:0", "cuda:1"]):
        estimator = DenoisingAutoencoder(2, **SMALL, device=devices)
        found.append(scores_of(GridSearch(estimator, grid, **settings).fit(table)))
    np.testing.assert_allclose(*found, atol=1e-6)
