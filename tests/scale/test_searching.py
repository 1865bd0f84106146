"""Searches on the workers of Ray and Dask: the results of one process, whoever dies."""

from __future__ import annotations

import os

import numpy as np
import pytest
from killing import kill_once
from sklearn.model_selection import GridSearchCV

from aedetect import AutoencoderTransformer, open_rows, scale
from aedetect.model_selection import GridSearch

GRID = {"learning_rate": [1e-3, 3e-3], "latent_dim": [1, 2]}


class Scorer:
    """Kills the first worker that comes."""

    def __init__(self, folder=None):
        self.folder, self.spared = folder, os.getpid()

    def __call__(self, estimator, X, y=None):
        if self.folder is not None and os.getpid() != self.spared:
            kill_once(self.folder)
        return estimator.score_samples(X).mean()


@pytest.mark.parametrize("search", [GridSearchCV, GridSearch])
def test_a_search_survives_a_killed_worker(search, engine, frame, tmp_path):
    detector = AutoencoderTransformer(hidden_layer_sizes=(4,), max_epochs=1, random_state=0)
    rows = open_rows(frame, cache=tmp_path / "cache") if search is GridSearchCV else frame[:300]
    own = search(detector, GRID, scoring=Scorer(), cv=2, refit=False).fit(rows)
    with scale.parallel_on(engine, n_jobs=2):
        found = search(detector, GRID, scoring=Scorer(tmp_path), cv=2, refit=False).fit(rows)
    assert (tmp_path / "killed-0").exists()
    for name in ("mean_test_score", "split0_test_score"):
        np.testing.assert_array_equal(found.cv_results_[name], own.cv_results_[name])
