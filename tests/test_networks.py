from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from aedetect import AutoencoderTransformer, DenoisingAutoencoder
from aedetect.networks import (
    ACTIVATIONS,
    Autoencoder,
    Dropout,
    VariationalAutoencoder,
    conv_autoencoder,
    dense_autoencoder,
    initialize,
    residual_autoencoder,
    summarize,
)
from aedetect.networks.conv import MaxPool, Unpool

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
    assert table["trained"].tolist() == [14, 0, 18]
    assert table["layer"].tolist() == ["encoder.0 (Linear)", "encoder.1 (Tanh)", "decoder (Linear)"]
    assert not network.encoder[0]._forward_hooks


def test_tied_weights_are_shared_and_trained_once():
    network = dense_autoencoder(6, 2, hidden_layer_sizes=(4,), tied_weights=True, **PLAIN)
    initialize(network, torch.Generator().manual_seed(0))
    assert count_parameters(network) == (6 * 4 + 4) + (4 * 2 + 2) + 4 + 6
    twin = copy.deepcopy(network)
    x = torch.randn(3, 6)
    before = twin(x)
    with torch.no_grad():
        network.encoder[0].weight.zero_()
    assert torch.equal(network(x), network.decoder[-1].bias.expand(3, 6))
    assert torch.equal(twin(x), before)  # a copy is tied to itself


def test_residual_block_starts_near_the_identity_and_keeps_every_row_apart():
    network = residual_autoencoder(6, 2, hidden_layer_sizes=(8, 8, 4), **PLAIN)
    x = torch.randn(5, 6)
    assert network.encode(x).shape == (5, 2)
    torch.testing.assert_close(network(x)[:1], network(x[:1]))
    blocks = [m for m in network.modules() if type(m).__name__ == "ResidualBlock"]
    assert len(blocks) == 6
    with torch.no_grad():
        for block in blocks:
            block.outer.weight.zero_()
            block.outer.bias.zero_()
    hidden = torch.randn(5, 8)
    assert torch.equal(blocks[0](hidden), hidden)


CONV = {**PLAIN, "downsample": "maxpool", "upsample": "nearest", "latent": "vector"}


@pytest.mark.parametrize("downsample", ["stride", "maxpool"])
@pytest.mark.parametrize("upsample", ["nearest", "transpose"])
@pytest.mark.parametrize("latent", ["vector", "map"])
@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 9, 7), (1, 1, 5), (2, 8, 8)])
def test_conv_networks_restore_images_of_any_size(image_shape, downsample, upsample, latent):
    network = conv_autoencoder(
        image_shape,
        5,
        hidden_layer_sizes=(4, 3),
        **{**CONV, "downsample": downsample, "upsample": upsample, "latent": latent},
    )
    x = torch.randn(2, math.prod(image_shape))
    z, x_hat = network.encode_decode(x)
    _, height, width = image_shape
    quarter = math.ceil(height / 4) * math.ceil(width / 4)
    assert z.shape == (2, 5 if latent == "vector" else 3 * quarter)
    assert x_hat.shape == x.shape
    torch.testing.assert_close(network.decode(z), x_hat)
    torch.testing.assert_close(network(x[:1]), x_hat[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("latent", ["vector", "map"])
@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 9, 7)])
def test_unpooling_puts_values_where_the_maxima_were(image_shape, latent):
    torch.manual_seed(0)  # a few ReLU channels may all be dead; other activations never are
    network = conv_autoencoder(
        image_shape,
        5,
        hidden_layer_sizes=(4, 6, 3),
        **{**CONV, "upsample": "unpool", "latent": latent, "activation": "elu"},
    )
    x = torch.randn(2, math.prod(image_shape))
    z, x_hat = network.encode_decode(x)
    assert torch.equal(z, network.encode(x))
    assert x_hat.shape == network.decode(z).shape == x.shape
    assert not torch.allclose(network.decode(z), x_hat)  # a code does not hold the places
    image = torch.randn(2, 3, 5, 7)
    maxima, places = MaxPool(2, ceil_mode=True).pool(image)
    spread = Unpool((5, 7))(maxima, places)
    assert torch.equal(spread[spread != 0], image[spread != 0])
    assert torch.equal(MaxPool(2, ceil_mode=True)(spread.where(spread != 0, -9.0)), maxima)


def parameters_of(estimator):
    """Return the parameters of a fitted estimator: all, and those that are trained."""
    X = np.random.RandomState(0).rand(8, 784)
    table = estimator.set_params(max_epochs=1).fit(X).summary()
    return table[["parameters", "trained"]].sum().tolist()


TUTORIAL = {"network": "conv", "image_shape": (1, 28, 28), "downsample": "maxpool", "loss": "bce"}


def test_networks_of_the_tutorials_have_their_parameters():
    dense = AutoencoderTransformer(16, hidden_layer_sizes=(64, 32))
    widths = [784, 64, 32, 16, 32, 64, 784]
    n_dense = sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(widths))
    assert parameters_of(dense) == [n_dense] * 2
    conv_denoiser = DenoisingAutoencoder(
        hidden_layer_sizes=(32, 32), upsample="transpose", latent="map", **TUTORIAL
    )
    assert parameters_of(conv_denoiser) == [37_601] * 2
    assert conv_denoiser.latent_dim_ == 7 * 7 * 32
    small = AutoencoderTransformer(hidden_layer_sizes=(16, 8, 8), latent="map", **TUTORIAL)
    assert parameters_of(small) == [4_385] * 2
    assert small.latent_dim_ == 4 * 4 * 8
    batch_norm = DenoisingAutoencoder(
        128,
        hidden_layer_sizes=(16, 32, 32),
        batch_norm=True,
        latent_activation="sigmoid",
        **TUTORIAL,
    )
    assert parameters_of(batch_norm) == [440_865, 440_641]
    linear = AutoencoderTransformer(32, hidden_layer_sizes=())
    assert parameters_of(linear) == [784 * 32 + 32 + 32 * 784 + 784] * 2
