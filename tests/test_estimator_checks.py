"""scikit-learn's own checks: none may fail, and none may be expected to."""

from __future__ import annotations

from collections import Counter

import pytest
from sklearn.ensemble import IsolationForest
from sklearn.utils.estimator_checks import check_estimator

from aedetect import AutoencoderTransformer, ConformalDetector, DenoisingAutoencoder, VAEDetector
from aedetect.estimators import architecture, base

ESTIMATORS = [
    AutoencoderTransformer(),
    DenoisingAutoencoder(max_epochs=20),
    VAEDetector(max_epochs=20),
    AutoencoderTransformer(3, hidden_layer_sizes=(8,), max_epochs=5, batch_norm=True, dropout=0.1),
    AutoencoderTransformer(network="residual", hidden_layer_sizes=(8,), max_epochs=5),
    DenoisingAutoencoder(max_epochs=5, tied_weights=True, contractive=0.1),
    DenoisingAutoencoder(max_epochs=5, noise="masking", contamination=0.1, scaling="standard"),
    AutoencoderTransformer(max_epochs=5, missing="mask"),
    DenoisingAutoencoder(max_epochs=5, hidden_layer_sizes=(8,), missing="mask", tied_weights=True),
    VAEDetector(network="residual", hidden_layer_sizes=(8,), max_epochs=5, missing="mask"),
]
ENSEMBLES = [
    DenoisingAutoencoder(max_epochs=5, n_members=3),
    VAEDetector(network="residual", hidden_layer_sizes=(8,), max_epochs=5, n_members=2),
]
SMALL = {"network": "conv", "hidden_layer_sizes": (4, 4), "max_epochs": 5}
FOREST = IsolationForest(n_estimators=10)
CONFORMAL = [
    ConformalDetector(FOREST),
    ConformalDetector(FOREST, alpha=0.5, cv=3),
    ConformalDetector(DenoisingAutoencoder(hidden_layer_sizes=(8,), max_epochs=5)),
]
CONV_ESTIMATORS = [
    AutoencoderTransformer(**SMALL),
    AutoencoderTransformer(**SMALL, batch_norm=True, upsample="transpose"),
    DenoisingAutoencoder(**SMALL, downsample="maxpool", latent="map"),
    DenoisingAutoencoder(**SMALL, downsample="maxpool", upsample="unpool", dropout=0.1),
    VAEDetector(**SMALL),
    AutoencoderTransformer(**SMALL, missing="mask", downsample="maxpool", upsample="unpool"),
]


@pytest.mark.filterwarnings("ignore")  # the checks feed bad data on purpose
@pytest.mark.parametrize("estimator", ESTIMATORS + ENSEMBLES, ids=str)
def test_no_estimator_check_fails(estimator, record_property):
    assert_no_check_fails(estimator, record_property)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", CONFORMAL, ids=str)
def test_no_estimator_check_fails_around_a_detector(estimator, record_property):
    assert_no_check_fails(estimator, record_property, at_least=40)  # a detector, no transformer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", CONV_ESTIMATORS, ids=str)
def test_no_estimator_check_fails_for_conv(estimator, record_property, monkeypatch):
    # No image shape fits the tables of all checks, so each table is taken as its own: images one
    # pixel high.
    for module in (architecture, base):
        monkeypatch.setattr(module, "check_image", lambda _, n_features: (1, 1, n_features))
    assert_no_check_fails(estimator, record_property)


def assert_no_check_fails(estimator, record_property, *, at_least=51):
    results = check_estimator(estimator, on_fail=None)
    counts = Counter(result["status"] for result in results)
    inside = getattr(estimator, "network", None) or type(estimator.estimator).__name__
    n_expected = sum(result["expected_to_fail"] for result in results)
    record_property(
        "estimator_checks",
        f"{type(estimator).__name__}({inside}): {counts['passed']} passed,"
        f" {counts['failed']} failed, {n_expected} expected failures, {counts['skipped']} skipped",
    )
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert n_expected == 0
    assert counts["passed"] >= at_least
