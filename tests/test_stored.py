"""Fitted estimators as NumPy arrays and plain Python, and back."""

from __future__ import annotations

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from aedetect import (
    AutoencoderTransformer,
    DenoisingAutoencoder,
    VAEDetector,
    load,
    save,
)
from aedetect.model import StateError
from aedetect.networks import Autoencoder, MaskInput
from aedetect.scoring import EVIDENCE_SCORES, SCORES, Detector

X = np.random.RandomState(0).rand(30, 6)
HOLES = np.where(np.random.RandomState(1).rand(30, 6) < 0.1, np.nan, X)
TINY = {"hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}


class TiedDecoder(nn.Module):
    """A decoder that uses the encoder's weight, and a tensor that is not among the weights."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.shift = torch.ones(6)

    def forward(self, z):
        return z @ self.layer.weight[:, :6] + self.shift


def own_network(missing):
    """Return a network whose decoder shares the weight of its encoder."""
    is_masked = missing == "mask"
    layer = nn.Linear(12 if is_masked else 6, 2)
    entry = [MaskInput()] if is_masked else []
    return Autoencoder(nn.Sequential(*entry, layer), TiedDecoder(layer))


def copies(detector, folder):
    """Yield the estimator after every way to store it."""
    yield pickle.loads(pickle.dumps(detector))
    yield copy.deepcopy(detector)
    path = folder / "detector.safetensors"
    save(detector, path)
    network = detector.network
    yield load(path, network=network if isinstance(network, Autoencoder) else None)


def assert_round_trip(detector, X, folder):
    """Compare scores, explanations and repairs bit for bit after every way to store."""
    odd = X[:1].copy()
    odd[0, 2] += 3
    scores, contributions = detector.score_samples(X), detector.explain(odd)
    repaired, _ = detector.detector_.repair(odd)
    for twin in copies(detector, folder):
        np.testing.assert_array_equal(twin.score_samples(X), scores)
        np.testing.assert_array_equal(twin.explain(odd), contributions)
        np.testing.assert_array_equal(twin.detector_.repair(odd)[0], repaired)
        np.testing.assert_array_equal(twin.predict(X), detector.predict(X))
        assert twin.offset_ == detector.offset_


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("score", SCORES)
def test_every_score_is_stored_bit_for_bit(score, n_members, tmp_path):
    kind = VAEDetector if score in EVIDENCE_SCORES else DenoisingAutoencoder
    detector = kind(2, anomaly_score=score, n_members=n_members, **TINY).fit(X)
    assert_round_trip(detector, X, tmp_path)


@pytest.mark.parametrize("missing", ["error", "mask"])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("network", ["dense", "conv", "residual", "own"])
def test_every_kind_of_network_is_stored_bit_for_bit(network, n_members, missing, tmp_path):
    settings = {**TINY, "n_members": n_members, "missing": missing, "anomaly_score": "robust"}
    settings["network"] = own_network(missing) if network == "own" else network
    settings["image_shape"] = (1, 2, 3) if network == "conv" else None
    rows = HOLES if missing == "mask" else X
    assert_round_trip(AutoencoderTransformer(2, **settings).fit(rows), rows, tmp_path)


def leaves(value):
    """Yield the values inside dictionaries, lists and tuples."""
    if isinstance(value, dict | list | tuple):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from leaves(entry)
    else:
        yield value


def test_a_state_is_plain_and_shares_no_memory_with_the_weights():
    detector = DenoisingAutoencoder(2, n_members=2, missing="mask", **TINY).fit(X)
    state = detector.__getstate__()
    kinds = {type(value) for value in leaves(state)}
    assert kinds <= {np.ndarray, str, int, float, bool, type(None)}
    before = detector.score_samples(X)
    for weight in state["detector_"]["model"]["weights"].values():
        weight *= 0
    np.testing.assert_array_equal(detector.score_samples(X), before)


def test_a_state_of_arrays_that_are_read_only_is_taken(tmp_path):
    detector = DenoisingAutoencoder(2, **TINY).fit(X)
    joblib.dump(detector, tmp_path / "detector")
    twin = joblib.load(tmp_path / "detector", mmap_mode="r")
    np.testing.assert_array_equal(twin.repair(X), detector.repair(X))
    np.testing.assert_array_equal(twin.corrupt(X, 0), detector.corrupt(X, 0))


def test_networks_of_ones_own_keep_shared_weights(tmp_path):
    detector = AutoencoderTransformer(network=own_network("error"), max_epochs=1).fit(X)
    for twin in copies(detector, tmp_path):
        assert twin.network_.decoder.layer is twin.network_.encoder[0]
        twin.set_params(warm_start=True, random_state=0).fit(X)
        assert twin.network_.decoder.layer is twin.network_.encoder[0]


def test_the_state_of_an_unfitted_estimator_is_its_parameters():
    estimator = VAEDetector(3)
    assert pickle.loads(pickle.dumps(estimator)).get_params() == estimator.get_params()


def test_a_pickle_of_an_earlier_version_is_refused_with_its_parameters():
    state = {**vars(VAEDetector(3, beta=0.5)), "network_": {}, "_blueprint": {"kind": "dense"}}
    rule = r"earlier version.*Fit it again.*VAEDetector\(beta=0\.5, latent_dim=3\)"
    with pytest.raises(StateError, match=rule):
        VAEDetector.__new__(VAEDetector).__setstate__(state)


def test_a_state_of_another_class_is_refused():
    state = DenoisingAutoencoder(2, **TINY).fit(X).__getstate__()
    with pytest.raises(StateError, match="VAEDetector has networks of another kind"):
        VAEDetector.__new__(VAEDetector).__setstate__(state)
    with pytest.raises(StateError, match="its noise is missing"):
        DenoisingAutoencoder(2).__setstate__({**state, "_corruption": None})


@pytest.mark.parametrize("network", ["dense", "conv", "residual"])
def test_shapes_are_found_without_memory(network):
    settings = {"network": network, "image_shape": (1, 2, 3), "n_members": 2, **TINY}
    model = AutoencoderTransformer(2, **settings).fit(X).detector_.model
    codes = model.shapes().codes
    assert codes.device.type == "meta"
    assert codes.shape == (2, 1, 2)


def test_a_detector_is_immutable_and_its_state_is_checked():
    detector = AutoencoderTransformer(2, **TINY).fit(X).detector_
    twin = Detector.from_state(detector.to_state())
    np.testing.assert_array_equal(twin.score_samples(X), detector.score_samples(X))
    assert detector.with_offset(-1.0).offset == -1.0 != detector.offset
    for change in ({"offset": np.nan}, {"usual_rows": np.zeros((0, 6), np.float32)}, {"more": 1}):
        with pytest.raises(StateError):
            Detector.from_state({**detector.to_state(), **change})
