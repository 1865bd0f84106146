"""A node that goes for good takes no row with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("lost_node.py")


@pytest.mark.parametrize(("engine", "module"), [("ray", "ray"), ("dask", "distributed")])
def test_every_row_is_scored_once_though_a_node_goes(engine, module, tmp_path):
    pytest.importorskip(module)
    done = subprocess.run(  # the engine of the other tests stays as it is
        [sys.executable, PROGRAM, engine, tmp_path],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    said = f"{done.returncode}: {done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    assert "every row once\n" in done.stdout, said
    assert (tmp_path / "gone").exists()
