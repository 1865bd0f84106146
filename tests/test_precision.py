"""Precision of products: ours inside our blocks, the program's own outside."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch.backends import cudnn, mkldnn
from torch.backends.cuda import matmul

from aedetect import AutoencoderTransformer
from aedetect.model import infer
from aedetect.training import exact
from aedetect.training.loop import Epochs
from aedetect.training.precision import HAS_OPERATORS, set_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")  # of which the flags can be set without one
newer = pytest.mark.skipif(not HAS_OPERATORS, reason="PyTorch has flags of operators from 2.9")


def flags():
    """Return all flags that PyTorch's products go by; None for one that contradicts another."""

    def read(get):
        try:
            return get()
        except RuntimeError:
            return None

    values = {
        "general": read(torch.get_float32_matmul_precision),
        "cudnn": read(lambda: cudnn.allow_tf32),
        "deterministic": cudnn.deterministic,
        "benchmark": cudnn.benchmark,
    }
    if HAS_OPERATORS:
        modules = (torch.backends, matmul, cudnn, cudnn.conv, cudnn.rnn, mkldnn, mkldnn.matmul)
        values |= {number: module.fp32_precision for number, module in enumerate(modules)}
    return values


def set_newest(value):
    torch.backends.fp32_precision = value


def set_library(value):
    cudnn.fp32_precision = value


def set_products(value):
    matmul.fp32_precision = value


def set_convolutions(value):
    cudnn.conv.fp32_precision = value


PROGRAMS = {
    "nothing": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "benchmark": lambda: setattr(cudnn, "benchmark", True),
    "newest tf32": lambda: set_newest("tf32"),
    "newest ieee": lambda: set_newest("ieee"),
    "library": lambda: set_library("tf32"),
    "products": lambda: set_products("tf32"),
    "convolutions": lambda: set_convolutions("ieee"),
    "both": lambda: (torch.set_float32_matmul_precision("high"), set_products("ieee")),
}
ONLY_NEWER = ("newest tf32", "newest ieee", "library", "products", "convolutions", "both")


@pytest.fixture(
    params=[pytest.param(p, marks=[newer] if p in ONLY_NEWER else []) for p in PROGRAMS]
)
def program(request):
    """Make a setting of a program's own, and undo it afterwards."""
    before = flags()
    PROGRAMS[request.param]()
    yield request.param
    cudnn.benchmark = before["benchmark"]
    torch.set_float32_matmul_precision(before["general"])
    if HAS_OPERATORS:
        modules = (torch.backends, matmul, cudnn, cudnn.conv, cudnn.rnn, mkldnn, mkldnn.matmul)
        for number, module in enumerate(modules):
            module.fp32_precision = before[number]
    assert flags() == before


def tensor_cores():
    """Return whether matrix products and convolutions of float32 may be rounded on a GPU."""
    if HAS_OPERATORS:
        return [module.fp32_precision == "tf32" for module in (matmul, cudnn.conv, cudnn.rnn)]
    return [matmul.allow_tf32, cudnn.allow_tf32]


def halved_on_the_cpu():
    if HAS_OPERATORS:
        modules = (mkldnn.matmul, mkldnn.conv)
        return any(module.fp32_precision not in ("none", "ieee") for module in modules)
    return torch.get_float32_matmul_precision() != "highest"


def test_float32_is_float32_whatever_the_program_has_set(program):
    before = flags()
    with set_precision("float32", CUDA):
        assert not any(tensor_cores())
        assert cudnn.deterministic
        assert not cudnn.benchmark
        with exact(CUDA):
            assert not any(tensor_cores())
        assert not any(tensor_cores())
    assert flags() == before
    with set_precision("float32", CPU):
        assert not halved_on_the_cpu()
    assert flags() == before


def test_tf32_is_tf32_whatever_the_program_has_set(program):
    before = flags()
    with set_precision("tf32", CUDA):
        assert all(tensor_cores())
    assert flags() == before


@newer
def test_flags_go_on_inheriting_from_the_general_one(program):
    if not program.startswith("newest"):
        pytest.skip("the program has set a flag that does not inherit")
    with set_precision("float32", CUDA), exact(CPU):
        pass
    for value in ("ieee", "tf32"):
        torch.backends.fp32_precision = value
        assert matmul.fp32_precision == mkldnn.matmul.fp32_precision == value


def test_inference_and_training_are_exact(program, monkeypatch):
    seen = []
    held_out = Epochs.held_out_losses

    def record(x):
        seen.append(halved_on_the_cpu())
        return x

    monkeypatch.setattr(Epochs, "held_out_losses", lambda e: seen.append("fit") or held_out(e))
    before = flags()
    infer(record, np.zeros((3, 4), np.float32))
    AutoencoderTransformer(max_epochs=1, device="cpu").fit(np.random.RandomState(0).rand(20, 3))
    assert set(seen) == {False, "fit"}
    assert flags() == before


def test_autocast_of_the_program_does_not_reach_scores(table):
    detector = AutoencoderTransformer(max_epochs=1, random_state=0, device="cpu").fit(table)
    scores, repaired = detector.score_samples(table[:3]), detector.repair(table)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(detector.score_samples(table[:3]), scores)
        np.testing.assert_array_equal(detector.repair(table), repaired)
        assert torch.is_autocast_enabled("cpu")


@newer
def test_a_setting_lasts_until_the_last_thread_is_done():
    torch.set_float32_matmul_precision("medium")
    entered, leave, found = threading.Event(), threading.Event(), []

    def stay():
        with exact(CPU):
            entered.set()
            leave.wait()
            found.append(halved_on_the_cpu())

    try:
        thread = threading.Thread(target=stay)
        with exact(CPU):
            thread.start()
            entered.wait()
        found.append(halved_on_the_cpu())  # after the first thread has left
        leave.set()
        thread.join()
        assert found == [False, False]
        assert halved_on_the_cpu()
    finally:
        torch.set_float32_matmul_precision("highest")
