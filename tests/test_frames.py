"""Answers about features come in frames for frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context

from aedetect import AutoencoderTransformer, ConformalDetector

NAMES = ["hum", "heat", "load", "speed", "note"]
INDEX = [f"m{number}" for number in range(60)]
FRAMES = {
    "pandas": lambda X: pd.DataFrame(X, columns=NAMES, index=INDEX),
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
    "numbers for names": lambda X: pd.DataFrame(X, columns=[10, 20, 30, 40, 50]),
    "default names": pd.DataFrame,
}
KINDS = {"pandas": pd.DataFrame, "polars": pl.DataFrame}


def plain():
    return AutoencoderTransformer(
        2,
        hidden_layer_sizes=(8,),
        max_epochs=1,
        anomaly_score="reconstruction",
        contamination=0.02,  # one row to repair
        random_state=0,
    )


def answers(detector, X):
    with np.errstate(all="ignore"):
        return {
            "reconstruct": detector.reconstruct(X),
            "explain": detector.explain(X),
            "repair": detector.repair(X),
            "inverse_transform": detector.inverse_transform(detector.transform(X)),
        }


@pytest.fixture
def odd(table):
    X = table.copy()
    X[4] *= 20
    return X


pytestmark = pytest.mark.filterwarnings("ignore:.*could not be made normal")


@pytest.mark.parametrize("output", ["pandas", "polars"])
@pytest.mark.parametrize("kind", FRAMES)
def test_all_features_come_back_in_the_frame_that_is_asked_for(odd, output, kind):
    X = FRAMES[kind](odd)
    names = list(X.columns) if output == "pandas" else [str(name) for name in X.columns]
    framed = answers(plain().set_output(transform=output).fit(X), X)
    arrays = answers(plain().fit(X), X)
    for method, answer in framed.items():
        assert isinstance(answer, KINDS[output]), method
        assert list(answer.columns) == names, method
        np.testing.assert_array_equal(np.asarray(answer), np.asarray(arrays[method]))
        if output == "pandas" and kind != "polars":
            assert answer.index.equals(X.index), method


def test_the_global_setting_counts_too(odd):
    X = FRAMES["pandas"](odd)
    detector = plain().fit(X)
    with config_context(transform_output="polars"):
        assert all(isinstance(answer, pl.DataFrame) for answer in answers(detector, X).values())


@pytest.mark.parametrize("kind", FRAMES)
def test_without_a_setting_reasons_and_repairs_come_in_the_frame_of_the_rows(odd, kind):
    X = FRAMES[kind](odd)
    found = answers(plain().fit(X), X)
    for method in ("explain", "repair"):
        assert type(found[method]) is type(X)
        assert list(found[method].columns) == list(X.columns)
    for method in ("reconstruct", "inverse_transform"):
        assert isinstance(found[method], np.ndarray)


def test_arrays_give_arrays_and_under_set_output_numbered_names(odd):
    detector = plain().fit(odd)
    assert all(type(answer) is np.ndarray for answer in answers(detector, odd).values())
    detector.set_output(transform="pandas")
    for answer in answers(detector, odd).values():
        assert list(answer.columns) == ["x0", "x1", "x2", "x3", "x4"]


def test_names_of_levels_stay_in_pandas(odd):
    X = pd.DataFrame(odd, columns=pd.MultiIndex.from_product([["a"], range(5)], names=["k", "n"]))
    assert plain().fit(X).repair(X).columns.equals(X.columns)
    assert plain().fit(X).repair(X).columns.names == ["k", "n"]


def test_a_refit_to_an_array_forgets_the_numbers_of_columns(odd):
    detector = plain().set_output(transform="pandas").fit(FRAMES["numbers for names"](odd))
    codes = detector.transform(odd)
    assert list(detector.inverse_transform(codes).columns) == [10, 20, 30, 40, 50]
    detector.fit(odd)
    assert list(detector.inverse_transform(codes).columns) == ["x0", "x1", "x2", "x3", "x4"]


@pytest.mark.parametrize("options", [{}, {"cv": 2}])
@pytest.mark.parametrize("kind", ["pandas", "polars", "numbers for names"])
def test_a_calibrated_detector_explains_in_the_frame_of_the_rows(odd, kind, options):
    X = FRAMES[kind](odd)
    detector = ConformalDetector(plain(), alpha=0.2, random_state=0, **options).fit(X)
    contributions = detector.explain(X)
    assert type(contributions) is type(X)
    assert list(contributions.columns) == list(X.columns)
