"""``aedetect fit``, ``score`` and ``report`` on tables with text, true and false, and dates."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

import aedetect
from aedetect.cli import main, tables
from aedetect.cli.features import as_levels

SMALL = ["--set", "hidden_layer_sizes=[8]", "--set", "max_epochs=3", "--seed", "0"]
N_ROWS = 120


def customers():
    """Return rows with an id, numbers, text, true and false, and codes with one letter."""
    rng = np.random.RandomState(0)
    city = rng.choice(["Berlin", "Paris", "Rome"], N_ROWS)
    frame = pd.DataFrame(
        {
            "id": [f"c{i}" for i in range(N_ROWS)],
            "age": rng.randint(20, 70, N_ROWS),
            "city": city,
            "member": rng.rand(N_ROWS) < 0.3,
            "grade": rng.choice(["1", "2"], N_ROWS),
            "spent": rng.randn(N_ROWS) + 5 * (city == "Berlin"),
        }
    )
    frame.loc[[70, 90], "grade"] = "x"
    frame.loc[[3, 80], "city"] = None
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a table and a model."""
    folder = tmp_path_factory.mktemp("mixed")
    customers().to_csv(folder / "rows.csv", index=False)
    assert fit(folder / "rows.csv", folder / "model", "--drop", "id") == 0
    return folder


def fit(table, out, *arguments):
    return main(["fit", str(table), "-o", str(out), *SMALL, *map(str, arguments)])


def score(folder, table, *arguments):
    out = folder / "scores.csv"
    paths = [str(folder / "model"), str(folder / table), "-o", str(out)]
    assert main(["score", *paths, *arguments]) == 0
    return pd.read_csv(out)


def error_of(arguments, capsys):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    text = capsys.readouterr().err
    assert text.startswith("aedetect: ")
    assert text.count("\n") == 1
    return text


def levels(path):
    """Return the levels of a model file by column."""
    detector = aedetect.load(path)
    detector = getattr(detector, "estimator_", detector)
    categories = detector.detector_.model.columns.coding.categories
    return {detector.feature_names_in_[c]: part.levels for c, part in categories.items()}


def test_text_and_true_and_false_are_categories(folder, tmp_path, capsys):
    assert levels(folder / "model") == {
        "city": ["Berlin", "Paris", "Rome", None],
        "member": [False, True],
        "grade": ["1", "2", "x"],
    }
    assert fit(folder / "rows.csv", tmp_path / "m", "--drop", "id", "--calibration", 0) == 0
    assert "120 rows of 5 columns, 3 of them categories, 3 epochs" in capsys.readouterr().err


def test_a_fit_is_that_of_the_table_in_memory(folder, tmp_path):
    assert fit(folder / "rows.csv", tmp_path / "m", "--drop", "id", "--calibration", 0) == 0
    X = pd.read_csv(folder / "rows.csv").drop(columns="id")
    detector = aedetect.DenoisingAutoencoder(hidden_layer_sizes=[8], max_epochs=3, random_state=0)
    scores = detector.fit(X).score_samples(X)
    np.testing.assert_array_equal(aedetect.load(tmp_path / "m").score_samples(X), scores)
    table = score_of(tmp_path / "m", folder / "rows.csv", tmp_path)
    np.testing.assert_array_equal(table["score"], scores)


def score_of(model, table, folder):
    out = folder / "s.csv"
    assert main(["score", str(model), str(table), "-o", str(out)]) == 0
    return pd.read_csv(out)


@pytest.mark.parametrize("n_rows", [7, 50])
def test_neither_fit_nor_scores_depend_on_the_chunks(folder, tmp_path, monkeypatch, n_rows):
    whole = score(folder, "rows.csv", "--explain", "2")
    monkeypatch.setattr(tables, "CHUNK_ROWS", n_rows)
    pd.testing.assert_frame_equal(score(folder, "rows.csv", "--explain", "2"), whole)
    assert fit(folder / "rows.csv", tmp_path / "m", "--drop", "id") == 0
    assert levels(tmp_path / "m") == levels(folder / "model")
    table = score_of(tmp_path / "m", folder / "rows.csv", tmp_path)
    np.testing.assert_array_equal(table["score"], whole["score"])


COLUMNS = {  # the cells of a column, and its levels: None for a column of numbers
    "text after numbers": (["01"] * 30 + ["2.0"] * 30 + ["x"] * 30, ["01", "2.0", "x"]),
    "text after flags": (["True"] * 45 + ["maybe"] * 45, ["True", "maybe"]),
    "numbers after flags": (["True"] * 45 + ["1"] * 45, ["1", "True"]),
    "gaps before text": ([""] * 45 + ["a"] * 45, ["a", None]),
    "gaps before flags": ([""] * 45 + ["false", "TRUE", ""] * 15, [False, True, None]),
    "whole and real": (["1"] * 45 + ["2.5"] * 45, None),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("n_rows", [10, 1000])
def test_all_cells_of_a_column_decide_whether_it_holds_numbers(kind, n_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CHUNK_ROWS", n_rows)
    cells, expected = COLUMNS[kind]
    lines = [f"{cell},{i % 7},{'ab'[i % 2]}" for i, cell in enumerate(cells)]
    (tmp_path / "t.csv").write_text("\n".join(["code,n,letter", *lines]))
    assert fit(tmp_path / "t.csv", tmp_path / "m", "--calibration", 0) == 0
    assert levels(tmp_path / "m").get("code") == expected
    model, X = aedetect.load(tmp_path / "m"), pd.read_csv(tmp_path / "t.csv", low_memory=False)
    table = score_of(tmp_path / "m", tmp_path / "t.csv", tmp_path)
    np.testing.assert_array_equal(table["score"], model.score_samples(X))


def test_levels_that_look_like_numbers_are_those_of_fit(folder, tmp_path):
    """A part of the rows has the scores that it has in the whole table."""
    whole = score(folder, "rows.csv")
    frame = pd.read_csv(folder / "rows.csv")
    few = np.flatnonzero((frame["grade"] != "x") & frame["member"])
    frame.loc[few].to_csv(tmp_path / "few.csv", index=False)
    assert pd.read_csv(tmp_path / "few.csv")["grade"].dtype == np.int64
    scores = score_of(folder / "model", tmp_path / "few.csv", tmp_path)["score"]
    np.testing.assert_array_equal(scores, whole["score"].loc[few])
    typed = frame.loc[few].assign(
        grade=lambda part: part["grade"].astype(float),
        member=lambda part: part["member"].map(str),
        city=lambda part: part["city"].astype("category"),
    )
    typed.to_parquet(tmp_path / "few.parquet")
    scores = score_of(folder / "model", tmp_path / "few.parquet", tmp_path)["score"]
    np.testing.assert_array_equal(scores, whole["score"].loc[few])


@pytest.mark.parametrize(
    ("cells", "known", "expected"),
    [
        ([1, 2], ["1", "2", "x"], ["1", "2"]),
        ([1.0, np.nan], ["1", "x"], ["1", None]),
        ([1.0], ["1.0", "x"], ["1.0"]),
        (["01", "1"], ["01", "x"], ["01", "1"]),
        (["1", "2.0", "y"], [1.0, 2.0], [1.0, 2.0, "y"]),
        (["TRUE", "false", "y"], [True, False], [True, False, "y"]),
        ([True, False], ["True", "yes"], ["True", False]),
        (["nan", "inf"], [None, 1.0], ["nan", "inf"]),
        ([[1], "a"], ["a"], [[1], "a"]),
        ([True, 1, "a"], ["a", 1, True], [True, 1, "a"]),
    ],
)
def test_cells_stand_for_levels_of_another_type(cells, known, expected):
    found = as_levels(pd.Series(cells), known).tolist()
    found = [None if cell is np.nan else cell for cell in found]
    assert [(type(cell), cell) for cell in found] == [(type(cell), cell) for cell in expected]


def test_a_new_level_is_odd_and_named_and_no_error(folder, tmp_path):
    frame = pd.read_csv(folder / "rows.csv")
    frame.loc[5, "city"] = "Atlantis"
    frame.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "s.csv"
    paths = [str(folder / "model"), str(tmp_path / "new.csv"), "-o", str(out)]
    assert main(["score", *paths, "--explain", "1", "--keep", "id", "city"]) == 0
    row = pd.read_csv(out).loc[5]
    assert (row["id"], row["city"], row["feature_1"]) == ("c5", "Atlantis", "city")
    assert row["score"] < score(folder, "rows.csv")["score"][5]


def test_other_columns_stay_and_order_does_not_matter(folder, tmp_path):
    whole = score(folder, "rows.csv")
    frame = pd.read_csv(folder / "rows.csv").assign(note="n")
    frame[frame.columns[::-1]].to_csv(tmp_path / "turned.csv", index=False)
    scores = score_of(folder / "model", tmp_path / "turned.csv", tmp_path)["score"]
    np.testing.assert_array_equal(scores, whole["score"])
    kept = score(folder, "rows.csv", "--keep", "id", "city", "grade")
    pd.testing.assert_frame_equal(kept[["id", "city", "grade"]], frame[["id", "city", "grade"]])


def test_parquet_and_csv_give_one_fit(folder, tmp_path, monkeypatch):
    frame = pd.read_csv(folder / "rows.csv").astype({"city": "category"})
    frame["age"] = [decimal.Decimal(int(age)) for age in frame["age"]]
    frame.to_parquet(tmp_path / "rows.parquet")
    monkeypatch.setattr(tables, "CHUNK_VALUES", 60)
    assert fit(tmp_path / "rows.parquet", tmp_path / "m", "--drop", "id") == 0
    assert levels(tmp_path / "m") == levels(folder / "model")
    table = score_of(tmp_path / "m", tmp_path / "rows.parquet", tmp_path)
    np.testing.assert_array_equal(table["score"], score(folder, "rows.csv")["score"])


def test_numbers_are_categories_where_the_setting_names_them(folder, tmp_path, capsys):
    named = ["--set", 'categorical_features=["age", "city", "member", "grade"]']
    assert fit(folder / "rows.csv", tmp_path / "m", "--drop", "id", *named) == 0
    assert list(levels(tmp_path / "m")) == ["age", "city", "member", "grade"]
    score_of(tmp_path / "m", folder / "rows.csv", tmp_path)
    paths = ["fit", folder / "rows.csv", "-o", tmp_path / "n", "--drop", "id", *SMALL]
    text = error_of([*paths, "--set", "categorical_features=null"], capsys)
    assert "X must hold numbers, but column 'city' holds" in text
    assert "On the command line, --drop 'city' leaves it out." in text


BAD = {
    "dates as text": (
        [f"2026-01-{i % 28 + 1:02}" for i in range(N_ROWS)],
        "Column 'bad' holds dates such as '2026-01-01'",
        "pd.to_datetime",
    ),
    "identifiers": ([f"c{i}" for i in range(N_ROWS)], "Column 'bad' has 96 levels in 96", "--drop"),
    "dates": (pd.date_range("2026", periods=N_ROWS), "column 'bad' holds datetime", "t.dt.hour"),
    "durations": (
        pd.to_timedelta(np.arange(N_ROWS), unit="s"),
        "column 'bad' holds timedelta",
        "dt.total_seconds",
    ),
    "days": ([datetime.date(2026, 1, 1)] * N_ROWS, "column 'bad' holds date in row", "t.dt.hour"),
    "lists": ([[1, 2]] * N_ROWS, "Column 'bad' holds", "A category is text"),
    "bytes": ([b"a"] * N_ROWS, "Column 'bad' holds b'a' in row", "A category is text"),
}


@pytest.mark.parametrize("kind", BAD)
def test_columns_without_categories_are_refused_with_the_remedy(kind, tmp_path, capsys):
    cells, message, remedy = BAD[kind]
    path = tmp_path / ("t.csv" if isinstance(cells[0], str) else "t.parquet")
    frame = customers().drop(columns="id").assign(bad=cells)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    text = error_of(["fit", path, "-o", tmp_path / "m", *SMALL], capsys)
    assert message in text
    assert remedy in text
    assert "--drop 'bad' leaves it out." in text
    assert fit(path, tmp_path / "m", "--drop", "bad") == 0


@pytest.mark.parametrize("row", [7, 90])
@pytest.mark.parametrize("column", ["age", "spent"])
def test_text_among_numbers_is_named_when_rows_are_scored(
    folder, tmp_path, monkeypatch, capsys, column, row
):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 50)
    frame = pd.read_csv(folder / "rows.csv").astype({column: object})
    frame.loc[row, column] = "old"
    frame.to_csv(tmp_path / "bad.csv", index=False)
    for command in ("score", "report"):
        text = error_of([command, folder / "model", tmp_path / "bad.csv"], capsys)
        assert f"bad.csv holds 'old' in row {row + 2} of column '{column}'." in text
        assert "put a number there" in text


@pytest.mark.filterwarnings("default")
def test_a_column_of_numbers_with_one_word_warns(tmp_path, capsys):
    frame = customers().drop(columns="id").astype({"age": object})
    frame.loc[101, "age"] = "unknown"
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert fit(tmp_path / "t.csv", tmp_path / "m") == 0
    text = capsys.readouterr().err
    assert "Column 'age' is taken for categories because of 'unknown' in row 103" in text
    assert "1 of 120 cells are not numbers" in text
    assert "'grade'" not in text


def test_missing_cells_among_numbers_are_refused_or_masked(folder, tmp_path, capsys):
    frame = pd.read_csv(folder / "rows.csv").drop(columns="id")
    frame.loc[60, "age"] = np.nan
    frame.to_csv(tmp_path / "gap.csv", index=False)
    arguments = ["fit", tmp_path / "gap.csv", "-o", tmp_path / "m", *SMALL]
    text = error_of(arguments, capsys)
    assert "gap.csv has no value in row 62 of column 'age'." in text
    assert "--set missing=mask trains on the cells that are there" in text
    assert fit(tmp_path / "gap.csv", tmp_path / "m", "--set", "missing=mask") == 0
    assert levels(tmp_path / "m")["city"] == ["Berlin", "Paris", "Rome"]
    score_of(tmp_path / "m", tmp_path / "gap.csv", tmp_path)


def test_columns_that_the_file_lacks_are_named(folder, tmp_path, capsys):
    pd.read_csv(folder / "rows.csv").drop(columns="city").to_csv(tmp_path / "t.csv")
    text = error_of(["score", folder / "model", tmp_path / "t.csv"], capsys)
    assert "t.csv has no column 'city'" in text


def test_a_model_of_an_array_takes_levels_by_their_place(folder, tmp_path):
    frame = pd.read_csv(folder / "rows.csv")[["age", "grade", "spent"]]
    model = aedetect.DenoisingAutoencoder(
        hidden_layer_sizes=(8,), max_epochs=3, random_state=0, categorical_features=[1]
    ).fit(frame.to_numpy())
    aedetect.save(model, tmp_path / "m")
    frame[:60].to_csv(tmp_path / "t.csv", index=False)
    scores = score_of(tmp_path / "m", tmp_path / "t.csv", tmp_path)["score"]
    np.testing.assert_array_equal(scores, model.score_samples(frame.to_numpy()[:60]))
