"""Tests of the inference loop: a row gets the same bits in any company, anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from same_bits import CASES, differences
from torch import nn

from aedetect import AutoencoderTransformer
from aedetect.model.inference import find_places, infer
from aedetect.networks import Autoencoder

VARIABLES = ("MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
FEW = ("one column", "default", "residual", "own", "conv")
INSTRUCTION_SETS = {  # and the cases that are compared, none for all
    ("AVX512", "avx512", "AVX512_CORE"): FEW,
    ("AVX2", "avx2", "AVX2"): (),
    ("SSE4_2", "default", "SSE41"): FEW,
}


@pytest.mark.parametrize("case", CASES)
def test_rows_get_the_same_bits_in_any_company_and_on_any_number_of_threads(case):
    assert list(differences(case)) == []


@pytest.mark.parametrize("instructions", INSTRUCTION_SETS, ids="-".join)
def test_rows_get_the_same_bits_under_other_instruction_sets(instructions):
    done = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("same_bits.py"),
            *INSTRUCTION_SETS[instructions],
        ],
        env={**os.environ, **dict(zip(VARIABLES, instructions, strict=True))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


X = np.random.RandomState(0).randn(200, 5).astype(np.float32)


def six_at_a_time(x):
    """Return twice the rows as a processor might that works on six rows at a time."""
    full = len(x) // 6 * 6
    return torch.cat([2 * x[:full], 2 * x[full:] * (1 + 1e-6)])


def test_places_that_differ_are_not_used():
    assert find_places(six_at_a_time, (64, 5)).tolist() == list(range(60))
    whole = infer(six_at_a_time, X)
    np.testing.assert_array_equal(whole, 2 * X)
    np.testing.assert_array_equal(infer(six_at_a_time, X[[77]]), whole[[77]])


def test_places_that_differ_in_between_are_not_used():
    """A difference far behind the point would decide which neighbours are nearest."""
    places = find_places(lambda x: six_at_a_time(x).sign(), (64, 5))
    assert places.tolist() == list(range(60))


def test_a_quarter_of_the_places_can_be_all_that_agree():
    """A processor may work on four rows at a time and round each of them in another way."""

    def four_at_a_time(x):
        return 2 * x * (1 + 1e-6 * (torch.arange(len(x)) % 4)[:, None])

    assert find_places(four_at_a_time, (64, 5)).tolist() == list(range(0, 64, 4))
    assert find_places(lambda x: four_at_a_time(x).sign(), (64, 5)).tolist() == list(
        range(0, 64, 4)
    )


def test_columns_are_not_taken_for_rows():
    assert len(find_places(lambda x: (x.T @ x).sum() + x, (64, 64))) == 64


def test_a_first_place_that_differs_is_not_used():
    def first_differs(x):
        return torch.cat([x[:1] * (1 + 1e-6), x[1:]])

    assert find_places(first_differs, (64, 5)).tolist() == list(range(1, 64))


def test_places_are_found_once_a_function_and_width():
    calls, known = [], {}

    def double(x):
        calls.append(x.shape)
        return 2 * x

    infer(double, X, name="double", known=known)
    n_first = len(calls)
    infer(double, X, name="double", known=known)
    assert len(calls) - n_first == 4  # tiles of 64 rows
    assert n_first > 4


def test_many_rows_are_computed_in_large_tiles():
    sizes = []

    def double(x):
        sizes.append(len(x))
        return 2 * x

    known = {}
    rows = np.resize(X, (1100, 5))
    for _ in range(2):
        sizes.clear()
        whole = infer(double, rows, name="double", known=known, n_threads=1)
        np.testing.assert_array_equal(whole, 2 * rows)
    assert sizes == [512, 512, 64, 64]
    sizes.clear()
    infer(double, rows, name="double", known=known, n_threads=1, large=False)
    assert set(sizes) == {64}


def test_a_network_of_the_users_own_sees_few_rows_at_a_time():
    """It may need any amount of memory for a row."""
    sizes = []

    class Noting(nn.Linear):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    network = Autoencoder(Noting(5, 2), nn.Linear(2, 5))
    detector = AutoencoderTransformer(network=network, max_epochs=1, random_state=0).fit(X)
    sizes.clear()
    detector.score_samples(np.resize(X + 1, (1100, 5)))
    assert set(sizes) == {64}


def by_size(x):
    """Return twice the rows as a processor might that rounds many rows in another way."""
    return 2 * x if len(x) == 64 else 2 * x * (1 + 1e-6)


def in_sign(x):
    """Return what hides by its sign that it is another for many rows."""
    return by_size(x).sign()


def by_turns(x):
    """Return twice the rows with a step that many rows skip."""
    return 2 * x if len(x) == 64 else x + x - x + x


@pytest.mark.parametrize("function", [by_size, in_sign, by_turns])
def test_large_tiles_that_differ_are_not_used(function):
    assert len(find_places(function, (512, 5), like=(64, 5))) == 0
    rows = np.resize(X, (1100, 5))
    whole = infer(function, rows, name="f", known={})
    np.testing.assert_array_equal(infer(function, rows[[77]], name="f", known={}), whole[[77]])


def test_places_of_a_large_tile_that_differ_are_not_used():
    assert find_places(six_at_a_time, (512, 5), like=(64, 5)).tolist() == list(range(510))
    rows = np.resize(X, (1100, 5))
    np.testing.assert_array_equal(infer(six_at_a_time, rows, name="f", known={}), 2 * rows)


def test_what_is_computed_in_place_afterwards_is_compared_as_it_was():
    def sorted_in_place(x):
        values = 2 * x
        values.numpy().sort(axis=1)
        return values.sum(dim=1)

    assert len(find_places(sorted_in_place, (512, 5), like=(64, 5))) == 512


def test_a_network_that_keeps_what_it_was_given_is_evaluated_by_one_thread():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            self.given = x
            y = self.layer(x)
            assert self.given is x, "another thread came between"
            return y

    rows = np.random.RandomState(0).randn(5000, 4)
    network = Autoencoder(Keeping(), Keeping())
    AutoencoderTransformer(network=network, max_epochs=1, random_state=0).fit(rows).predict(rows)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_number_of_threads_is_left_as_it_is(n_threads):
    def number_elsewhere():
        numbers = []
        thread = Thread(target=lambda: numbers.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return numbers[0]

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        infer(lambda x: x, X)
        assert torch.get_num_threads() == n_threads
        assert number_elsewhere() == n_threads
    finally:
        torch.set_num_threads(before)


FITS = """
import numpy as np
import torch
from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
X = np.random.RandomState(0).randn(100, 40)
for n_threads in (None, 2, 1):
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    for estimator in (
        AutoencoderTransformer(n_members=2),
        DenoisingAutoencoder(hidden_layer_sizes=(200,)),
        DenoisingAutoencoder(missing="mask", contamination=0.1),
        VAEDetector(network="residual"),
    ):
        estimator.set_params(max_epochs=2, random_state=0).fit(X)
        print(estimator.offset_.hex(), estimator.score_samples(X).tobytes().hex())
"""


def test_fits_with_small_steps_do_not_depend_on_the_number_of_threads():
    """Whether PyTorch finds it in the environment, as the first, or is told it."""
    done = subprocess.run(
        [sys.executable, "-c", FITS],
        env={**os.environ, "OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(set(lines[:4])) == 4
    assert lines[:4] == lines[4:8] == lines[8:]
