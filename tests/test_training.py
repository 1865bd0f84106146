"""The training step written out, against autograd."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_runs import run_training

from aedetect import AutoencoderTransformer, VAEDetector
from aedetect.blocks import Blocks
from aedetect.networks import (
    ACTIVATIONS,
    Autoencoder,
    Dropout,
    MaskInput,
    MemberLoop,
    VariationalAutoencoder,
    dense_autoencoder,
    initialize,
)
from aedetect.training import Objective, make_generator, move
from aedetect.training.dense import DenseStep
from aedetect.training.steps import AutogradStep


def make_network(n_members=1, *, variational=False, **parameters):
    parameters = {
        "hidden_layer_sizes": (7, 5),
        "activation": "relu",
        "latent_activation": "identity",
        "batch_norm": False,
        "dropout": 0.0,
        **parameters,
    }
    network = dense_autoencoder(
        6, 3, codes_per_dim=1 + variational, n_members=n_members, **parameters
    )
    if variational:
        network = VariationalAutoencoder(network.encoder, network.decoder)
    initialize(network, torch.Generator().manual_seed(0))
    return network.train()


def gradients_of(step_class, network, objective, x):
    """Return the losses of a batch, all gradients and all running statistics, in a row."""
    network = copy.deepcopy(network)
    generator = make_generator(0, x.device)
    if step_class is DenseStep:
        step = DenseStep([network], [objective], [generator])
    else:
        step = AutogradStep(network, objective, generator, compile=False)
    losses = step.backpropagate(x)
    assert losses.shape == x.shape[:2]
    if step_class is DenseStep:
        (vector,) = step.parameters
        # Replaces every value by its gradient, which the network then shows as its own.
        vector.data.copy_(vector.grad)
        gradients = [p.detach() for p in network.parameters()]
    else:
        gradients = [p.grad for p in network.parameters()]
    buffers = [b for b in network.buffers() if b.is_floating_point()]
    return torch.cat([t.flatten() for t in [losses, *gradients, *buffers]])


def assert_same_gradients(network, objective, device, change=lambda x: x):
    generator = make_generator(1, torch.device("cpu"))
    x = change(torch.rand(network.n_members, 9, 6, generator=generator)).to(device)
    network = network.to(device)
    assert DenseStep.accepts(network, objective)
    ours = gradients_of(DenseStep, network, objective, x)
    theirs = gradients_of(AutogradStep, network, objective, x)
    assert theirs.abs().max() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("latent_activation", ["identity", "sigmoid"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS)))
def test_gradients_are_those_of_autograd(
    activation, batch_norm, latent_activation, n_members, device
):
    network = make_network(
        n_members,
        activation=activation,
        batch_norm=batch_norm,
        latent_activation=latent_activation,
    )
    assert_same_gradients(network, Objective("mse"), device)


@pytest.mark.parametrize("hidden_layer_sizes", [(), (4,), (8, 7, 5)])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("loss", ["mse", "bce", "huber"])
def test_gradients_at_any_depth_are_those_of_autograd(loss, n_members, hidden_layer_sizes, device):
    network = make_network(n_members, hidden_layer_sizes=hidden_layer_sizes, batch_norm=True)
    assert_same_gradients(network, Objective(loss, l1_activity=0.3), device)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("beta", [0.0, 2.0])
@pytest.mark.parametrize("loss", ["mse", "bce", "huber"])
def test_gradients_of_a_vae_are_those_of_autograd(loss, beta, n_members, device):
    assert_same_gradients(
        make_network(n_members, variational=True), Objective(loss, beta=beta), device
    )


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("loss", ["mse", "bce", "huber"])
def test_gradients_with_missing_cells_are_those_of_autograd(loss, n_members, variational, device):
    def corrupt(x, generator):
        return x.masked_fill(x > 0.9, torch.nan)

    assert_same_gradients(
        make_network(n_members, variational=variational, mask_input=True),
        Objective(loss, missing=True, corrupt=corrupt),
        device,
        lambda x: x.masked_fill(x < 0.3, torch.nan),
    )


BLOCKS = Blocks(1, (2, 3), np.float32([0.7, 0.3, 0.5, 0.3, 0.2]), np.float32([2, 2, 1, 1, 1]))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("loss", ["mse", "bce", "huber"])
def test_gradients_of_blocks_are_those_of_autograd(loss, n_members, variational, missing, device):
    def with_levels(x):
        x = torch.cat([x[..., :1], BLOCKS.hard(x[..., 1:])], dim=-1)
        holes = torch.tensor([False, True, True, False, False, False]) & (x[..., :1] < 0.3)
        return x.masked_fill(holes | (x > 0.9) & (x[..., :1] > 0.9), torch.nan) if missing else x

    assert_same_gradients(
        make_network(n_members, variational=variational, mask_input=missing),
        Objective(loss, missing=missing, blocks=BLOCKS),
        device,
        with_levels,
    )


@pytest.mark.parametrize("n_members", [1, 3])
def test_gradients_of_a_loop_of_ones_own_networks_are_those_of_autograd(n_members, device):
    torch.manual_seed(0)
    members = [custom(nn.BatchNorm1d(6), nn.Tanh()) for _ in range(n_members)]
    assert_same_gradients(MemberLoop(members).train(), Objective("mse"), device)


@pytest.mark.parametrize("step_class", [DenseStep, AutogradStep])
def test_members_draw_noise_of_their_own(step_class):
    network = make_network(2, variational=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter[1] = parameter[0]
    x = torch.ones(2, 3, 6)
    first, second = gradients_of(step_class, network, Objective("mse"), x)[:6].view(2, 3)
    assert not torch.equal(first, second)


def test_gradients_with_dropout_are_those_of_autograd(monkeypatch, device):
    # Both draw a mask a layer, but lay its entries out differently; take one that does not care.
    monkeypatch.setattr(Dropout, "draw_mask", lambda _, x: (x > 0.1) * 2.0)
    assert_same_gradients(make_network(dropout=0.5, activation="tanh"), Objective("mse"), device)


def test_noise_reaches_the_input_alone(device):
    objective = Objective("mse", corrupt=lambda x, generator: 0 * x)
    assert_same_gradients(make_network(), objective, device)
    network = make_network()
    ((loss,),) = DenseStep([network], [objective], [None]).backpropagate(torch.ones(1, 1, 6))
    expected = (network(torch.zeros(1, 6)) - 1).square().sum()
    torch.testing.assert_close(loss, expected.detach())


@pytest.mark.parametrize(
    ("network", "objective"),
    [
        (make_network(tied_weights=True), Objective("mse")),
        (make_network(), Objective("mse", contractive=0.1)),
    ],
)
def test_other_networks_and_objectives_are_left_to_autograd(network, objective):
    assert not DenseStep.accepts(network, objective)


def custom(*middle, shared=False):
    first, second, last = (torch.nn.Linear(6, 6) for _ in range(3))
    return Autoencoder(
        torch.nn.Sequential(first, *middle), torch.nn.Sequential(first if shared else second, last)
    )


def frozen_layer():
    return torch.nn.Linear(6, 6).requires_grad_(False)


def watched_layer():
    layer = torch.nn.Linear(6, 6)
    layer.register_forward_hook(lambda *_: None)
    return layer


@pytest.mark.parametrize(
    "network",
    [
        custom(torch.nn.Linear(6, 6, bias=False)),
        custom(torch.nn.LeakyReLU(0.3)),
        custom(MaskInput(), torch.nn.Linear(12, 6)),
        custom(torch.nn.GELU(approximate="tanh")),
        custom(torch.nn.Dropout(0.1)),
        custom(torch.nn.BatchNorm1d(6, affine=False)),
        custom(torch.nn.Sequential(torch.nn.ReLU())),
        custom(frozen_layer()),
        custom(watched_layer()),
        custom(shared=True),
    ],
    ids=repr,
)
def test_unusual_networks_are_left_to_autograd_and_train(network):
    assert DenseStep.accepts(custom(torch.nn.ReLU()), Objective("mse"))
    loop = MemberLoop([network])
    assert not DenseStep.accepts(network, Objective("mse"))
    assert not DenseStep.accepts(loop, Objective("mse"))
    x = torch.rand(20, 6, generator=make_generator(0, torch.device("cpu")))
    run = run_training(loop, Objective("mse"), x, max_epochs=30, learning_rate=0.01)
    assert run.epochs[-1].loss < run.epochs[0].loss


def test_dropped_share_and_scale():
    module = Dropout(0.3).train()
    module.generator = make_generator(0, torch.device("cpu"))
    mask = module.draw_mask(torch.empty(1000, 101))
    assert mask.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert (mask == 0).float().mean().item() == pytest.approx(0.3, abs=0.005)


@pytest.mark.filterwarnings("ignore")  # of PyTorch about its own code
def test_compiled_networks_learn_what_others_do(table):
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0, "device": "cpu"}
    plain = AutoencoderTransformer(2, **settings).fit(table)
    compiled = AutoencoderTransformer(2, compile=True, **settings)
    calls = []
    compile_ = torch.compile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda *a, **k: calls.append(a) or compile_(*a, **k))
        compiled.fit(table)
    assert len(calls) == 2  # encoder and decoder
    np.testing.assert_allclose(compiled.score_samples(table), plain.score_samples(table), rtol=1e-3)


def test_low_precision_is_for_training_alone(table):
    detector = AutoencoderTransformer(2, precision="bf16", max_epochs=3, random_state=0).fit(table)
    assert {p.dtype for p in detector.network_.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")
    exact = detector.set_params(precision="float32").score_samples(table)
    np.testing.assert_array_equal(detector.score_samples(table), exact)


def test_tf32_needs_cuda(table):
    with pytest.raises(ValueError, match=r"precision='tf32' needs a CUDA device.*'cpu'"):
        VAEDetector(precision="tf32", device="cpu").fit(table)


def test_rows_that_do_not_fit_on_the_device_stay_behind(monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError

    x = torch.ones(3, 2)
    monkeypatch.setattr(torch.Tensor, "to", refuse)
    with pytest.warns(UserWarning, match=r"do not fit on 'cuda'.*stay in main memory"):
        kept = move(x, torch.device("cuda"))
    assert kept.device.type == "cpu"
    assert torch.equal(kept, x)


IMAGES = {"network": "conv", "hidden_layer_sizes": (16, 32)}


@pytest.mark.parametrize(
    ("kind", "shape", "n_threads", "settings"),
    [
        (DenseStep, (8, 20), 1, {}),
        (DenseStep, (4000, 20), 3, {}),
        (AutogradStep, (32, 64), 1, {**IMAGES, "image_shape": (1, 8, 8)}),
        (AutogradStep, (32, 784), 3, {**IMAGES, "image_shape": (1, 28, 28)}),
        (AutogradStep, (32, 64), 1, {"contractive": 0.1}),
    ],
    ids=str,
)
def test_small_steps_stay_on_one_thread(monkeypatch, kind, shape, n_threads, settings):
    seen = set()
    backpropagate = kind.backpropagate
    monkeypatch.setattr(
        kind,
        "backpropagate",
        lambda *args: seen.add(torch.get_num_threads()) or backpropagate(*args),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        X = np.random.RandomState(0).rand(*shape)
        AutoencoderTransformer(
            batch_size=len(X), max_epochs=1, validation_fraction=0, device="cpu", **settings
        ).fit(X)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == {n_threads}


def test_the_work_of_a_convolution_is_that_of_all_pixels():
    network = Autoencoder(
        nn.Sequential(nn.Unflatten(1, (1, 6, 6)), nn.Conv2d(1, 4, 3, padding=1), nn.Flatten()),
        nn.Linear(4 * 36, 36),
    )
    n_products = 9 * 4 * 36 + 4 * 36 * 36
    for n_members in (1, 2):
        loop = MemberLoop([network] * n_members)
        step = AutogradStep(loop, Objective("mse"), torch.Generator(), compile=False)
        assert step.count_work(torch.ones(1, 36)) == 3 * 2 * n_products * n_members
        assert network.training
        assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("n_members", [1, 3])
def test_the_work_of_dense_layers_is_that_of_their_weights(n_members):
    network = make_network(n_members, tied_weights=True, batch_norm=True)
    step = AutogradStep(network, Objective("mse"), torch.Generator(), compile=False)
    n_weights = 2 * (6 * 7 + 7 * 5 + 5 * 3)
    assert step.count_work(torch.ones(1, 6)) == 3 * 2 * n_weights * n_members


def test_training_does_not_import_the_compiler():
    code = """if True:
        import sys, torch
        from aedetect.networks import MemberLoop, conv_autoencoder, dense_autoencoder
        from aedetect.training import OPTIMIZERS, Objective
        from training_runs import run_training
        choices = dict(activation="relu", latent_activation="relu", batch_norm=True, dropout=0.1)
        sizes = dict(hidden_layer_sizes=(4, 4), **choices)
        images = dict(downsample="stride", upsample="nearest", latent="vector")
        for optimizer in OPTIMIZERS:
            network = dense_autoencoder(4, 2, n_members=2, **sizes)
            run = run_training(network, Objective("mse"), torch.rand(9, 4), optimizer=optimizer)
            kept = dict(continuation=run.continuation(), optimizer=optimizer)
            run_training(network, Objective("mse"), torch.rand(9, 4), **kept)
        network = MemberLoop([conv_autoencoder((1, 2, 2), 2, **sizes, **images)])
        run_training(network, Objective("mse"), torch.rand(9, 4))
        assert "torch._dynamo" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
