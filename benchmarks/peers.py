"""The same training by others: PyOD, skorch, plain PyTorch, and the bare arithmetic of a step."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

warnings.filterwarnings("ignore", module="pyod")
logging.getLogger("pyod").setLevel(logging.ERROR)
Pass = Callable[[], object]


def pyod_layers(n_features: int, dropout: type[nn.Module]) -> tuple[nn.Sequential, nn.Sequential]:
    """Return PyOD's default network, 64-32-64 with batch norm and dropout, as two stacks."""

    def block(n_in: int, n_out: int) -> list[nn.Module]:
        return [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU(), dropout(0.2)]

    encoder = nn.Sequential(*block(n_features, 64), *block(64, 32))
    return encoder, nn.Sequential(*block(32, 64), nn.Linear(64, n_features))


def fit_pyod(X: NDArray, *, batch_size: int, epochs: int, score: bool = True):
    """Fit PyOD's AutoEncoder; ``score=False`` keeps it from scoring the rows afterwards."""
    from pyod.models.auto_encoder import AutoEncoder

    detector = AutoEncoder(batch_size=batch_size, epoch_num=epochs, verbose=0)
    if not score:
        detector.decision_function = lambda X: np.zeros(len(X))
    return detector.fit(X)


def make_skorch(module: nn.Module, *, batch_size: int, epochs: int, loss: type[nn.Module]):
    from skorch import NeuralNet

    return NeuralNet(
        module,
        criterion=loss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=batch_size,
        max_epochs=epochs,
        train_split=None,
        iterator_train__shuffle=True,
        verbose=0,
    )


def fit_plain(
    network: nn.Module, X: NDArray, *, batch_size: int, epochs: int, loss: Callable, fused: bool
) -> nn.Module:
    """Train as a hand-written loop does: all rows in one tensor, shuffled by index."""
    network = copy.deepcopy(network).train()
    x = torch.from_numpy(X.astype(np.float32))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=fused)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch_size):
            batch = x[rows]
            optimizer.zero_grad()
            loss(network(batch), batch).backward()
            optimizer.step()
    return network


def bare_step(network: nn.Module, x: Tensor) -> Pass:
    """Return a function that does a step's matrix products or convolutions and nothing else.

    Forward, by the weights, and, but for the first layer, by the input.
    """
    seen: list[tuple[nn.Module, Tensor]] = []
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    layers = [layer for layer in network.modules() if isinstance(layer, kinds)]
    handles = [
        layer.register_forward_hook(lambda layer, args, _: seen.append((layer, args[0].detach())))
        for layer in layers
    ]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    products = [
        _bare_product(layer, given.contiguous(), first=index == 0)
        for index, (layer, given) in enumerate(seen)
    ]

    @torch.no_grad()
    def step() -> None:
        for product in products:
            product()

    return step


def _bare_product(layer: nn.Module, x: Tensor, *, first: bool) -> Pass:
    if isinstance(layer, nn.Linear):
        weight = layer.weight.detach()
        y, g_weight, g_x = x @ weight.T, torch.empty_like(weight), torch.empty_like(x)
        g = torch.randn_like(y)

        def products() -> None:
            torch.mm(x, weight.T, out=y)
            torch.mm(g.T, x, out=g_weight)
            if not first:
                torch.mm(g, weight, out=g_x)

        return products
    x = x.to(memory_format=torch.channels_last)
    weight = layer.weight.detach().to(memory_format=torch.channels_last)
    transposed = isinstance(layer, nn.ConvTranspose2d)
    extra = layer.output_padding if transposed else (0, 0)
    settings = (layer.stride, layer.padding, layer.dilation, transposed, extra, layer.groups)
    g = torch.randn_like(torch.convolution(x, weight, None, *settings))

    def convolutions() -> None:
        torch.convolution(x, weight, None, *settings)
        torch.ops.aten.convolution_backward(g, x, weight, None, *settings, (not first, True, False))

    return convolutions


def logits_loss(x_hat: Tensor, x: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(x_hat, x)
