"""Errors name the row as the caller has it, and the column by its name."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from aedetect import AutoencoderTransformer, ConformalDetector
from aedetect.places import PlaceError

NAMES = ["hum", "heat", "load", "speed", "note"]
CELLS = {"NaN": np.nan, "infinity": np.inf}
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 1, "random_state": 0}


def frame_of(table, library="pandas"):
    columns = dict(zip(NAMES, table.T, strict=True))
    return {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}[library](columns)


def with_cell(table, row, column, value):
    X = table.copy()
    X[row, column] = value
    return X


def detector(**parameters):
    return AutoencoderTransformer(2, **{**SMALL, **parameters})


def message_of(function, *arguments):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its text is what the tests look at
        function(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
@pytest.mark.parametrize("kind", CELLS)
def test_the_column_is_named_in_frames_of_every_library(table, library, kind):
    bad = frame_of(with_cell(table, 7, 1, CELLS[kind]), library)
    text = message_of(detector().fit, bad)
    assert kind in text
    assert "row 7 " in text
    assert "column 'heat'" in text
    fitted = detector().fit(frame_of(table, library))
    for method in ("score_samples", "predict", "transform", "reconstruct", "explain", "repair"):
        assert message_of(getattr(fitted, method), bad) == text


@pytest.mark.parametrize("kind", CELLS)
def test_the_label_of_a_row_stands_beside_its_number_where_they_differ(table, kind):
    bad = frame_of(with_cell(table, 7, 1, CELLS[kind]))
    plain = message_of(detector().fit, bad)
    assert "index" not in plain
    bad.index = [f"m{number}" for number in range(60)]
    assert message_of(detector().fit, bad) == plain.replace("row 7", "row 7 (index 'm7')")
    bad.index = pd.RangeIndex(100, 160)
    assert message_of(detector().fit, bad) == plain.replace("row 7", "row 7 (index 107)")


def test_columns_with_numbers_for_names_are_named_by_these(table):
    bad = pd.DataFrame(with_cell(table, 7, 1, np.nan), columns=[10, 20, 30, 40, 50])
    assert "row 7 has no value in column 20." in message_of(detector().fit, bad)


@pytest.mark.parametrize(
    ("make", "parameters", "message"),
    [
        (lambda X: with_cell(X, 5, 2, 1e39), {"scaling": None}, "row 5, column 'load', that is"),
        (lambda X: X * [1, 1, 1, 1e200, 1], {}, "variance of column 'speed' of X"),
        (lambda X: with_cell(X, 5, slice(None), np.nan), {"missing": "mask"}, "Row 5 of X holds"),
        (
            lambda X: with_cell(X, slice(None), 4, np.nan),
            {"missing": "mask"},
            "Column 'note' of X holds NaN alone",
        ),
        (
            lambda X: with_cell(0 * abs(X), 9, 0, 1.5),
            {"loss": "bce"},
            "X runs from 0 to 1.5: row 9 has 1.5 in column 'hum'",
        ),
    ],
    ids=["float32", "variance", "empty row", "empty column", "bce"],
)
def test_every_rule_names_its_place(table, make, parameters, message):
    assert message in message_of(detector(**parameters).fit, frame_of(make(table)))


@pytest.mark.parametrize("make", [np.asarray, pd.DataFrame, lambda X: frame_of(X, "polars")])
@pytest.mark.parametrize("options", [{}, {"cv": 3}, {"calibration_size": 0.7}])
@pytest.mark.parametrize("row", [0, 7, 31, 59])
def test_a_calibrated_detector_names_the_row_before_its_split(table, make, options, row):
    conformal = ConformalDetector(detector(), random_state=0, **options)
    text = message_of(conformal.fit, make(with_cell(table, row, 1, np.nan)))
    assert f"NaN: row {row} has" in text


def test_a_calibrated_detector_names_the_row_of_a_pipeline(table):
    steps = make_pipeline(FunctionTransformer(), detector())
    conformal = ConformalDetector(steps, random_state=0)
    for row in (7, 31):
        assert f"row {row} has" in message_of(conformal.fit, with_cell(table, row, 1, np.inf))


def test_answers_that_are_not_finite_name_the_label(table):
    fitted = detector().set_params(scaling=None).fit(frame_of(table))
    far = frame_of(with_cell(table, 3, slice(None), 1e300)).set_axis(list(range(60, 0, -1)))
    for method in ("transform", "reconstruct", "score_samples"):
        assert "row 3 (index 57) is not finite" in message_of(getattr(fitted, method), far)


def test_infinite_values_are_counted(table):
    X = table.copy()
    X[[3, 8, 8], [1, 0, 2]] = np.inf, -np.inf, np.inf
    text = message_of(detector().fit, X)
    assert "row 3 has inf in column 1 (infinite values in all: 3)" in text
    assert "Clip" in text


TEXTS = {
    "pandas": lambda table: frame_of(table).assign(heat=["a"] * 60),
    "numbers but one": lambda table: (
        frame_of(table).astype(object).assign(heat=[*map(str, range(4)), "warm", *["1"] * 55])
    ),
    "categories": lambda table: frame_of(table).assign(heat=pd.Categorical(["a", "b"] * 30)),
    "polars": lambda table: frame_of(table, "polars").with_columns(heat=pl.lit("a")),
    "arrow": lambda table: pa.table(
        {**dict(zip(NAMES, table.T, strict=True)), "heat": ["a"] * 60},
    ),
    "objects": lambda table: with_cell(table.astype(object), 2, 1, "a"),
    "text": lambda table: with_cell(table.astype(str), 2, 1, "a"),
    "lists": lambda table: with_cell(table.astype(object), 2, 1, "a").tolist(),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_text_is_refused_by_place_with_the_remedy(table, kind):
    value, row = {"numbers but one": ("warm", 4), "objects": ("a", 2)}.get(kind, ("a", 0))
    row = 2 if kind in ("text", "lists") else row
    column = 1 if kind in ("objects", "text", "lists") else "'heat'"
    refusing = detector().set_params(categorical_features=None)
    text = message_of(refusing.fit, TEXTS[kind](table))
    assert f"must hold numbers, but column {column} holds '{value}' in row {row}." in text
    assert "categorical_features" in text


def test_an_object_that_is_no_number_is_a_type_error_with_its_place(table):
    X = with_cell(table.astype(object), 2, 1, None)
    X[2, 1] = {"a": 1}
    with pytest.raises(TypeError, match=r"column 1 holds {'a': 1} in row 2: float\(\) argument"):
        detector().fit(X)


def test_text_among_shuffled_rows_is_found_in_the_callers_row(table):
    conformal = ConformalDetector(detector(), random_state=0)
    for row in (7, 31):
        X = with_cell(table.astype(object), row, 1, "a")
        assert f"holds 'a' in row {row}." in message_of(conformal.fit, X)


def test_a_place_survives_pickling_as_from_a_worker():
    error = PlaceError("Row {row} and column {column}", row=3, column=1)
    error.name(pd.DataFrame(np.zeros((5, 2)), columns=["a", "b"], index=list("vwxyz")))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "Row 3 (index 'y') and column 'b'"
    assert isinstance(again, ValueError)


def test_a_row_is_never_named_by_two_numbers(table):
    bad = frame_of(with_cell(table, 31, 1, np.nan))  # the index goes through the split
    text = message_of(ConformalDetector(detector(), random_state=0).fit, bad)
    assert re.findall(r"row \d+[^.]* has", text) == ["row 31 has"]
