"""Graphs of detectors with categorical columns agree with Python, cell by cell."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from test_onnx import QUICK, answer, assert_agree, load, with_slow_ones

from aedetect import (
    AutoencoderTransformer,
    ConformalDetector,
    DenoisingAutoencoder,
    to_onnx,
)

DETECTORS = {
    "missing": DenoisingAutoencoder(3, missing="mask", n_members=2, **QUICK),
    "conformal": ConformalDetector(
        AutoencoderTransformer(3, anomaly_score="standardized", **QUICK),
        block_size=4,
        random_state=0,
    ),
}
N_ROWS = 500


def make_frame(seed):
    """Return a frame with categories of every type; rows 0 to 9 have missing cells."""
    rng = np.random.default_rng(seed)
    city = rng.choice(["Berlin", "Köln", "no\nwhere", "is, it?"], N_ROWS)
    size = rng.normal(size=N_ROWS) + (city == "Köln")
    frame = pd.DataFrame(
        {
            "city of birth": city,
            "size": 1e6 + size,
            "ok": pd.array(size > rng.normal(size=N_ROWS), dtype="boolean"),
            "grade": pd.Categorical(rng.choice([1, 2, 5], N_ROWS)),
            "price": rng.normal(size=N_ROWS) * size,
        }
    )
    frame.loc[:9, ["city of birth", "grade"]] = None
    frame.loc[5:9, "ok"] = pd.NA
    return frame


def make_odd_frame():
    """Return rows with levels that no training row has."""
    frame = make_frame(1).astype({"grade": float})
    frame.loc[20:25, "city of birth"] = "Bonn"
    frame.loc[23:28, "grade"] = [3, -1, 1e300, 2.5, np.inf, 0]
    return frame


def feeds_of(session, frame):
    """Return the feeds of a graph, as the documentation has it."""
    feeds = {}
    for column in session.get_inputs():
        is_text = "string" in column.type
        dtype, missing = (object, "") if is_text else ("float64", np.nan)
        cells = frame[[column.name]].to_numpy(dtype, na_value=missing)
        feeds[column.name] = cells if "float" not in column.type else cells.astype("float32")
    return feeds


@pytest.mark.parametrize("name", with_slow_ones(DETECTORS, ("conformal",)))
def test_a_graph_of_a_frame_agrees_with_python(name, tmp_path):
    train, frame = make_frame(0), make_odd_frame()
    detector = DETECTORS[name].fit(train)
    session = load(detector, tmp_path / "detector.onnx")
    outputs = answer(session, feeds_of(session, frame))
    assert_agree(outputs, detector, frame, atol=1e-6)
    inner = getattr(detector, "estimator_", detector)
    np.testing.assert_allclose(outputs["transform"], inner.transform(frame), rtol=1e-4, atol=1e-4)
    assert_same_levels(outputs["reconstruct"], inner.reconstruct(frame), session)
    if name == "conformal":
        np.testing.assert_allclose(outputs["p_value"], detector.p_values(frame), atol=0.01)
    assert_told(session, detector, frame, outputs)


def assert_told(session, detector, frame, outputs):
    """Compare the file's columns and threshold with the detector's."""
    told = session.get_modelmeta().custom_metadata_map
    columns = json.loads(told["aedetect.columns"])
    assert [column["name"] for column in columns] == list(frame)
    types = {column.name: column.type for column in session.get_inputs()}
    for column in columns:
        assert (column["type"] == "string") == ("string" in types[column["name"]])
        assert column.get("levels") == json.loads(told["aedetect.levels"]).get(column["name"])
    threshold = json.loads(told["aedetect.threshold"])
    assert threshold["offset"] == detector.offset_
    if hasattr(detector, "calibration_scores_"):
        assert threshold["n_calibration"] == len(detector.calibration_scores_)
        is_flagged = outputs["label"] == -1
        largest = outputs["p_value"][is_flagged].max(initial=0)
        assert largest <= threshold["false_alarms"] <= detector.alpha


def assert_same_levels(codes, frame, session):
    levels = json.loads(session.get_modelmeta().custom_metadata_map["aedetect.levels"])
    assert list(levels) == ["city of birth", "ok", "grade"]
    for column, cells in zip(frame, codes.T, strict=True):
        if column in levels:
            named = [levels[column][int(code)] for code in cells]
            expected = [None if pd.isna(level) else level for level in frame[column]]
            # Two levels of nearly one probability may change places by rounding.
            assert np.mean([a == b for a, b in zip(named, expected, strict=True)]) > 0.99
        else:
            np.testing.assert_allclose(cells, frame[column], rtol=1e-5, atol=1e-3)


@pytest.mark.slow
def test_missing_text_may_be_given_as_pandas_has_it(tmp_path):
    frame = make_frame(0)[["city of birth", "size"]]
    detector = AutoencoderTransformer(2, **QUICK).fit(frame)
    session = load(detector, tmp_path / "detector.onnx")
    scores = []
    for missing in ("", None, np.nan, pd.NA):
        cells = frame["city of birth"].to_numpy(object, na_value=missing)[:, None]
        feeds = {"city of birth": cells, "size": frame[["size"]].to_numpy()}
        scores.append(answer(session, feeds)["score_samples"])
        np.testing.assert_array_equal(scores[-1], scores[0])
    np.testing.assert_allclose(scores[0], detector.score_samples(frame), rtol=1e-5)


@pytest.mark.slow
def test_an_empty_text_that_is_a_level_is_not_missing(tmp_path):
    frame = make_frame(0)[["city of birth", "size"]].fillna({"city of birth": ""})
    detector = AutoencoderTransformer(2, **QUICK).fit(frame)
    frame.loc[10:20, "city of birth"] = None
    session = load(detector, tmp_path / "detector.onnx", dtype="float32", opset=22)
    cells = {"city of birth": frame[["city of birth"]].to_numpy(object)}
    outputs = answer(session, cells | {"size": frame[["size"]].to_numpy("float32")})
    assert_agree(outputs, detector, frame.astype({"size": "float32"}))


@pytest.mark.slow
def test_columns_of_an_array_are_numbered(tmp_path):
    X = make_frame(0)[["size", "grade", "price"]].to_numpy(float, na_value=9)
    detector = AutoencoderTransformer(2, categorical_features=[1], **QUICK).fit(X)
    X[:3, 1] = 4
    session = load(detector, tmp_path / "detector.onnx")
    feeds = {f"x{column}": X[:, [column]] for column in range(3)}
    assert_agree(answer(session, feeds), detector, X)


@pytest.mark.slow
def test_levels_that_are_numbers_pass_the_steps_before(tmp_path):
    frame = make_frame(0).drop(columns=["ok", "grade"]).fillna({"city of birth": "none"})
    coder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer(
        (coder, ["city of birth"]), (StandardScaler(), ["size", "price"])
    )
    detector = AutoencoderTransformer(2, categorical_features=[0], **QUICK)
    pipeline = make_pipeline(columns, detector).fit(frame)
    frame.loc[:3, "city of birth"] = "Bonn"
    session = load(pipeline, tmp_path / "pipeline.onnx")
    outputs = answer(session, feeds_of(session, frame))
    assert_agree(outputs, pipeline, frame)


def test_text_behind_other_steps_is_an_error(tmp_path):
    frame = make_frame(0)[["city of birth", "size"]]
    columns = make_column_transformer(
        (StandardScaler(), ["size"]), ("passthrough", ["city of birth"])
    ).set_output(transform="pandas")
    pipeline = make_pipeline(columns, AutoencoderTransformer(2, **QUICK)).fit(frame)
    with pytest.raises(ValueError, match=r"'passthrough__city of birth' .* cannot pass on"):
        to_onnx(pipeline, tmp_path / "pipeline.onnx")
    part = make_column_transformer((AutoencoderTransformer(2, **QUICK), list(frame)))
    with pytest.raises(ValueError, match=r"'city of birth' .* cannot pass on"):
        to_onnx(part.fit(frame), tmp_path / "part.onnx")


def make_detector(levels):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"level": rng.permutation(np.array(levels * 20, dtype=object))})
    frame["level"] = frame["level"].astype("category")
    frame["size"] = rng.normal(size=len(frame))
    return AutoencoderTransformer(1, **QUICK).fit(frame)


def test_levels_of_several_kinds_are_an_error(tmp_path):
    for levels in (["a", 1], [True, 2], ["a", False]):
        with pytest.raises(ValueError, match=r"'level' has levels of several kinds.*astype\(str\)"):
            to_onnx(make_detector(levels), tmp_path / "detector.onnx")


def test_levels_that_are_equal_in_float32_are_an_error(tmp_path):
    detector = make_detector([2**24, 2**24 + 1])
    with pytest.raises(ValueError, match=r"Levels of column 'level' are equal as float32"):
        to_onnx(detector, tmp_path / "detector.onnx", dtype="float32")


def test_columns_with_levels_may_not_be_named_as_outputs(tmp_path):
    frame = make_frame(0)[["city of birth", "size"]].rename(columns={"city of birth": "label"})
    detector = AutoencoderTransformer(2, **QUICK).fit(frame)
    with pytest.raises(ValueError, match=r"\['label'\] are names of both"):
        to_onnx(detector, tmp_path / "detector.onnx")
