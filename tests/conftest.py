"""Shared data, and the lines that count scikit-learn's estimator checks."""

from __future__ import annotations

import numpy as np
import pytest

import aedetect.estimators.base
from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector, datasets
from aedetect.training import resolve_device


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="where device='auto' trains: cpu, cuda or mps")


@pytest.fixture
def device(request):
    """Return the device that the suite was asked to run on."""
    return resolve_device(request.config.getoption("--device"))


@pytest.fixture(autouse=True)
def auto_device(request, monkeypatch):
    """Let ``device="auto"`` be the device that the suite was asked to run on."""
    resolve = aedetect.estimators.base.resolve_devices
    chosen = request.config.getoption("--device")
    monkeypatch.setattr(
        aedetect.estimators.base,
        "resolve_devices",
        lambda device: resolve(chosen if device == "auto" else device),
    )


def pytest_terminal_summary(terminalreporter):
    """Print the counts of scikit-learn's estimator checks, and of the tables drawn at random."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, counts in report.user_properties:
            if name == "estimator_checks":
                terminalreporter.write_line(f"check_estimator {counts}")
            if name == "any_input":
                terminalreporter.write_line(f"tables drawn at random: {counts}")


@pytest.fixture(
    params=[AutoencoderTransformer, DenoisingAutoencoder, VAEDetector], ids=lambda cls: cls.__name__
)
def estimator_class(request):
    return request.param


@pytest.fixture
def small(estimator_class):
    """Return an estimator that trains in a blink."""
    return estimator_class(2, hidden_layer_sizes=(8,), max_epochs=3, random_state=0)


@pytest.fixture(scope="session")
def table():
    """Return 60 correlated rows of 5 columns in unlike units."""
    rng = np.random.RandomState(0)
    rows = rng.randn(60, 2) @ rng.randn(2, 5) + 0.1 * rng.randn(60, 5)
    return rows * [1, 10, 0.1, 5, 1e3]


@pytest.fixture(scope="session")
def normal():
    """Return 240 rows of 6 columns in unlike units that depend on two causes."""
    rng = np.random.RandomState(0)
    rows = rng.randn(240, 2) @ rng.randn(2, 6) + 0.2 * rng.randn(240, 6)
    return rows * [1, 10, 0.1, 5, 1e3, 1] + [0, 5, 0, 100, 0, 1]


@pytest.fixture(scope="session")
def digits():
    return datasets.load_digits()
