"""scikit-learn's own checks: none may fail, and none may be expected to."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
from sklearn.ensemble import IsolationForest
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import _num_features

from aedetect import AutoencoderTransformer, ConformalDetector, DenoisingAutoencoder, VAEDetector

ESTIMATORS = [
    AutoencoderTransformer(max_epochs=5),
    DenoisingAutoencoder(max_epochs=5),
    VAEDetector(max_epochs=5),
    AutoencoderTransformer(max_epochs=5, missing="mask"),
]
# Scores of one evaluation each: the places of rows in a tile are searched at every fit.
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 5, "anomaly_score": "reconstruction"}
VARIANTS = [
    AutoencoderTransformer(3, **SMALL, batch_norm=True, dropout=0.1),
    AutoencoderTransformer(**{**SMALL, "anomaly_score": "sap"}, network="residual"),
    DenoisingAutoencoder(
        **{**SMALL, "anomaly_score": "standardized"},
        tied_weights=True,
        contractive=0.1,
        noise="masking",
        contamination=0.1,
        scaling="standard",
    ),
]
ENSEMBLES = [
    VAEDetector(
        **{**SMALL, "anomaly_score": "elbo"}, network="residual", missing="mask", n_members=2
    ),
]
FOREST = IsolationForest(n_estimators=10)
CONFORMAL = [
    ConformalDetector(FOREST),
    ConformalDetector(FOREST, alpha=0.5, cv=3),
    ConformalDetector(DenoisingAutoencoder(**SMALL)),
]


class OnePixelHigh:
    """Takes the rows of any table as images one pixel high.

    No image shape fits the tables of all checks, so None stands for one that follows from the table
    that is fitted.
    """

    @property
    def image_shape(self):
        given = self.__dict__["image_shape"]
        return (1, 1, getattr(self, "_width", 0)) if given is None else given

    @image_shape.setter
    def image_shape(self, value):
        self.__dict__["image_shape"] = value

    def get_params(self, deep=True):
        return {**super().get_params(deep=deep), "image_shape": self.__dict__["image_shape"]}

    def fit(self, X, y=None):
        with suppress(TypeError):  # of what is no table, which fit refuses
            self._width = _num_features(X)
        return super().fit(X, y)

    def partial_fit(self, X, y=None):
        return super().partial_fit(X, y) if hasattr(self, "_width") else self.fit(X, y)


class ConvAutoencoder(OnePixelHigh, AutoencoderTransformer): ...


class ConvDenoising(OnePixelHigh, DenoisingAutoencoder): ...


class ConvVAE(OnePixelHigh, VAEDetector): ...


CONV = {**SMALL, "network": "conv", "hidden_layer_sizes": (4, 4)}
CONV_ESTIMATORS = [
    ConvAutoencoder(**CONV),
    ConvDenoising(**CONV, downsample="maxpool", upsample="unpool", dropout=0.1),
    ConvVAE(**CONV, batch_norm=True, upsample="transpose"),
    ConvAutoencoder(**CONV, missing="mask", downsample="maxpool", upsample="unpool"),
]


@pytest.mark.filterwarnings("ignore")  # the checks feed bad data on purpose
@pytest.mark.parametrize("estimator", ESTIMATORS + VARIANTS + ENSEMBLES, ids=str)
def test_no_estimator_check_fails(estimator, record_property):
    assert_no_check_fails(estimator, record_property)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", CONFORMAL, ids=str)
def test_no_estimator_check_fails_around_a_detector(estimator, record_property):
    assert_no_check_fails(estimator, record_property, at_least=40)  # a detector, no transformer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", CONV_ESTIMATORS, ids=str)
def test_no_estimator_check_fails_for_conv(estimator, record_property):
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
