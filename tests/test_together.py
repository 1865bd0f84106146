"""Networks that are trained side by side get the bits that they get alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aedetect.corruption import Corruption, Hiding
from aedetect.networks import (
    ACTIVATIONS,
    VariationalAutoencoder,
    dense_autoencoder,
    initialize,
)
from aedetect.training import Objective, make_generator, one_thread
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
            (alone,) = gradients_of([network], [objective], [generator], [x[own].clone() for x in batches])
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
