"""``aedetect fit --memory`` and ``aedetect score --resume``: tables that stay on the disk."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_mixed_cli import customers, error_of, fit, levels

import aedetect
from aedetect.cli import main
from aedetect.conformal import ConformalDetector
from aedetect.rows import plan, scoring, sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a table and a model that was fitted to it on the disk."""
    folder = tmp_path_factory.mktemp("rows")
    customers().drop(columns="id").astype({"spent": "float32"}).to_csv(
        folder / "rows.csv", index=False
    )
    assert fit(folder / "rows.csv", folder / "model", "--memory", "10MB") == 0
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(sources, "CHUNK_ROWS", 100)
    monkeypatch.setattr(scoring, "PART_ROWS", 30)


def resume(folder, out, *arguments, model="model", table="rows.csv"):
    paths = [str(folder / model), str(folder / table), "-o", str(out)]
    return main(["score", "--resume", *paths, *map(str, arguments)])


def test_a_fit_on_the_disk_is_that_of_open_rows(folder, capsys):
    model = aedetect.load(folder / "model")
    rows = aedetect.open_rows(folder / "rows.csv")
    estimator = aedetect.DenoisingAutoencoder(hidden_layer_sizes=[8], max_epochs=3, random_state=0)
    expected = ConformalDetector(estimator, calibration_size=0.2, random_state=0).fit(rows)
    np.testing.assert_array_equal(model.score_samples(rows), expected.score_samples(rows))
    assert levels(folder / "model")["grade"] == ["1", "2", "x"]
    assert levels(folder / "model")["member"] == [False, True]


def test_a_cache_is_used_again(folder, tmp_path, monkeypatch):
    table, cache = folder / "rows.csv", tmp_path / "cache"
    assert fit(table, tmp_path / "one", "--cache", cache) == 0
    (file,) = cache.iterdir()
    monkeypatch.setitem(sources.READERS, ".csv", None)
    assert fit(table, tmp_path / "two", "--cache", cache, "--memory", "1GB") == 0
    rows = aedetect.open_rows(customers().drop(columns="id"))
    scores = [
        aedetect.load(path).score_samples(rows) for path in (folder / "model", tmp_path / "two")
    ]
    np.testing.assert_array_equal(*scores)
    assert list(cache.iterdir()) == [file]


def test_too_little_memory_is_an_error_in_one_line(folder, capsys, monkeypatch):
    monkeypatch.setattr(plan, "BLOCK", 16)
    for size, message in (("1B", "or more"), ("much", "memory='much' must be")):
        arguments = ["fit", folder / "rows.csv", "-o", folder / "no", "--memory", size]
        assert message in error_of(arguments, capsys)
    assert not (folder / "no").exists()


def test_errors_name_file_row_and_option(folder, tmp_path, capsys):
    table = customers().drop(columns="id")
    table["age"] = table["age"].astype(object)
    table.loc[110, "age"] = "old"
    table.to_csv(tmp_path / "late.csv", index=False)
    arguments = ["fit", tmp_path / "late.csv", "-o", tmp_path / "m", "--memory", "10MB"]
    text = error_of(arguments, capsys)
    assert f"{tmp_path / 'late.csv'} holds 'old' in row 112, column 'age'" in text
    assert "--drop 'age' leaves it out" in text
    option = 'categorical_features=["age"]'
    assert f"--set '{option}', with the names of all" in text
    option = 'categorical_features=["age", "city", "member", "grade"]'
    assert fit(tmp_path / "late.csv", tmp_path / "m", "--memory", "10MB", "--set", option) == 0
    assert "old" in levels(tmp_path / "m")["age"]
    customers().to_csv(tmp_path / "ids.csv", index=False)
    text = error_of(["fit", tmp_path / "ids.csv", *arguments[2:]], capsys)
    assert "Column 'id' has" in text
    assert "--drop 'id'" in text
    assert not list(tmp_path.glob("*.rows"))


def test_the_first_missing_cell_of_the_file_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("aedetect.cli.fit.CHECKED", 200)
    table = customers().drop(columns="id").astype({"age": float})
    table.loc[[95, 110, 115], "age"] = np.nan
    table.to_csv(tmp_path / "gap.csv", index=False)
    arguments = ["fit", tmp_path / "gap.csv", "-o", tmp_path / "m", "--memory", "10MB"]
    text = error_of(arguments, capsys)
    assert "gap.csv has no value in row 97 of column 'age'. --set missing=mask" in text
    assert fit(*arguments[1:2], tmp_path / "m", *arguments[4:], "--set", "missing=mask") == 0


@pytest.mark.filterwarnings("default")
def test_columns_of_numbers_that_tell_rows_apart_are_named(tmp_path, monkeypatch, capsys):
    table = customers().drop(columns="id")
    table.insert(1, "code", 2_000_000_000 + np.arange(len(table)))  # float32 rounds these
    table.insert(2, "kind", np.arange(len(table)) % 60)

    def warned(*arguments):
        path = tmp_path / "ids.tsv"
        table.to_csv(path, sep="\t", index=False)
        capsys.readouterr()
        assert fit(path, tmp_path / "m", "--memory", "10MB", *arguments) == 0
        return capsys.readouterr().err

    assert "number in every row, as identifiers and times do: 'code'. New" in warned()
    assert "different number" not in warned("--drop", "code")
    monkeypatch.setattr("aedetect.cli.tables.CHUNK_ROWS", 50)
    assert "number in each of the first 50 rows, as" in warned()
    assert "do: 'kind'. New" in warned("--drop", "code")
    option = 'categorical_features=["kind", "city", "member", "grade"]'
    assert "different number" not in warned("--drop", "code", "--set", option)


def test_an_array_is_fitted_on_the_disk(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(200, 4)))
    arguments = ["--memory", "10MB", "--drop"]
    assert fit(tmp_path / "x.npy", tmp_path / "m", *arguments, "x1") == 0
    assert aedetect.load(tmp_path / "m").n_features_in_ == 3
    text = error_of(["fit", tmp_path / "x.npy", "-o", tmp_path / "m", *arguments, "a"], capsys)
    assert "x0, x1 and so on, but --drop names 'a'" in text
    assert resume(tmp_path, tmp_path / "s.parquet", "--drop", "x1", model="m", table="x.npy") == 0
    assert len(pd.read_parquet(tmp_path / "s.parquet")) == 200


def test_scores_go_on_where_they_ended(folder, tmp_path, monkeypatch, capsys):
    out, calls = tmp_path / "scores.parquet", []
    scores_of = ConformalDetector._scores_and_p_values

    def interrupted(self, X):
        calls.append(len(X))
        if len(calls) == 4:  # a probe, two parts, and the end
            raise KeyboardInterrupt
        return scores_of(self, X)

    monkeypatch.setattr(ConformalDetector, "_scores_and_p_values", interrupted)
    assert resume(folder, out, "--cache", tmp_path / "cache") == 130
    assert not out.exists()
    assert resume(folder, out, "--cache", tmp_path / "cache") == 0
    assert calls == [64, 30, 30, 30, 64, 30, 30]
    scores, model = pd.read_parquet(out), aedetect.load(folder / "model")
    rows = aedetect.open_rows(folder / "rows.csv")
    monkeypatch.undo()
    np.testing.assert_array_equal(scores["score"], model.score_samples(rows))
    np.testing.assert_array_equal(scores["anomaly"], model.predict(rows) == -1)
    assert scores["row"].tolist() == list(range(2, 2 + len(rows)))
    whole = tmp_path / "whole.csv"
    main(["score", str(folder / "model"), str(folder / "rows.csv"), "-o", str(whole)])
    np.testing.assert_allclose(scores["score"], pd.read_csv(whole)["score"], rtol=1e-4)


def test_cells_stand_for_the_levels_of_the_model(folder, tmp_path):
    table = customers()[["grade", "city", "member", "spent", "age", "id"]]
    table[table["grade"] != "x"].to_csv(tmp_path / "new.csv", index=False)  # grades are numbers
    assert resume(folder, tmp_path / "s.parquet", table=tmp_path / "new.csv") == 0
    main(["score", str(folder / "model"), str(tmp_path / "new.csv"), "-o", str(tmp_path / "s.csv")])
    scores = [pd.read_parquet(tmp_path / "s.parquet"), pd.read_csv(tmp_path / "s.csv")]
    np.testing.assert_allclose(scores[0]["score"], scores[1]["score"], rtol=1e-4)


def test_what_cannot_be_scored_names_file_and_row(folder, tmp_path, capsys):
    table = customers()
    table["age"] = table["age"].astype(object)
    for cell, message in (
        ("old", f"{tmp_path / 'new.csv'} holds 'old' in row 112 of column 'age'"),
        (None, f"{tmp_path / 'new.csv'} has no value in row 112 of column 'age'"),
    ):
        table.loc[110, "age"] = cell
        table.to_csv(tmp_path / "new.csv", index=False)
        arguments = ["score", "--resume", folder / "model", tmp_path / "new.csv", "-o"]
        text = error_of([*arguments, tmp_path / "s.parquet"], capsys)
        assert message in text
        assert not (tmp_path / "s.parquet").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "name it with --out"),
        (["--resume", "-o", "s.csv"], "name it with --out"),
        (["--resume", "-o", "s.parquet", "--explain", "3"], "leave out --explain"),
        (["--cache", "x"], "--cache and --engine need --resume"),
        (["--engine", "ray"], "--cache and --engine need --resume"),
    ],
)
def test_options_that_do_not_go_together_are_bad_usage(options, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(["score", "model", "rows.csv", *options])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
