from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from aedetect.networks import (
    ACTIVATIONS,
    Autoencoder,
    Dropout,
    VariationalAutoencoder,
    dense_autoencoder,
    initialize,
    summarize,
)

PLAIN = {"activation": "relu", "latent_activation": "identity", "batch_norm": False, "dropout": 0.0}


def count_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_dense_network_is_the_mirrored_stack_of_its_sizes():
    network = dense_autoencoder(784, 16, hidden_layer_sizes=(64, 32), **PLAIN)
    widths = [784, 64, 32, 16, 32, 64, 784]
    expected = sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(widths))
    assert count_parameters(network) == expected
    assert network.encode(torch.zeros(3, 784)).shape == (3, 16)
    assert network(torch.zeros(3, 784)).shape == (3, 784)


def test_network_without_hidden_layers_is_one_linear_map_each_way():
    network = dense_autoencoder(7, 2, hidden_layer_sizes=(), **PLAIN)
    assert count_parameters(network) == 7 * 2 + 2 + 2 * 7 + 7


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_parameter_gets_a_gradient(activation):
    network = dense_autoencoder(
        6,
        3,
        hidden_layer_sizes=(5, 4),
        activation=activation,
        latent_activation="tanh",
        batch_norm=True,
        dropout=0.0,
    )
    network(torch.randn(8, 6)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name


def test_initialize_draws_from_its_generator_alone():
    before = torch.get_rng_state()
    with torch.device("meta"):
        network = dense_autoencoder(4, 2, hidden_layer_sizes=(3,), **{**PLAIN, "batch_norm": True})
    network = network.to_empty(device="cpu")
    initialize(network, torch.Generator().manual_seed(0))
    first = [p.clone() for p in network.parameters()]
    initialize(network, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(first, network.parameters(), strict=True))
    assert torch.equal(before, torch.get_rng_state())
    bound = 4**-0.5
    assert first[0].abs().max() <= bound
    assert first[0].abs().max() > bound / 2
    assert network(torch.zeros(2, 4)).isfinite().all()  # running statistics are set as well


def test_dropout_keeps_the_mean_and_is_off_in_eval_mode():
    dropout = Dropout(0.25)
    dropout.generator = torch.Generator().manual_seed(0)
    x = torch.ones(100, 100)
    dropped = dropout(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert dropout.eval()(x) is x


def test_code_of_a_vae_is_its_posterior_mean():
    network = VariationalAutoencoder(nn.Linear(3, 4), nn.Linear(2, 3))
    x = torch.randn(5, 3)
    mean, log_var = network.posterior(x)
    assert mean.shape == log_var.shape == (5, 2)
    assert torch.equal(network.encode(x), mean)
    assert torch.equal(torch.cat([mean, log_var], dim=1), network.encoder(x))


def test_summary_lists_every_layer_with_its_parameters():
    network = Autoencoder(nn.Sequential(nn.Linear(6, 2), nn.Tanh()), nn.Linear(2, 6))
    table = summarize(network, 6)
    assert table["output_shape"].tolist() == [(2,), (2,), (6,)]
    assert table["parameters"].tolist() == [14, 0, 18]
    assert table["layer"].tolist() == ["encoder.0 (Linear)", "encoder.1 (Tanh)", "decoder (Linear)"]
    assert not network.encoder[0]._forward_hooks
