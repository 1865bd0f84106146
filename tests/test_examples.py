"""Every gallery script runs to its end, on fewer rows and for fewer epochs than in the gallery."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

from aedetect import datasets
from aedetect.estimators import fitting

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("plot_*.py"))
EVERY = 3  # of the digits is taken
MAX_EPOCHS = 4


@pytest.fixture
def shortened(monkeypatch):
    """The building of the documentation runs the scripts as they are."""
    load_digits, resolve_max_epochs = datasets.load_digits, fitting.resolve_max_epochs
    monkeypatch.setattr(datasets, "load_digits", lambda: [a[::EVERY] for a in load_digits()])
    monkeypatch.setattr(
        fitting, "resolve_max_epochs", lambda *given: min(MAX_EPOCHS, resolve_max_epochs(*given))
    )


@pytest.mark.usefixtures("shortened")
@pytest.mark.filterwarnings("ignore:.*could not be made normal")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_draws(path, monkeypatch):
    matplotlib.use("Agg")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.get_fignums()))
    runpy.run_path(str(path))
    plt.close("all")
    assert shown


def test_the_examples_are_there():
    assert len(EXAMPLES) >= 11
