"""Updates of the weights: captured, on a stand-in that replays the function, and plain."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from stand_in import META, OneDevice
from training_runs import run_training

from aedetect.blocks import Blocks
from aedetect.corruption import Corruption, Hiding
from aedetect.networks import VariationalAutoencoder, dense_autoencoder, initialize
from aedetect.training import Objective, loop, make_generator, updates
from aedetect.training.dense import DenseStep
from aedetect.training.optimizers import CAPTURABLE, KERNELS, OPTIMIZERS, make_optimizer
from aedetect.training.updates import CapturedUpdate, PlainUpdate, make_update

CPU = torch.device("cpu")
PLAIN = {"activation": "relu", "latent_activation": "identity", "batch_norm": True}


class Replayed:
    """Stands for a CUDA graph: capture calls nothing, replay calls the function."""

    made = 0

    def __init__(self, function, generators, device):
        self.replay = function
        Replayed.made += 1


def make_network(*, n_members=2, variational=False, **choices):
    settings = {"hidden_layer_sizes": (8,), "dropout": 0.2, **PLAIN, **choices}
    network = dense_autoencoder(
        6, 2, n_members=n_members, codes_per_dim=1 + variational, **settings
    )
    if variational:
        network = VariationalAutoencoder(network.encoder, network.decoder)
    initialize(network, torch.Generator().manual_seed(0))
    return network


def rows(*shape):
    return torch.rand(*shape, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def captured(monkeypatch):
    """Let training take the steps of dense networks as it does on a GPU."""
    Replayed.made = 0
    made = []

    def make(step, optimizer, generators):
        made.append(CapturedUpdate(step, optimizer, generators, Replayed))
        return made[-1]

    monkeypatch.setattr(loop, "is_capturable", lambda step: isinstance(step, DenseStep))
    monkeypatch.setattr(loop, "make_update", make)
    monkeypatch.setattr(updates, "EAGER", 3)
    return made


@pytest.mark.parametrize("optimizer", CAPTURABLE)
def test_captured_training_is_plain_training(captured, optimizer, request):
    settings = {"optimizer": optimizer, "weight_decay": 0.01, "schedule": "onecycle"}
    settings |= {"max_epochs": 8, "batch_size": 9, "learning_rate": 0.01}
    objective = Objective("mse", corrupt=lambda x, g: x + torch.empty_like(x).normal_(generator=g))
    network = make_network(batch_norm=False)  # before one, a bias follows rounding errors
    twin = copy.deepcopy(network)
    run = run_training(network, objective, rows(41), rows(12), **settings)
    assert Replayed.made == 2  # batches of nine rows, and the last ones
    request.getfixturevalue("monkeypatch").undo()
    plain = run_training(twin, objective, rows(41), rows(12), **settings)
    losses = torch.tensor([epoch[:3] for epoch in run.epochs])
    torch.testing.assert_close(losses, torch.tensor([epoch[:3] for epoch in plain.epochs]))
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, twin.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_buffers_of_an_update_stay_where_they_are(captured):
    network, places = make_network(dropout=0.0), set()

    class Watching(run_training.__globals__["Unwatched"]):
        def on_step_end(self):
            (update,) = captured
            for n, size in update._sizes.items():
                gradient = update._step.parameters[0].grad
                tensors = (size.x, size.losses, gradient, update._rate)
                places.add((n, *(tensor.data_ptr() for tensor in tensors)))
            return False

    run_training(
        network, Objective("mse"), rows(41), max_epochs=6, batch_size=9, watcher=Watching()
    )
    assert len(places) == 2  # one of each size


def test_graphs_are_dropped_with_the_buffers_of_their_size():
    network = make_network()
    step = DenseStep([network], [Objective("mse")], [make_generator(0, CPU)])
    optimizer = make_optimizer("adam", step.parameters, learning_rate=0.0, weight_decay=0.0)
    update = CapturedUpdate(step, optimizer, [], Replayed)
    for n_rows in (4, 7):
        update.begin_epoch([n_rows])
        loop._set_dropout(network, make_generator(0, CPU))
        update(rows(2, n_rows), 0.1, torch.zeros(2))
        assert set(update._sizes) == set(step._passes) == {n_rows}


def test_a_step_that_cannot_be_captured_is_taken_kernel_by_kernel():
    def refuse(function, generators, device):
        raise RuntimeError("operation not permitted when stream is capturing")

    network = make_network(dropout=0.0)
    step = DenseStep([network], [Objective("mse")], [make_generator(0, CPU)])
    optimizer = make_optimizer("adam", step.parameters, learning_rate=0.0, weight_decay=0.0)
    update = CapturedUpdate(step, optimizer, [], refuse)
    update.begin_epoch([5] * 30)
    totals = torch.zeros(2)
    for _ in range(updates.EAGER):
        update(rows(2, 5), 0.01, totals)
    with pytest.warns(UserWarning, match="cannot be captured.*stream is capturing"):
        update(rows(2, 5), 0.01, totals)
    for _ in range(5):  # without another warning
        update(rows(2, 5), 0.01, totals)
    assert update._sizes[5].n_updates == updates.EAGER + 6
    assert (totals > 0).all()


def test_only_dense_networks_on_cuda_are_captured():
    network = make_network()
    step = DenseStep([network], [Objective("mse")], [make_generator(0, CPU)])
    for name in OPTIMIZERS:
        settings = {"learning_rate": 0.1, "weight_decay": 0.0}
        optimizer = make_optimizer(name, step.parameters, **settings, capturable=True)
        assert bool(optimizer.param_groups[0].get("capturable")) == (name in CAPTURABLE)
        assert isinstance(make_update(step, optimizer, []), PlainUpdate)


BLOCKS = Blocks(1, (2, 3), np.float32([0.7, 0.3, 0.5, 0.3, 0.2]), np.float32([2, 2, 1, 1, 1]))
BOUNDS = np.stack([np.zeros(6), np.ones(6)]).astype(np.float32)


def noise(kind, blocks=None):
    bounds = BOUNDS if blocks is None else BOUNDS[:, : blocks.n_numbers]
    return Corruption(kind, 0.3, bounds, clamp=True, keeps_missing=False, blocks=blocks)


OBJECTIVES = {
    "mse": Objective("mse", l1_activity=0.1, corrupt=noise("gaussian")),
    "huber": Objective("huber", corrupt=noise("masking")),
    "bce": Objective("bce", corrupt=noise("salt_and_pepper")),
    "missing": Objective("mse", missing=True, corrupt=Hiding(noise("masking"), 0.2)),
    "blocks": Objective(
        "mse",
        blocks=BLOCKS,
        missing=True,
        corrupt=Hiding(noise("salt_and_pepper", BLOCKS), 0.2, BLOCKS),
    ),
}


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_steps_copy_nothing_from_the_cpu_once_they_are_warm(name, variational):
    """A CUDA graph holds no such copies; the first step may make constants."""
    objective = OBJECTIVES[name]
    network = make_network(
        variational=variational, mask_input=objective.missing, activation="gelu"
    ).to(META)
    generator = make_generator(0, CPU)  # the stand-in has none
    loop._set_dropout(network.train(), generator)
    step = DenseStep([network], [objective], [generator])
    assert_stays_on_device(step, n_members=2)


def assert_stays_on_device(step, n_members):
    """Take a step on the stand-in, which copies nothing to the CPU."""
    x = torch.zeros(n_members, 5, 6, device=META)
    step.begin_epoch([5, 5])
    step.backpropagate(x)
    with OneDevice(copies=False):
        losses = step.backpropagate(x)
    assert losses.device == META
    assert losses.shape == (n_members, 5)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_the_kernel_alone_does_what_the_optimiser_does(name, monkeypatch):
    def weights_after_steps():
        weights = [rows(4).requires_grad_(), rows(9).requires_grad_(), rows(2).requires_grad_()]
        optimizer = make_optimizer(name, weights, learning_rate=0.1, weight_decay=0.1)
        for step in range(6):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
            weights[0].grad, weights[1].grad = (w.detach() * step - 1 for w in weights[:2])
            if step == 2:
                weights[2].grad = rows(2)
            optimizer.step()
            weights[2].grad = None  # not every weight has a gradient in every step
        return torch.cat([weight.detach() for weight in weights])

    expected = weights_after_steps()
    monkeypatch.setattr("aedetect.training.optimizers.KERNELS", {})
    assert torch.equal(weights_after_steps(), expected)


def test_buffers_that_do_not_fit_name_the_remedy(monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError

    network = make_network(dropout=0.0)
    step = DenseStep([network], [Objective("mse")], [make_generator(0, CPU)])
    monkeypatch.setattr(DenseStep, "_make_pass", refuse)
    with pytest.raises(MemoryError, match=r"batch of 5 rows. Choose a smaller batch_size"):
        step.backpropagate(rows(2, 5))


# On a GPU alone.

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_cuda
@pytest.mark.parametrize("n_members", [1, 3])
def test_a_cuda_graph_trains_as_kernels_one_by_one_do(n_members, monkeypatch):
    runs, networks = [], []
    x, x_val = rows(300).cuda(), rows(20).cuda()
    for captures in (True, False):
        if not captures:
            monkeypatch.setattr(loop, "is_capturable", lambda step: False)
            monkeypatch.setattr(
                loop, "make_update", lambda step, optimizer, _: PlainUpdate(step, optimizer)
            )
        network = make_network(n_members=n_members, dropout=0.0, batch_norm=False).cuda()
        runs.append(run_training(network, Objective("mse"), x, x_val, max_epochs=8, batch_size=16))
        networks.append(network)
    first, second = (torch.tensor([epoch[:2] for epoch in run.epochs]) for run in runs)
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(
        networks[0].state_dict(), networks[1].state_dict(), rtol=1e-3, atol=1e-4
    )


@needs_cuda
@pytest.mark.parametrize("name", OBJECTIVES)
def test_replays_of_a_cuda_graph_draw_anew(name, monkeypatch):
    monkeypatch.setattr(updates, "EAGER", 2)
    objective = OBJECTIVES[name]
    network = make_network(mask_input=objective.missing).cuda()
    generator = make_generator(0, torch.device("cuda"))
    loop._set_dropout(network.train(), generator)
    step = DenseStep([network], [objective], [generator])
    settings = {"learning_rate": 0.0, "weight_decay": 0.0, "capturable": True}
    optimizer = make_optimizer("adam", step.parameters, **settings)
    update = make_update(step, optimizer, [generator])
    assert isinstance(update, CapturedUpdate)
    update.begin_epoch([9] * 6)
    x, found = rows(2, 9).cuda(), []
    for _ in range(6):
        totals = torch.zeros(2, device="cuda")
        update(x, 0.0, totals)
        found.append(tuple(totals.tolist()))
    assert update._sizes[9].graph is not None
    assert len(set(found)) == 6


@needs_cuda
def test_a_captured_training_repeats_itself():
    """A refit draws what the first fit drew, in graphs too."""
    losses = []
    for _ in range(2):
        network = make_network().cuda()
        run = run_training(
            network, OBJECTIVES["mse"], rows(300).cuda(), max_epochs=4, batch_size=16
        )
        losses.append([epoch.loss for epoch in run.epochs])
    assert losses[0] == losses[1]
