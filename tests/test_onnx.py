"""Graphs agree with Python; each export takes seconds, so each covers several claims."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from torch import nn

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector, to_onnx
from aedetect.networks import Autoencoder
from aedetect.scoring import SCORES

pytest.importorskip("skl2onnx")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

BATCHES = [1, 7, 1000]
QUICK = {"hidden_layer_sizes": (16, 8), "max_epochs": 10, "random_state": 0}
IMAGES = {"image_shape": (1, 7, 9), "hidden_layer_sizes": (4, 6), "max_epochs": 3}


@cache
def make_table(n_rows=1300):
    """Return correlated rows; the mean of the first column is a million of its deviations."""
    rng = np.random.RandomState(0)
    rows = rng.randn(n_rows, 3) @ rng.randn(3, 6) + 0.1 * rng.randn(n_rows, 6)
    return rows * [1, 10, 0.1, 5, 1e3, 1] + [1e6, 0, 0, -3, 0, 0]


@cache
def make_images():
    """Return rows in [0, 1] of 7x9 pixels: neither side can be halved twice without a rest."""
    rng = np.random.RandomState(0)
    blobs = rng.rand(1300, 4) @ rng.rand(4, 63)
    return np.clip(blobs / 4 + 0.05 * rng.rand(1300, 63), 0, 1)


DETECTORS = {
    "dense": AutoencoderTransformer(3, **QUICK),
    "conv": AutoencoderTransformer(**{**QUICK, **IMAGES}, network="conv", batch_norm=True),
    "residual": AutoencoderTransformer(
        3,
        network="residual",
        activation="gelu",
        loss="huber",
        anomaly_score="standardized",
        **QUICK,
    ),
    "vae": VAEDetector(3, anomaly_score="elbo", beta=2.0, **QUICK),
    "bernoulli vae": VAEDetector(
        3, anomaly_score="reconstruction_probability", loss="bce", scaling=None, **QUICK
    ),
    "unpool": AutoencoderTransformer(
        **{**QUICK, **IMAGES},
        network="conv",
        downsample="maxpool",
        upsample="unpool",
        anomaly_score="mahalanobis",
    ),
    "transpose": AutoencoderTransformer(
        **{**QUICK, **IMAGES},
        network="conv",
        upsample="transpose",
        latent="map",
        anomaly_score="neighbors",
    ),
    "clean": DenoisingAutoencoder(3, n_members=2, contamination=0, **QUICK),
    "missing": DenoisingAutoencoder(3, missing="mask", **QUICK),
    "ensemble": AutoencoderTransformer(
        2,
        n_members=3,
        tied_weights=True,
        missing="mask",
        anomaly_score="latent_neighbors",
        activation="elu",
        **QUICK,
    ),
}
COMMON = ("dense", "conv", "missing")  # the others are slow: PyTorch takes seconds to trace each
OF_IMAGES = ("conv", "unpool", "transpose", "bernoulli vae")


def load(estimator, path, **settings):
    return onnxruntime.InferenceSession(to_onnx(estimator, path, **settings))


def answer(session, feeds):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


DTYPES = {"tensor(double)": "float64", "tensor(float)": "float32", "tensor(string)": object}


def columns_of(session, frame):
    """Return the feeds of a graph that takes a DataFrame's columns."""
    return {
        given.name: frame[[given.name]].to_numpy(DTYPES[given.type])
        for given in session.get_inputs()
    }


def assert_agree(outputs, estimator, X, *, atol=0.0):
    """Compare the outputs with those of Python; ``atol`` is for scores near 0."""
    scores = estimator.score_samples(X)
    np.testing.assert_allclose(outputs["score_samples"], scores, rtol=1e-5, atol=atol)
    decisions = estimator.decision_function(X)
    noise = 1e-5 * np.abs(scores) + atol
    assert (np.abs(outputs["decision_function"] - decisions) <= noise).all()
    clear = np.abs(decisions) > noise
    assert clear.any()
    np.testing.assert_array_equal(outputs["label"][clear], estimator.predict(X)[clear])


def with_slow_ones(names, common):
    """Return the names as parameters, those that are not common marked as slow."""
    return [
        name if name in common else pytest.param(name, marks=pytest.mark.slow) for name in names
    ]


@pytest.fixture(scope="module", params=with_slow_ones(DETECTORS, COMMON))
def exported(request, tmp_path_factory):
    """Return a detector, its graph, rows of which the first are training rows, and the file."""
    X = make_images() if request.param in OF_IMAGES else make_table()
    detector = DETECTORS[request.param].fit(X[:400])
    path = tmp_path_factory.mktemp("onnx") / "detector.onnx"
    return detector, load(detector, path), X[300:1300], path


@pytest.mark.parametrize("n_rows", BATCHES)
def test_a_graph_agrees_with_python(exported, n_rows):
    detector, session, X, _ = exported
    X = X[:n_rows]
    outputs = answer(session, {"X": X})
    assert_agree(outputs, detector, X)
    deviation = detector.detector_.model.columns.scaling.scale
    for name, unit in (("transform", 1), ("reconstruct", deviation)):
        expected = getattr(detector, name)(X)
        assert outputs[name].dtype == expected.dtype
        np.testing.assert_allclose(outputs[name] / unit, expected / unit, rtol=1e-5, atol=2e-5)


def test_every_score_has_its_graph():
    exported = {detector.anomaly_score for detector in DETECTORS.values()}
    in_others = {"sap", "robust", "sharp"}  # "auto"
    in_others |= {"density", "activations", "kernel_residual"}  # parts of "robust" and "sharp"
    in_others |= {"nap", "reconstruction"}  # of tests below
    in_others |= {"relative"}  # of tests/test_relative.py
    assert exported | in_others == {"auto", *SCORES}


def test_both_labels_are_given_and_what_is_not_finite_is_an_anomaly(exported):
    detector, session, X, _ = exported
    X = X[:5].copy()
    if detector.loss != "bce":  # Python refuses values outside [0, 1]
        X[0] += 100 * detector.detector_.model.columns.scaling.scale
    X[1, 0], X[2, 0] = np.nan, np.inf
    labels = answer(session, {"X": X})["label"]
    refused = [2] if detector.missing == "mask" else [1, 2]
    assert (labels[refused] == -1).all()
    others = np.delete(np.arange(5), refused)
    np.testing.assert_array_equal(labels[others], detector.predict(X[others]))
    assert detector.loss == "bce" or labels[0] == -1


def test_wild_or_missing_cells_and_training_rows_have_the_scores_of_python(exported):
    detector, session, X, _ = exported
    X = X[:60].copy()
    if detector.loss != "bce":
        X[::7, 2], X[3, 1] = 1e6, -1e9
    if detector.missing == "mask":
        X[::5, 0], X[1::5, 1:4] = np.nan, np.nan
    assert_agree(answer(session, {"X": X}), detector, X)


@pytest.fixture(scope="module")
def frame():
    """Return a table of numbers and strings with holes; its last columns are not used."""
    rng = np.random.RandomState(0)
    X = pd.DataFrame(make_table()[:, :3], columns=["size in m", "weight", "price"])
    X["colour"] = rng.choice(["red", "green", "blue"], len(X)).astype(object)
    X["shape"] = rng.choice(["round", "flat"], len(X)).astype(object)
    X["count"] = rng.randint(0, 9, len(X))
    X["note"] = "none"
    X.loc[::11, "weight"] = np.nan
    X.loc[::13, "colour"] = np.nan
    return X


class Conformal(OutlierMixin, BaseEstimator):
    """A small ConformalDetector: an inner detector and its scores of other rows."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y=None):
        self.estimator_ = self.estimator.fit(X[:300])
        self.calibration_scores_ = np.sort(self.estimator_.score_samples(X[300:]))
        self.offset_ = self.calibration_scores_[5] + 1e-9
        return self

    def score_samples(self, X):
        return self.estimator_.score_samples(X)

    def decision_function(self, X):
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X):
        scores = self.calibration_scores_
        n_odder = np.searchsorted(scores, self.score_samples(X), side="right")
        return (1 + n_odder) / (1 + len(scores))


@pytest.fixture(scope="module")
def conformal(frame, tmp_path_factory):
    """Return a calibrated Pipeline with steps of most kinds, and its graph."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    strings = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    columns = make_column_transformer(
        (numbers, ["size in m", "weight"]),
        (strings, ["colour", "shape"]),
        ("passthrough", ["count"]),
    )
    pipeline = make_pipeline(columns, AutoencoderTransformer(3, **QUICK))
    detector = Conformal(pipeline).fit(frame[:400])
    return detector, load(detector, tmp_path_factory.mktemp("onnx") / "conformal.onnx")


@pytest.mark.parametrize("n_rows", BATCHES)
def test_a_calibrated_pipeline_takes_the_columns_of_a_dataframe(conformal, frame, n_rows):
    detector, session = conformal
    X = frame[-n_rows:]
    feeds = columns_of(session, X)
    assert set(feeds) == {"size in m", "weight", "colour", "shape", "count"}
    columns = json.loads(session.get_modelmeta().custom_metadata_map["aedetect.columns"])
    strings = [column["name"] for column in columns if column["type"] == "string"]
    assert [column["name"] for column in columns] == list(frame)
    assert set(strings) == {"colour", "shape"}
    outputs = answer(session, feeds)
    assert_agree(outputs, detector, X)
    scores = detector.score_samples(X)
    distances = np.abs(scores[:, None] - detector.calibration_scores_).min(axis=1)
    clear = distances > 1e-5 * np.abs(scores)  # others, such as calibration rows, may be rounded
    assert clear.any()
    expected = detector.p_values(X)
    np.testing.assert_allclose(outputs["p_value"][clear], expected[clear], atol=1e-12)
    assert outputs["transform"].shape == (n_rows, 3)


def test_a_new_category_is_scored_as_in_python(conformal, frame):
    detector, session = conformal
    X = frame[400:410].assign(colour="violet")
    assert_agree(answer(session, columns_of(session, X)), detector, X)


WORDS, SIZES = ["colour", "shape"], ["size in m", "price"]
BINS = {"quantile_method": "averaged_inverted_cdf"}  # an edge is a training value
ENCODERS = {
    "one-hot": (OneHotEncoder(handle_unknown="ignore"), WORDS),
    "ordinal": (OrdinalEncoder(), WORDS),
    "ordinal integers": (OrdinalEncoder(dtype=int), WORDS),
    "numbered categories": (OneHotEncoder(), ["count"]),
    "ordinal numbers": (OrdinalEncoder(), ["count"]),
    "encoded and scaled": (make_pipeline(OrdinalEncoder(), StandardScaler()), WORDS),
    "imputed and encoded": (
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()),
        WORDS,
    ),
    "columns of columns": (
        make_column_transformer((OneHotEncoder(), ["shape"]), (RobustScaler(), ["price"])),
        ["shape", "price"],
    ),
    "bins": (KBinsDiscretizer(4, encode="ordinal", **BINS), SIZES),
    "bins, one-hot": (KBinsDiscretizer([2, 5], encode="onehot", **BINS), SIZES),
    "bins, dense": (KBinsDiscretizer([5, 2], encode="onehot-dense", **BINS), SIZES),
    "zero or more": (Binarizer(), ["count"]),
    "all between 0 and 1": (MinMaxScaler(), SIZES),
    "two scalers": (make_union(StandardScaler(), MinMaxScaler()), SIZES),
    "imputed": (SimpleImputer(), ["weight", "count"]),
    "as they are": ("passthrough", ["count"]),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", with_slow_ones(ENCODERS, ("one-hot", "bins", "two scalers")))
def test_steps_side_by_side_agree_in_either_order(name, dtype, frame, tmp_path):
    frame = frame.fillna({"colour": "none"})
    if dtype == "float32":
        frame = frame.assign(**{"size in m": frame["size in m"] - 1e6})  # has the digits for it
        frame = frame.astype(dict.fromkeys(frame.select_dtypes("number"), dtype))
    scaled = (StandardScaler(), SIZES)
    for parts in ([ENCODERS[name], scaled], [scaled, ENCODERS[name]], [ENCODERS[name]]):
        columns = make_column_transformer(*parts, sparse_threshold=0).fit(frame)
        session = load(columns, tmp_path / "columns.onnx", dtype=dtype)
        (found,) = session.run(None, columns_of(session, frame))
        np.testing.assert_allclose(found, columns.transform(frame), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps",
    [
        [],
        [make_union(RobustScaler(), Normalizer()), MinMaxScaler(), PCA(4)],
        [Binarizer(), MaxAbsScaler()],
    ],
    ids=str,
)
def test_steps_behind_an_encoder_get_float64(steps, frame, tmp_path):
    frame = frame.fillna({"colour": "none"})
    columns = make_column_transformer(ENCODERS["one-hot"], ("passthrough", SIZES))
    detector = AutoencoderTransformer(2, anomaly_score="reconstruction", **QUICK)
    pipeline = make_pipeline(columns, *steps, detector).fit(frame)
    session = load(pipeline, tmp_path / "pipeline.onnx")
    outputs = answer(session, columns_of(session, frame))
    assert_agree(outputs, pipeline, frame)
    assert outputs["transform"].dtype == np.float64


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "settings",
    [
        {"add_indicator": True},
        {"strategy": "constant", "fill_value": 7},
        {"strategy": "median", "keep_empty_features": True},
        {"missing_values": -1},
    ],
)
def test_imputers_fill_cells_as_in_scikit_learn(settings, dtype, tmp_path):
    X = make_table()[:20].astype(dtype)
    missing = settings.get("missing_values", np.nan)
    X[::3, 1] = X[1::4, 2] = X[:, 4] = missing
    imputer = SimpleImputer(**settings).fit(X)
    (filled,) = load(imputer, tmp_path / "imputer.onnx", dtype=dtype).run(None, {"X": X})
    expected = imputer.transform(X)
    assert filled.dtype == expected.dtype
    np.testing.assert_allclose(filled, expected, rtol=1e-6)


def test_codes_go_on_to_the_steps_that_follow(tmp_path):
    X = make_table()
    detector = VAEDetector(3, anomaly_score="reconstruction", **QUICK)
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), detector, PCA(2)).fit(X[:400])
    (components,) = load(pipeline, tmp_path / "codes.onnx").run(None, {"X": X})
    np.testing.assert_allclose(components, pipeline.transform(X), rtol=1e-5, atol=1e-5)


def test_wide_rows_of_float32_pass_a_network_of_ones_own_in_a_search(tmp_path):
    X = np.random.RandomState(0).randn(60, 1100).astype(np.float32)  # wide: scores sketch them
    network = Autoencoder(
        nn.Sequential(nn.Linear(1100, 4), nn.Softplus(), nn.Linear(4, 2)), nn.Linear(2, 1100)
    )
    detector = AutoencoderTransformer(network=network, anomaly_score="nap", max_epochs=2)
    search = GridSearchCV(detector, {"random_state": [0]}, cv=2).fit(X)
    path = to_onnx(search, str(tmp_path / "own.onnx"), dtype="float32", opset=22)
    assert path == tmp_path / "own.onnx"
    session = onnxruntime.InferenceSession(path)
    outputs = answer(session, {"X": X})
    assert_agree(outputs, search.best_estimator_, X)
    assert outputs["transform"].dtype == np.float32


def test_a_file_tells_nothing_of_the_machine_and_lies_alone(exported):
    path = exported[-1]
    content = path.read_bytes()
    for place in (torch.__file__, __file__):
        assert str(Path(place).parent).encode() not in content
    model = onnx.load_from_string(content)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 18
    assert model.producer_name == "aedetect"
    assert list(path.parent.iterdir()) == [path]
    plain = path.with_name("plain")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode  # as readable as any file
    plain.unlink()


class ByNumber(nn.Module):
    """Decides by the number of rows."""

    def forward(self, x):
        return x if len(x) > 5 else 2 * x


class ByValue(nn.Module):
    """Decides by the values."""

    def forward(self, x):
        return x if x.sum() > 0 else 2 * x


@pytest.fixture(scope="module")
def fitted():
    return AutoencoderTransformer(2, **QUICK).fit(make_table()[:50])


@pytest.mark.parametrize("layer", [ByNumber(), ByValue()])
def test_a_network_that_cannot_be_traced_is_an_error_and_leaves_the_old_file(layer, tmp_path):
    path = tmp_path / "detector.onnx"
    path.write_text("old")
    network = Autoencoder(nn.Sequential(nn.Linear(6, 2), layer), nn.Linear(2, 6))
    detector = AutoencoderTransformer(network=network, max_epochs=1, random_state=0)
    pipeline = make_pipeline(detector, PCA(1)).fit(make_table()[:50])
    with pytest.raises(ValueError, match=r"network must be one that torch\.export can trace"):
        to_onnx(pipeline, path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


class Unknown(StandardScaler):
    """A step without a converter."""


def test_steps_without_a_converter_are_an_error(tmp_path):
    X = make_table()[:50]
    detector = AutoencoderTransformer(2, **QUICK)
    for step, message in ((Unknown(), "Unknown"), (PowerTransformer(), "dtype='float32'")):
        pipeline = make_pipeline(step, detector).fit(X)
        with pytest.raises(ValueError, match=f"skl2onnx must be able to convert.*{message}"):
            to_onnx(pipeline, tmp_path / "pipeline.onnx")


def test_a_calibrated_detector_must_be_one_of_ours_and_one_alone(tmp_path, fitted):
    forest = Conformal(IsolationForest(random_state=0)).fit(make_table()[:350])
    with pytest.raises(ValueError, match="ends with IsolationForest"):
        to_onnx(forest, tmp_path / "forest.onnx")
    folds = Conformal(fitted).fit(make_table()[:350])
    del folds.estimator_
    folds.estimators_ = [fitted, fitted]
    with pytest.raises(ValueError, match="has one a fold"):
        to_onnx(folds, tmp_path / "folds.onnx")


def test_columns_may_not_be_named_as_outputs(tmp_path):
    X = pd.DataFrame(make_table()[:50, :2], columns=["label", "size"])
    columns = make_column_transformer((StandardScaler(), ["label", "size"]))
    pipeline = make_pipeline(columns, AutoencoderTransformer(1, **QUICK)).fit(X)
    with pytest.raises(ValueError, match=r"\['label'\] are names of both"):
        to_onnx(pipeline, tmp_path / "pipeline.onnx")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float16"}, "dtype must be 'float64' or 'float32', but it is 'float16'"),
        ({"opset": 17}, "opset must be from 18 to 22.*but it is 17"),
        ({"opset": 23}, "opset must be from 18 to 22.*but it is 23"),
    ],
)
def test_parameters_out_of_range_are_errors(fitted, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        to_onnx(fitted, tmp_path / "detector.onnx", **settings)


def test_a_folder_must_exist_and_an_estimator_be_fitted(fitted, tmp_path):
    with pytest.raises(ValueError, match="must lie in a folder that exists"):
        to_onnx(fitted, tmp_path / "missing" / "detector.onnx")
    with pytest.raises(NotFittedError):
        to_onnx(AutoencoderTransformer(), tmp_path / "detector.onnx")


def test_a_missing_extra_is_named(fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    monkeypatch.delitem(sys.modules, "aedetect.onnx.pipelines", raising=False)
    with pytest.raises(ImportError, match="needs the extra 'onnx', but skl2onnx"):
        to_onnx(fitted, tmp_path / "detector.onnx")
