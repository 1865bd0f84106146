"""Scoring in threads, and fitting in other processes, after PyTorch was used in this one."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.scoring import EVIDENCE_SCORES, SCORES

CASES = [
    (VAEDetector if score in EVIDENCE_SCORES else AutoencoderTransformer, score) for score in SCORES
]


def fit_small(estimator_class, score, X, **options):
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0, **options}
    return estimator_class(2, anomaly_score=score, **settings).fit(X)


@pytest.mark.parametrize(("estimator_class", "score"), CASES)
def test_eight_threads_score_as_one_does(table, estimator_class, score):
    detector = fit_small(estimator_class, score, table, batch_norm=True, n_members=2)
    methods = [detector.score_samples, detector.explain, detector.reconstruct, detector.transform]
    X = table[:40]
    expected = [method(X) for method in methods]
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(method, X) for _ in range(8) for method in methods]
        for number, answer in enumerate(answers):
            np.testing.assert_array_equal(answer.result(), expected[number % len(methods)])


def test_fits_in_threads_do_not_disturb_each_other(small, table):
    expected = clone(small).fit(table).score_samples(table)
    with ThreadPoolExecutor(4) as pool:
        fitted = pool.map(lambda _: clone(small).fit(table), range(8))
    for detector in fitted:
        np.testing.assert_array_equal(detector.score_samples(table), expected)


def test_workers_of_joblib_fit_and_score_as_this_process_does(table):
    small = fit_small(VAEDetector, "robust", table)
    fitted = Parallel(n_jobs=2)(delayed(clone(small).fit)(table) for _ in range(2))
    scores = Parallel(n_jobs=2)(delayed(small.score_samples)(table) for _ in range(2))
    expected = small.score_samples(table)
    for found in [*scores, *(detector.score_samples(table) for detector in fitted)]:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_new_processes_fit_and_score_as_this_one_does(table, method):
    small = fit_small(DenoisingAutoencoder, "robust", table, dropout=0.2)
    with multiprocessing.get_context(method).Pool(1) as pool:
        scores = pool.apply(small.score_samples, (table,))
        fitted = pool.apply(clone(small).fit, (table,))
    np.testing.assert_array_equal(scores, small.score_samples(table))
    np.testing.assert_array_equal(fitted.score_samples(table), scores)


THREADED = """
import multiprocessing
import numpy as np, torch
from aedetect import AutoencoderTransformer

torch.set_num_threads(2)
X = np.random.RandomState(0).rand(3000, 40)
detector = AutoencoderTransformer(
    4, hidden_layer_sizes=(64,), max_epochs=1, batch_size=3000, random_state=0
).fit(X)
scores = detector.score_samples(X)
with multiprocessing.get_context("fork").Pool(1) as pool:
    found = pool.apply(detector.score_samples, (X,))
    assert pool.apply(torch.get_num_threads) == 1
assert torch.get_num_threads() == 2
print((found == scores).all())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_of_a_process_with_several_threads_does_not_wait_for_them():
    done = subprocess.run([sys.executable, "-c", THREADED], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
