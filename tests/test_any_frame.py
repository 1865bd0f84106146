"""Whatever a frame holds, the methods give an answer or an error that names the rule."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pytest
from mixed_frames import draw_case, outcome_of

from aedetect import AutoencoderTransformer, load, save

N_CASES = 30


def test_any_frame_gets_an_answer_or_an_error_that_names_the_rule(record_property):
    rng, outcomes = np.random.default_rng(0), Counter()
    while outcomes.total() - outcomes["no such frame"] < N_CASES:
        outcomes[outcome_of(draw_case(rng))] += 1
    record_property("any_input", ", ".join(f"{n} {name}" for name, n in outcomes.most_common()))
    assert outcomes["an answer"] > 5
    assert len(outcomes) > 5


# What such cases have found.


def make_detector(frame, **settings):
    quick = {"hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0}
    return AutoencoderTransformer(2, **{**quick, **settings}).fit(frame)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "word": rng.choice(["red", "green", "blue"], 60),
            "ok": rng.random(60) < 0.5,
            "count": rng.integers(0, 9, 60),
        }
    )


def levels_of(column):
    return set(column.dropna())


def test_levels_are_not_cast_to_a_type_that_cannot_hold_them(frame):
    detector = make_detector(frame)
    numbers = frame.assign(word=True, ok=pd.Categorical(["a"] * 60))  # other types than in fit
    restored = detector.reconstruct(numbers)
    assert levels_of(restored["word"]) <= {"red", "green", "blue"}
    assert levels_of(restored["ok"]) <= {True, False}
    sparse = frame.astype({"ok": object}).assign(ok=[None] * 58 + [True] * 2)
    detector = make_detector(sparse, max_epochs=100, hidden_layer_sizes=(16,))
    assert detector.reconstruct(frame.assign(ok=False))["ok"].isna().all()  # a bool has no None


def test_repaired_rows_keep_their_types(frame):
    frame = frame.astype({"word": "category", "ok": "boolean"})
    detector = make_detector(frame)
    detector.offset_ = detector.score_samples(frame).mean()
    repaired = detector.repair(frame)
    assert not repaired.equals(frame)
    kept = ["word", "ok"]
    pd.testing.assert_series_equal(repaired.dtypes[kept], frame.dtypes[kept])


def test_repair_takes_columns_that_are_numbered(frame):
    numbered = frame.set_axis([2, 0, 1], axis=1)
    detector, twin = make_detector(numbered), make_detector(frame)
    detector.offset_ = twin.offset_ = twin.score_samples(frame).mean()
    repaired = detector.repair(numbered)
    assert list(repaired.columns) == [2, 0, 1]
    pd.testing.assert_frame_equal(repaired.set_axis(frame.columns, axis=1), twin.repair(frame))


@pytest.mark.filterwarnings("ignore:.*could not be made normal")
def test_polars_holds_repaired_whole_numbers_and_levels_of_several_kinds(frame):
    frame["mixed"] = pd.Series(["a", 1, True] * 20, dtype=object)
    detector = make_detector(frame)
    detector.offset_ = detector.score_samples(frame).mean()
    other = pl.DataFrame(frame.drop(columns="mixed").to_dict("list")).with_columns(
        mixed=pl.lit("a")
    )
    assert set(map(repr, detector.reconstruct(other)["mixed"])) <= {"'a'", "1", "True"}
    assert detector.repair(other)["count"].dtype == pl.Float64


def test_an_empty_name_stays_empty_in_polars(frame):
    named = pl.DataFrame(frame.set_axis(["", "ok", "count"], axis=1).to_dict("list"))
    assert make_detector(named).explain(named).columns == ["", "ok", "count"]


def test_a_part_of_a_character_is_a_level(frame):
    frame["word"] = pd.Series(["\ud800", "a"] * 30, dtype=object)
    assert levels_of(make_detector(frame).reconstruct(frame)["word"]) <= {"\ud800", "a"}


def test_a_file_of_a_fit_to_few_rows_scores_bit_for_bit(tmp_path):
    X = np.random.default_rng(0).normal(size=(12, 12))
    detector = make_detector(X, anomaly_score="robust")
    save(detector, tmp_path / "detector")
    loaded = load(tmp_path / "detector")
    np.testing.assert_array_equal(loaded.score_samples(X), detector.score_samples(X))
