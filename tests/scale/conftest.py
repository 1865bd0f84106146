"""Real engines on this machine: small, with hard limits of time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aedetect import AutoencoderTransformer
from aedetect.scale.engines import WORKERS_OF_DASK

LIMIT = 170  # seconds, after which a test has hung

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Workers import the tests.
os.environ["PYTHONPATH"] = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/scale" in item.path.as_posix():
            item.add_marker(pytest.mark.engines)
            item.add_marker(pytest.mark.filterwarnings("ignore"))  # of the engines


@pytest.fixture(autouse=True)
def hard_limit():
    def stop(number, frame):
        raise TimeoutError(f"The test took more than {LIMIT} seconds.")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)


@pytest.fixture(scope="session")
def ray():
    ray = pytest.importorskip("ray")
    ray.init(
        num_cpus=3, include_dashboard=False, object_store_memory=250_000_000, log_to_driver=False
    )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def dask():
    distributed = pytest.importorskip("distributed")
    from dask import config

    config.set({"distributed.scheduler.allowed-failures": 1})  # the default is 3
    config.set(WORKERS_OF_DASK)
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield client


@pytest.fixture(params=["ray", "dask"])
def engine(request):
    """Return the name of an engine, which is running."""
    running = request.getfixturevalue(request.param)
    if request.param == "dask":
        running.wait_for_workers(2, timeout=60)  # the test before may have killed one
    return request.param


@pytest.fixture(scope="session")
def frame():
    rows = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    return pd.DataFrame(rows, columns=list("abcd"))


@pytest.fixture(scope="session")
def model(frame):
    return AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(frame)
