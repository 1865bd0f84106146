"""Batches of rows that the device cannot hold, sent from main memory."""

from __future__ import annotations

import pytest
import torch
from training_runs import run_training

from aedetect.networks import dense_autoencoder, initialize
from aedetect.training import Objective, batches, make_generator
from aedetect.training.batches import _send, batches_of

CUDA = torch.device("cuda")
X = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
ORDERS = torch.stack([torch.arange(20), torch.arange(20).flip(0)])
BOUNDS = [(0, 6), (6, 12), (12, 18), (18, 20)]


class Event:
    """Stands for an event of a GPU; notes what it is asked."""

    log: list

    def record(self):
        self.log.append(("recorded", id(self)))

    def synchronize(self):
        self.log.append(("waited for", id(self)))


@pytest.fixture
def gpu(monkeypatch):
    """Let the CPU stand for a GPU; return the log of its events and of pinned memory."""
    log, empty_like = [], torch.empty_like
    monkeypatch.setattr(Event, "log", log, raising=False)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(
        torch.Tensor, "pin_memory", lambda t: log.append(("pinned", t.shape)) or t.clone()
    )
    monkeypatch.setattr(torch, "empty_like", lambda t, device: empty_like(t))
    return log


def test_batches_that_are_sent_are_those_that_are_taken(gpu):
    taken = list(batches_of(X, ORDERS, BOUNDS))
    for sent, expected in zip(_send(X, ORDERS, BOUNDS, CUDA), taken, strict=True):
        assert torch.equal(sent, expected)
    assert [batch.shape for batch in taken] == [(2, 6, 3)] * 3 + [(2, 2, 3)]


def test_a_batch_stays_while_two_more_are_sent(gpu):
    sent = list(_send(X, ORDERS, BOUNDS, CUDA))
    assert torch.equal(torch.cat(sent, dim=1)[0], X)


def test_two_buffers_are_pinned_and_filled_again_once_they_are_read(gpu):
    list(_send(X, ORDERS, BOUNDS, CUDA))
    assert gpu[:2] == [("pinned", (12, 3))] * 2
    events = [number for _, number in gpu[2:]]
    assert [word for word, _ in gpu[2:]] == ["waited for", "recorded"] * 4
    first, second = events[0], events[2]
    assert first != second
    assert events == [first, first, second, second] * 2


def test_rows_elsewhere_are_sent(monkeypatch):
    calls = []
    monkeypatch.setattr(batches, "_send", lambda *given: calls.append(given) or [])
    batches_of(X.to("meta"), ORDERS, BOUNDS)
    ((_, orders, _, device),) = calls
    assert orders.device.type == "meta"  # where the rows are
    assert device.type == "cpu"


def test_training_sends_rows_that_the_device_cannot_hold(device):
    """On a GPU rows in main memory give the numbers of rows on the device."""
    choices = {"activation": "relu", "latent_activation": "relu"}
    runs = []
    for x in (X, X.to(device)):
        network = dense_autoencoder(
            3, 2, hidden_layer_sizes=(4,), batch_norm=False, dropout=0.0, n_members=2, **choices
        )
        initialize(network, torch.Generator().manual_seed(0))
        generator = make_generator(0, device)
        runs.append(run_training(network.to(device), Objective("mse"), x, generator=generator))
    first, second = ([epoch[0] for epoch in run.epochs] for run in runs)
    assert first == pytest.approx(second)
