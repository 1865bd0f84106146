"""Networks of several members, and their training side by side."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from training_runs import Unwatched, run_training

from aedetect.networks import (
    Autoencoder,
    Dropout,
    MemberLoop,
    VariationalAutoencoder,
    conv_autoencoder,
    dense_autoencoder,
    initialize,
    probe,
    residual_autoencoder,
    summarize,
)
from aedetect.training import Objective, loop, make_generator
from aedetect.training.batches import batches_of
from aedetect.training.state import Best, Run, keep

SIZES = {"hidden_layer_sizes": (7, 4), "activation": "tanh", "latent_activation": "identity"}
PLAIN = {**SIZES, "batch_norm": False, "dropout": 0.0}
NORMS = {**SIZES, "batch_norm": True, "dropout": 0.0}
IMAGES = {"downsample": "maxpool", "upsample": "unpool", "latent": "vector"}


def dense(n_members, **choices):
    return dense_autoencoder(6, 2, n_members=n_members, **{**PLAIN, **choices})


def residual(n_members, **choices):
    return residual_autoencoder(6, 2, n_members=n_members, **{**PLAIN, **choices})


def conv(n_members, **choices):
    members = [
        conv_autoencoder((1, 2, 3), 2, **{**PLAIN, **IMAGES, **choices}) for _ in range(n_members)
    ]
    return MemberLoop(members)


def variational(n_members):
    network = dense(n_members, codes_per_dim=2)
    return VariationalAutoencoder(network.encoder, network.decoder)


def variational_loop(n_members):
    members = [variational(1) for _ in range(n_members)]
    return MemberLoop(members)


BUILDERS = {
    "dense": dense,
    "tied": lambda n: dense(n, tied_weights=True, mask_input=True),
    "batch norm": lambda n: dense(n, batch_norm=True),
    "residual": residual,
    "residual batch norm": lambda n: residual(n, batch_norm=True),
    "conv": conv,
    "variational": variational,
    "variational loop": variational_loop,
}


@pytest.fixture(params=BUILDERS)
def build(request):
    """Return a function that builds a network of so many members, initialized."""

    def built(n_members):
        network = BUILDERS[request.param](n_members)
        initialize(network, torch.Generator().manual_seed(0))
        return network.eval()

    return built


def lone_members(network, build):
    """Return the members of a network as networks of one member each."""
    lone = []
    for index in range(network.n_members):
        record = Best(network, index)
        keep([record])
        member = build(1)
        target = Best(member, 0)
        tensors = dict(target._tensors())
        target.weights = {n: w.view(tensors[n].shape) for n, w in record.weights.items()}
        target.restore()
        lone.append(member)
    return lone


def rows(*shape):
    return torch.randn(*shape, 6, generator=torch.Generator().manual_seed(1))


def results_of(network, x):
    """Return all that a network computes of rows, as a list of tensors."""
    z, x_hat = network.encode_decode(x)
    trace = network.trace(x)
    results = [z, x_hat, network(x), network.encode(x), network.decode(z), trace.decoded]
    results += [*trace.activations, *network.activations(x)]
    if network.is_variational:
        results += network.posterior(x)
    return results


def test_members_compute_what_they_compute_alone(build):
    network = build(3)
    assert network.n_members == 3
    x = rows(3, 5)
    alone = [results_of(m, part) for m, part in zip(lone_members(network, build), x, strict=True)]
    for result, *expected in zip(results_of(network, x), *alone, strict=True):
        torch.testing.assert_close(result, torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(network.encode(x[:1])[0], network.encode(x[:1])[1])


def test_rows_without_members_are_shared_by_all(build):
    network, x = build(3), rows(1, 5)
    for shared, own in zip(
        results_of(network, x), results_of(network, x.expand(3, -1, -1)), strict=True
    ):
        assert shared.shape == own.shape
        torch.testing.assert_close(shared, own)


def test_one_member_takes_rows_with_and_without_its_dimension(build):
    network, x = build(1), rows(5)
    assert network.n_members == 1
    flat, deep = results_of(network, x), results_of(network, x[None])
    for two, three in zip(flat, deep, strict=True):
        assert two.ndim == 2
        torch.testing.assert_close(two[None], three)


def test_trace_holds_the_activations_and_the_reconstruction(build):
    network, x = build(3), rows(3, 5)
    trace = network.trace(x)
    assert torch.equal(trace.decoded, network(x))
    assert torch.equal(trace.activations[0], x)
    assert torch.equal(trace.activations[-1], network.encode(x))
    for one, other in zip(trace.activations, network.activations(x), strict=True):
        assert torch.equal(one, other)
        assert one.shape[:2] == (3, 5)


def test_weights_are_drawn_member_by_member(build):
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(3):
        member = build(1)
        initialize(member, generator)
        drawn.append(member.eval())
    x = rows(3, 5)
    together = build(3)(x)
    alone = torch.stack([member(part) for member, part in zip(drawn, x, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_weights_of_dense_layers_begin_with_the_members():
    shapes = {n: tuple(t.shape) for n, t in dense(3, batch_norm=True).state_dict().items()}
    assert shapes["encoder.0.weight"] == (3, 7, 6)
    assert shapes["encoder.0.bias"] == (3, 7)
    assert shapes["encoder.1.running_mean"] == shapes["encoder.1.weight"] == (3, 7)
    assert shapes["decoder.6.weight"] == (3, 6, 7)
    lone = {n: tuple(t.shape) for n, t in dense(1, batch_norm=True).state_dict().items()}
    assert lone == {name: (1, *shape[1:]) for name, shape in shapes.items()}


def test_names_of_weights_are_those_of_the_layers():
    names = set(conv(2).state_dict())
    assert {name.split(".")[0] for name in names} == {"members"}
    assert {name.split(".")[1] for name in names} == {"0", "1"}


def test_summary_and_probe_are_those_of_one_member(build):
    lone, several = build(1), build(3)
    assert summarize(several, 6).equals(summarize(lone, 6))
    code, reconstruction = probe(several, 6, 0.5)
    first = lone_members(several, build)[0]
    torch.testing.assert_close(code, first.encode(torch.full((1, 6), 0.5)))
    torch.testing.assert_close(reconstruction, first.decode(code))


def test_only_variational_networks_have_a_posterior():
    assert not dense(2).is_variational
    assert not conv(1).is_variational
    assert variational_loop(1).is_variational
    with pytest.raises(TypeError, match="not variational"):
        dense(1).posterior(rows(5))


OBJECTIVES = {
    "mse": Objective("mse"),
    "penalties": Objective("huber", l1_activity=0.1, contractive=0.1),
    "noise": Objective("mse", corrupt=lambda x, g: x + torch.empty_like(x).normal_(generator=g)),
}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_losses_of_members_are_those_of_each_alone(build, objective):
    network = build(3)
    if network.is_variational or objective.corrupt is not None:
        network.train()
    x = rows(3, 5)
    losses = objective(network, x, make_generator(0, x.device))
    assert losses.shape == (3, 5)
    shared = objective(network, x[:1], make_generator(0, x.device))
    assert shared.shape == (3, 5)
    lone = objective(build(1), x[0], make_generator(0, x.device))
    assert lone.shape == (5,)
    if objective == OBJECTIVES["mse"] and not network.is_variational:
        expected = [
            objective(member, part, make_generator(0, x.device))
            for member, part in zip(lone_members(network, build), x, strict=True)
        ]
        torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(shared[0], losses[0], rtol=1e-4, atol=1e-5)


def test_an_estimated_jacobian_is_that_of_each_member(monkeypatch):
    network = dense(3)
    objective = Objective("mse", contractive=1.0)
    x = rows(1, 5)
    seen = []

    def estimate(z, given, generator):
        (slope,) = torch.autograd.grad(z.sum(), given, create_graph=True)
        seen.append(slope)
        return z.sum(dim=-1)

    monkeypatch.setattr("aedetect.training.objective.jacobian_estimate", estimate)
    objective(network, x, torch.Generator())
    objective(network, x.expand(3, -1, -1).contiguous(), torch.Generator())
    assert seen[0].shape == (3, 5, 6)
    torch.testing.assert_close(seen[0], seen[1])


def orders_of(n_rows, batch_size, n_members):
    generator = torch.Generator().manual_seed(0)
    bounds = loop._batch_bounds(n_rows, batch_size)
    orders = loop.draw_orders(n_rows, n_members, generator)
    return list(batches_of(torch.arange(n_rows)[:, None], orders, bounds)), orders


def test_every_member_has_its_own_order_of_rows():
    batches, orders = orders_of(21, 5, 3)
    assert [batch.shape for batch in batches] == [(3, 5, 1)] * 3 + [(3, 6, 1)]
    assert torch.equal(torch.cat(batches, dim=1)[..., 0], orders)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(21).expand(3, -1))
    assert not torch.equal(orders[0], orders[1])


SETTINGS = {"batch_size": 9, "max_epochs": 6, "learning_rate": 0.01}


def test_members_train_as_they_do_alone(build, monkeypatch):
    """With one order of rows and one noise for all; last bits of batched products may differ."""
    network = build(3)
    alone = lone_members(network, build)
    x, x_val = rows(41), rows(12)
    draw_orders = loop.draw_orders

    def shared_order(n_rows, n_members, generator):
        return draw_orders(n_rows, 1, generator).expand(n_members, -1)

    monkeypatch.setattr(loop, "draw_orders", shared_order)
    monkeypatch.setattr(torch.Tensor, "normal_", lambda t, *_, **__: t.fill_(0.5))
    monkeypatch.setattr(Dropout, "draw_mask", lambda _, x: torch.ones_like(x))
    objective = Objective("mse")
    # Adam turns rounding errors of tiny gradients into whole steps.
    settings = {**SETTINGS, "optimizer": "sgd", "learning_rate": 1e-3}
    run = run_training(network, objective, x, x_val, **settings)
    runs = [run_training(member, objective, x, x_val, **settings) for member in alone]
    assert [r.best[0].epoch for r in runs] == [record.epoch for record in run.best]
    for member, trained in zip(alone, lone_members(network, build), strict=True):
        torch.testing.assert_close(member.state_dict(), trained.state_dict(), rtol=1e-5, atol=1e-5)


HELD_OUT = torch.tensor([[3.0, 1.0, 2.5], [1.0, 3.0, 2.0], [2.0, 2.0, 1.0], [4.0, 4.0, 4.0]])


def weights_of_members(network):
    """Return copies of each member's weights and running statistics."""
    records = [Best(network, index) for index in range(network.n_members)]
    keep(records)
    return [record.weights for record in records]


def test_every_member_keeps_its_own_best_epoch(build, device, monkeypatch):
    network = build(3).to(device)
    seen = []

    def held_out_losses(epochs):
        seen.append(weights_of_members(network))
        return HELD_OUT[len(seen) - 1].to(device)

    monkeypatch.setattr(loop.Epochs, "held_out_losses", held_out_losses)
    x, x_val = rows(24).to(device), rows(6).to(device)
    run = run_training(network, Objective("mse"), x, x_val, max_epochs=4, learning_rate=0.05)
    assert [record.epoch for record in run.best] == [1, 0, 2]
    for index, (epoch, kept) in enumerate(zip([1, 0, 2], weights_of_members(network), strict=True)):
        for name, tensor in kept.items():
            assert torch.equal(tensor, seen[epoch][index][name])
            is_count = not tensor.is_floating_point()
            assert is_count or not torch.equal(tensor, seen[3][index][name])
    means = torch.tensor([epoch.val_loss for epoch in run.epochs])
    torch.testing.assert_close(means, HELD_OUT.mean(dim=1))


def test_held_out_losses_are_those_of_the_weights_of_the_epoch(build, device, monkeypatch):
    calls = []
    held_out_losses = loop.Epochs.held_out_losses

    def record(epochs):
        calls.append(held_out_losses(epochs))
        return calls[-1]

    monkeypatch.setattr(loop.Epochs, "held_out_losses", record)
    network, objective = build(3).to(device), Objective("mse")
    x, x_val = rows(24).to(device), rows(6).to(device)
    run = run_training(network, objective, x, x_val, max_epochs=12, learning_rate=0.05)
    losses = torch.stack(calls)  # (n_epochs, 3)
    means = torch.tensor([epoch.val_loss for epoch in run.epochs], device=device)
    torch.testing.assert_close(means, losses.mean(dim=1))
    assert losses.argmin(dim=0).tolist() == [record.epoch for record in run.best]
    many = x_val.repeat(22, 1)  # as often as training repeats them
    kept = objective(network, many[None], make_generator(0, x.device)).mean(dim=1)
    # Convolutions in the other order of memory round otherwise.
    torch.testing.assert_close(kept, losses.amin(dim=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_members", [1, 4])
def test_best_weights_of_a_member_hold_no_others(n_members):
    network = dense(n_members)
    run = run_training(network, Objective("mse"), rows(20), rows(5), max_epochs=2)
    for record in run.best:
        assert record.weights.keys() == network.state_dict().keys()
        for weights in record.weights.values():
            assert weights.untyped_storage().nbytes() == weights.nbytes


class StopAfter(Unwatched):
    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_epoch_end(self, epoch):
        self.n_epochs -= 1
        return self.n_epochs == 0


class Kept:
    """A checkpoint in memory."""

    def __init__(self, state=None):
        self.state = state

    def keep(self, state):
        self.state = copy.deepcopy(state)

    def write(self):
        pass


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_resumes_bit_for_bit(build, optimizer):
    x, x_val, objective = rows(30), rows(8), OBJECTIVES["noise"]
    settings = {**SETTINGS, "optimizer": optimizer, "learning_rate": 1e-3}
    whole, cut, resumed = build(3), build(3), build(3)
    through = run_training(whole, objective, x, x_val, **settings)
    checkpoint = Kept()
    run_training(cut, objective, x, x_val, **settings, checkpoint=checkpoint, watcher=StopAfter(2))
    state = {**checkpoint.state, "stopped": torch.tensor(False)}
    end = run_training(resumed, objective, x, x_val, **settings, checkpoint=Kept(state))
    assert [e[:3] for e in end.epochs] == [e[:3] for e in through.epochs]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_run_continues_with_the_moments_of_another(build):
    x = rows(30)
    network = build(3)
    state = run_training(network, Objective("mse"), x, **SETTINGS).continuation()
    again = run_training(network, Objective("mse"), x, **SETTINGS, continuation=state)
    steps = [t for name, t in again.continuation().items() if name.endswith(".step")]
    assert {int(step) for step in steps} == {2 * 6 * 4}
    assert isinstance(again, Run)


def own_dense():
    return Autoencoder(nn.Sequential(nn.Linear(6, 2)), nn.Sequential(nn.Linear(2, 6)))


def test_copies_of_a_network_of_ones_own_part_company():
    own = own_dense()
    network = MemberLoop([copy.deepcopy(own) for _ in range(2)])
    run_training(network, Objective("mse"), rows(20))
    first, second = network.members
    assert not torch.equal(first.encoder[0].weight, second.encoder[0].weight)


@pytest.mark.parametrize("network", [dense(1), dense(3), MemberLoop([own_dense()])])
def test_parameters_of_dense_networks_are_views_of_one_vector(network):
    before = torch.cat([tensor.flatten() for tensor in network.parameters()])
    n_members = network.n_members
    step = loop.make_step(
        network, Objective("mse"), torch.Generator(), precision="float32", compile=False
    )
    (vector,) = step.parameters
    values = vector[vector != 0]  # without the gaps between tensors
    assert torch.equal(values.sort().values, before.detach().sort().values)
    after = torch.cat([tensor.flatten() for tensor in network.parameters()])
    assert torch.equal(after, before)
    assert len(vector) % n_members == 0
    with torch.no_grad():
        vector.zero_()
    assert not any(tensor.any() for tensor in network.parameters())
