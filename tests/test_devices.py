"""Where fitted estimators compute: on the CPU, on a stand-in, and on the device of the suite."""

from __future__ import annotations

import copy
import functools
import os
import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from stand_in import META, OneDevice
from torch import nn

from aedetect import (
    AutoencoderTransformer,
    ConformalDetector,
    DenoisingAutoencoder,
    VAEDetector,
    load,
    save,
)
from aedetect.estimators.memo import Memo, Rehearsal
from aedetect.model import Fitted, View, infer
from aedetect.model import inference as inference_module
from aedetect.model.inference import _infer_on_device, by_turns, device_blocks
from aedetect.networks import Autoencoder
from aedetect.scoring import SCORES
from aedetect.scoring.explanations import log_slope
from aedetect.scoring.marks import fit_marks
from aedetect.scoring.score import Reference
from aedetect.scoring.whitening import _factorise, _factorise_on
from aedetect.training import find_device, resolve_devices

CPU = torch.device("cpu")
X = np.random.RandomState(0).randn(200, 5).astype(np.float32)


def make(kind=AutoencoderTransformer, **settings):
    return kind(2, **{"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0, **settings})


def weights_of(estimator):
    return next(estimator.network_.parameters())


# Inference.


def double(x):
    return torch.cat([2 * x, x.sum(dim=1, keepdim=True)], dim=1)


def test_tiles_on_a_device_give_what_those_on_the_cpu_give(monkeypatch):
    monkeypatch.setattr(inference_module, "DEVICE_VALUES", 5 * 64)  # four tiles
    np.testing.assert_allclose(_infer_on_device(double, X, CPU), infer(double, X), rtol=1e-6)


def test_results_are_copied_back_once(monkeypatch):
    monkeypatch.setattr(inference_module, "DEVICE_VALUES", 5 * 64)
    copies, tiles = [], []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda t: copies.append(len(t)) or cpu(t))
    _infer_on_device(lambda x: tiles.append(len(x)) or x, X, CPU)
    assert tiles == [64] * 4
    assert copies == [200]


def test_tiles_shrink_until_the_memory_of_the_device_holds_them():
    sizes = []

    def needs_memory(x):
        sizes.append(len(x))
        if len(x) > 100:
            raise torch.OutOfMemoryError
        return 2 * x

    np.testing.assert_array_equal(_infer_on_device(needs_memory, X, CPU), 2 * X)
    assert sizes[0] > 1000
    assert sizes[-1] == 64
    with pytest.raises(MemoryError, match=r"'cpu' does not hold 32 rows.*to\('cpu'\)"):
        _infer_on_device(lambda x: needs_memory(x.repeat(10, 1)), X, CPU)


def test_fitted_arrays_stay_on_the_device():
    fitted = Fitted(X, X[:, 0])
    with torch.inference_mode():
        there = fitted.on(META)
    assert fitted.on(META) is there
    assert {tensor.device for tensor in there} == {META}
    assert not there[0].is_inference()  # for gradients, later
    assert torch.equal(fitted.on(CPU)[0], torch.from_numpy(X))


@pytest.mark.parametrize("width", [5, 300])
def test_whitenings_fitted_on_a_device_are_those_of_the_cpu(width):
    rows = np.random.RandomState(0).randn(100, width).astype(np.float32)
    mean = rows.mean(axis=0)
    here, there = _factorise(rows - mean.astype(np.float64)), _factorise_on(CPU, rows, mean)
    for one, other in zip(here[2:], there[2:], strict=True):
        np.testing.assert_allclose(one, other)
    if here[0] is None:
        np.testing.assert_allclose(here[1], there[1], atol=1e-10)
    else:  # the axes may point the other way
        centred = rows - mean
        lengths = [np.square(centred @ b.T @ w.T).sum(axis=1) for b, w in (here[:2], there[:2])]
        np.testing.assert_allclose(*lengths, rtol=1e-4)


def on_stand_in(detector):
    """Return a fitted detector that computes on the stand-in."""
    return replace(detector, model=replace(detector.model, place=META))


@functools.cache
def fitted_detector(kind, missing):
    return make(kind, missing=missing, n_members=2, max_epochs=1).fit(X).detector_


@pytest.mark.parametrize("missing", ["error", "mask"])
@pytest.mark.parametrize("name", sorted(SCORES))
def test_scores_stay_on_the_device_of_the_rows(name, missing):
    kind = VAEDetector if SCORES[name].needs_variational else DenoisingAutoencoder
    detector = fitted_detector(kind, missing)
    score = SCORES[name].fit(name, detector.model, Reference(X, 20))
    detector = on_stand_in(replace(detector, score=score))
    assert detector.model.placed_network  # is copied, from one device to the other
    with OneDevice(), torch.inference_mode():
        view = View(detector.model, torch.zeros(7, 5, device=META))
        scores = detector._levelled(score(view.filled), view)
        parts = score.parts(view.filled)
    assert scores.shape == (7,)
    assert scores.device == META
    assert parts is None or parts.device == META
    with OneDevice():
        slope = log_slope(lambda x: score(View(detector.model, x)), torch.zeros(7, 5, device=META))
    assert slope.shape == (7, 5)
    assert slope.device == META


def test_a_stand_in_finds_tensors_on_two_devices():
    with OneDevice(), pytest.raises(AssertionError, match=r"cpu.*meta"):
        torch.zeros(2) + torch.zeros(2, device=META)


def test_scores_of_known_rows_are_found_in_tiles_on_a_device(monkeypatch):
    """As those of the whole block are, which is how the CPU finds them."""
    detector = make(DenoisingAutoencoder).fit(X).detector_
    in_tiles = detector.model.map(detector.measure, X)
    np.testing.assert_allclose(in_tiles, -detector.score_samples(X), rtol=1e-6)
    marks = fit_marks(X, np.ones(len(X)))
    assert marks.replace_known(torch.from_numpy(X), torch.zeros(len(X)).double()).all()


# Several devices.


def test_devices_are_named_one_by_one():
    assert resolve_devices("cpu") == (CPU,)
    assert resolve_devices(["cpu", CPU]) == (CPU, CPU)
    with pytest.raises(ValueError, match=r"device=\[\] names no device"):
        resolve_devices([])
    with pytest.raises(ValueError, match=r"\['cpu', 'meta'\] mixes kinds .* one kind"):
        resolve_devices(["cpu", "meta"])
    with pytest.raises(ValueError, match="device='cuda:99' cannot be used"):
        make(device=["cuda:99", "cpu"]).fit(X)


def test_a_list_of_devices_changes_no_result(small, tmp_path):
    one = small.fit(X)
    several = clone(small).set_params(device=["cpu", "cpu"]).fit(X)
    np.testing.assert_array_equal(one.score_samples(X), several.score_samples(X))
    save(several, tmp_path / "detector.safetensors")
    loaded = load(tmp_path / "detector.safetensors", device=["cpu", "cpu"])
    assert loaded.device == ["cpu", "cpu"]
    np.testing.assert_array_equal(one.score_samples(X), loaded.score_samples(X))


def test_the_tile_of_a_row_does_not_depend_on_the_number_of_devices(monkeypatch):
    monkeypatch.setattr(inference_module, "DEVICE_VALUES", 5 * 64)

    def tiles(n_devices):
        blocks = device_blocks(1000, 5, n_values=5 * 200, n_devices=n_devices)
        rows = [np.arange(1000)[block] for block in blocks]
        assert len(rows) >= n_devices
        return [tile.tolist() for part in rows for tile in np.split(part, range(64, len(part), 64))]

    assert tiles(1) == tiles(2) == tiles(3) == tiles(16)
    assert device_blocks(10, 5, n_values=1, n_devices=4) == [slice(0, 64)]


def test_tasks_are_taken_by_turns_in_threads_of_their_own():
    barrier, threads = threading.Barrier(3), []

    def make_function(number):
        def function(task):
            if task < 3:
                barrier.wait(timeout=60)  # all three are at work
                threads.append(threading.current_thread())
            return np.array([number, task])

        return function

    results = by_turns([make_function(number) for number in range(3)], range(7))
    assert [result.tolist() for result in results] == [[t % 3, t] for t in range(7)]
    assert len(set(threads)) == 3
    with pytest.raises(ZeroDivisionError):
        by_turns([make_function(0), lambda task: 1 / 0], [3, 4, 5])


def test_devices_share_the_rows(monkeypatch):
    monkeypatch.setattr(inference_module, "DEVICE_VALUES", 5 * 64)
    detector = make(DenoisingAutoencoder, n_members=2).fit(X).detector_
    model = replace(detector.model, place=META, also=(META, META))
    places = {id(twin): [] for twin in (model, *model._twins)}

    def note(model, function, rows):
        places[id(model)].append(len(rows))
        return rows.sum(axis=1)

    monkeypatch.setattr(type(model), "_map_on_device", note)
    rows = np.concatenate([X, X])
    np.testing.assert_array_equal(model.map(None, rows), rows.sum(axis=1))
    assert list(places.values()) == [[192], [192], [16]]
    assert [twin.device for twin in model._twins] == [META, META]
    monkeypatch.undo()
    shared = replace(detector.model, also=(CPU, CPU))
    parts = shared._map_on_devices(detector.measure, X)
    expected = replace(detector.model, also=())._map_on_devices(detector.measure, X)
    np.testing.assert_array_equal(np.concatenate(parts), np.concatenate(expected))


def test_copies_compute_on_the_devices_that_the_machine_has(small, monkeypatch):
    small.fit(X)
    model = replace(small.detector_.model, place=META, also=(torch.device("meta", 1),))
    small.detector_ = replace(small.detector_, model=model)
    pickled = pickle.dumps(small)
    monkeypatch.setattr("aedetect.estimators.stored.find_device", torch.device)
    again = pickle.loads(pickled).detector_.model
    assert (again.device, again.also) == (META, model.also)
    monkeypatch.setattr("aedetect.estimators.stored.find_device", lambda name: META)
    again = pickle.loads(pickled).detector_.model
    assert (again.device, again.also) == (META, ())


def test_processes_of_a_search_have_a_device_each(tmp_path, monkeypatch):
    devices = tuple(torch.device("meta", number) for number in range(2))
    memo = Memo(str(tmp_path), 0, os.getpid())
    assert memo.choose(devices) == devices
    chosen = []
    for process in (5, 7, 5, 9):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        chosen.append(memo.choose(devices))
    assert chosen == [devices[:1], devices[1:], devices[:1], devices[:1]]
    assert memo.choose((CPU,)) == (CPU,)
    assert Memo(str(tmp_path / "none"), 0, 1).choose(devices) == devices[:1]
    turns = [Rehearsal(str(tmp_path), 0, 1, turn).choose(devices) for turn in range(3)]
    assert turns == [devices[:1], devices[1:], devices[:1]]


# Where an estimator computes.


def test_a_copy_of_the_network_follows_its_weights():
    model = on_stand_in(make().fit(X).detector_).model
    with torch.inference_mode():  # as rows are computed
        copied = model.placed_network
    assert not any(p.is_inference() for p in copied.parameters())  # explanations take gradients
    assert next(copied.parameters()).device == META
    assert model.placed_network is copied
    assert model.device == META
    assert next(model.network.parameters()).device == CPU
    with torch.no_grad():
        next(model.network.parameters()).zero_()
    assert model.placed_network is not copied


def test_an_estimator_moves_and_returns_itself(small):
    scores = small.fit(X).score_samples(X)
    network = small.network_
    assert small.to("cpu") is small
    assert small.network_ is network
    assert weights_of(small.to("meta")).device == META
    assert small.detector_.model.device == META
    assert weights_of(make().fit(X)).device == CPU
    np.testing.assert_array_equal(small.fit(X).to("cpu").score_samples(X), scores)


def test_a_move_that_fails_changes_nothing(small, monkeypatch):
    scores = small.fit(X).score_samples(X)
    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "to", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))
        with pytest.raises(torch.OutOfMemoryError):
            small.to("meta")
    np.testing.assert_array_equal(small.score_samples(X), scores)


def test_mps_cannot_score(small, monkeypatch):
    small.fit(X)
    monkeypatch.setattr("aedetect.estimators.base.resolve_devices", lambda d: (torch.device(d),))
    with pytest.raises(ValueError, match=r"'mps' has no float64.*Use 'cpu'"):
        small.to("mps")


def test_a_conformal_detector_moves_all_its_inner_detectors():
    for inner in (make(), make_pipeline(StandardScaler(), make())):
        for cv in (None, 3):
            detector = ConformalDetector(inner, alpha=0.2, cv=cv, random_state=0).fit(X)
            offset = detector.offset_
            assert detector.to("meta") is detector
            assert len(detector.estimators_) == (cv or 1)
            for estimator in detector.estimators_:
                last = estimator if isinstance(estimator, AutoencoderTransformer) else estimator[-1]
                assert weights_of(last).device == META
            assert detector.offset_ == offset
    frozen = FrozenEstimator(make().fit(X))
    detector = ConformalDetector(frozen, alpha=0.2, prefit=True).fit(X).to("meta")
    assert weights_of(frozen.estimator).device == META
    forest = ConformalDetector(IsolationForest(n_estimators=2), alpha=0.2).fit(X)
    with pytest.raises(TypeError, match="inner detector is IsolationForest"):
        forest.to("cpu")


def test_copies_compute_where_the_original_does_if_the_machine_can(small, monkeypatch):
    small.fit(X)
    small.detector_ = on_stand_in(small.detector_)
    pickled = pickle.dumps(small)
    monkeypatch.setattr("aedetect.estimators.stored.find_device", torch.device)
    for twin in (pickle.loads(pickled), copy.deepcopy(small)):
        assert twin.detector_.model.device == META
        assert weights_of(twin).device == CPU
    monkeypatch.undo()
    elsewhere = pickle.loads(pickled)  # no machine has the stand-in for an accelerator
    assert elsewhere.detector_.model.device == CPU
    assert elsewhere.score_samples(X).shape == (len(X),)


def test_files_hold_no_device(small, tmp_path):
    small.fit(X)
    scores = small.to("cpu").score_samples(X)
    small.detector_ = on_stand_in(small.detector_)
    save(small, tmp_path / "detector.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "detector.safetensors").score_samples(X), scores)


@pytest.mark.parametrize("name", ["nonsense", "meta", "cpu", ""])
def test_devices_that_are_no_accelerators_are_not_found(name):
    assert find_device(name) is None


def test_a_device_of_a_kind_is_found(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    found = [str(find_device(name)) for name in ("cuda", "cuda:1", "cuda:5", "mps")]
    assert found == ["cuda:0", "cuda:1", "cuda:0", "None"]


def test_a_moved_network_of_ones_own_is_pickled_on_the_cpu():
    own = Autoencoder(nn.Linear(5, 2), nn.Linear(2, 5))
    detector = AutoencoderTransformer(network=own, max_epochs=1, random_state=0).fit(X)
    detector.detector_ = replace(
        detector.detector_, model=replace(detector.detector_.model, place=META)
    )
    state = detector.__getstate__()
    assert {p.device for p in state["_own_network"].parameters()} == {CPU}


def test_training_goes_on_after_a_move(small):
    moved = small.set_params(warm_start=True).fit(X).to("cpu").fit(X)
    assert moved.n_iter_ == 6


def test_everything_is_computed_on_the_device_of_the_suite(small):
    """All methods, where ``device="auto"`` has trained, and on the CPU: alike but for rounding."""
    small.fit(X)
    there = [small.score_samples(X), small.transform(X), small.reconstruct(X), small.explain(X)]
    repaired = small.repair(X[:20])
    assert repaired.shape == (20, 5)
    small.to("cpu")
    here = [small.score_samples(X), small.transform(X), small.reconstruct(X), small.explain(X)]
    for one, other in zip(there, here, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)


def test_rows_are_scaled_on_a_device_as_on_the_cpu():
    rows = X.copy()
    rows[3, 1], rows[4, 2] = 1e4, -1e9  # far beyond the fences
    columns = make().fit(X).detector_.model.columns
    scaled = columns.apply_on_device(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(scaled, columns.apply(rows), rtol=1e-6)
    missing = np.where(rows > 1, np.nan, rows)
    scaled = columns.apply_on_device(torch.from_numpy(missing)).numpy()
    np.testing.assert_array_equal(np.isnan(scaled), np.isnan(missing))


def test_a_function_of_rows_is_mapped_on_a_device_as_on_the_cpu(monkeypatch):
    model = make(n_members=2).fit(X).detector_.model
    here = model.map(lambda view: view.x_hat, X)
    there = model._map_on_device(lambda view: view.x_hat, X)
    np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-6)
