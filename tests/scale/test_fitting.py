"""One fit by real processes: any number of them gives equal bits, also after a SIGKILL."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aedetect import DenoisingAutoencoder, load, open_rows, scale

SETTINGS = {"latent_dim": 2, "hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0}
MEMORY = 103 * 1024 * (4 * 4 + 48)  # of 118 blocks

# Process 1 of 2 kills itself in the second epoch, the first time.
PROGRAM = f"""
    import os, sys
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from killing import kill_once
    from pathlib import Path
    from aedetect import DenoisingAutoencoder, open_rows, save, scale
    from aedetect.training.loop import Epochs

    folder, end = Path(sys.argv[1]), Epochs.end

    def dying(self, totals, held_out):
        if os.environ["RANK"] == "1" and os.environ["WORLD_SIZE"] == "2":
            if len(self._run.epochs) == 1:
                kill_once(folder)
        return end(self, totals, held_out)

    Epochs.end = dying
    with scale.main_process_first():
        rows = open_rows(folder / "x.parquet", cache=folder / "cache", memory={MEMORY})
    detector = DenoisingAutoencoder(**{SETTINGS}, checkpoint=folder / "checkpoint")
    scale.fit(detector, rows)
    save(detector, folder / f"model-{{os.environ['RANK']}}")
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    X = np.random.default_rng(0).normal(size=(120_000, 4)).astype(np.float32)
    path = tmp_path_factory.mktemp("table") / "x.parquet"
    pd.DataFrame(X, columns=list("abcd")).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def scores(table):
    """Return the rows, and their scores by one process."""
    rows = open_rows(table, memory=MEMORY)
    detector = scale.fit(DenoisingAutoencoder(**SETTINGS), rows)
    return detector.score_samples(rows[:500])


@pytest.mark.parametrize("n_processes", [2, 4])
def test_torchrun_gives_the_bits_of_one_process(n_processes, table, scores, tmp_path):
    (tmp_path / "x.parquet").symlink_to(table)
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, "-m", "torch.distributed.run", "--max-restarts", "1"]
    command += ["--nproc-per-node", str(n_processes), "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    subprocess.run(
        [*command, tmp_path / "program.py", tmp_path], check=True, env=environment, timeout=160
    )
    assert (tmp_path / "killed-0").exists() == (n_processes == 2)
    assert not (tmp_path / "checkpoint").exists()
    for rank in range(n_processes):
        detector = load(tmp_path / f"model-{rank}")
        own = detector.score_samples(open_rows(table)[:500])
        np.testing.assert_array_equal(own, scores)


def test_the_trainer_of_ray_gives_the_bits_of_one_process(ray, table, scores, tmp_path):
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    def fit(settings):
        from aedetect import DenoisingAutoencoder, open_rows, save, scale

        with scale.main_process_first():
            rows = open_rows(table, cache=tmp_path / "cache", memory=MEMORY)
        detector = DenoisingAutoencoder(**settings, checkpoint=tmp_path / "checkpoint")
        save(scale.fit(detector, rows), tmp_path / "model")

    TorchTrainer(
        fit,
        train_loop_config=SETTINGS,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(
            storage_path=str(tmp_path), failure_config=FailureConfig(max_failures=2)
        ),
    ).fit()
    own = load(tmp_path / "model").score_samples(open_rows(table)[:500])
    np.testing.assert_array_equal(own, scores)
