"""``aedetect fit``, ``score``, ``report`` and ``info``, from files to files."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import aedetect
from aedetect.cli import main, tables

SMALL = ["--set", "hidden_layer_sizes=[8]", "--set", "max_epochs=3", "--set", "random_state=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a table of numbers and text, and a model fitted to the numbers."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.RandomState(0)
    rows = rng.randn(200, 2) @ rng.randn(2, 4) + 0.1 * rng.randn(200, 4)
    frame = pd.DataFrame(rows, columns=["hum", "heat", "load, total", "speed"])
    frame.insert(0, "id", [f"m{i}" for i in range(200)])
    frame["odd"] = 1
    frame.to_csv(folder / "rows.csv", index=False)
    frame.head(30).to_csv(folder / "few.csv", index=False)
    arguments = ["fit", str(folder / "rows.csv"), "-o", str(folder / "model.aedetect")]
    assert main([*arguments, "--drop", "id", "odd", *SMALL]) == 0
    return folder


def score(folder, *arguments, table="rows.csv"):
    """Run ``aedetect score`` and return the table that it writes."""
    out = folder / "scores.csv"
    paths = [str(folder / "model.aedetect"), str(folder / table)]
    assert main(["score", *paths, "-o", str(out), *arguments]) == 0
    return pd.read_csv(out)


def error_of(arguments, capsys):
    assert main([str(argument) for argument in arguments]) == 1
    text = capsys.readouterr().err
    assert text.startswith("aedetect: ")
    assert text.count("\n") == 1
    return text


def test_fit_writes_a_calibrated_model_and_prints_a_summary(folder, tmp_path, capsys):
    model = aedetect.load(folder / "model.aedetect")
    assert list(model.feature_names_in_) == ["hum", "heat", "load, total", "speed"]
    assert len(model.calibration_scores_) == 40
    assert model.estimator_.n_iter_ == 3
    arguments = ["fit", folder / "rows.csv", "-o", tmp_path / "m", "--drop", "id", *SMALL]
    assert main([str(argument) for argument in arguments]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "DenoisingAutoencoder: 200 rows of 5 columns, 3 epochs" in output.err


def test_estimator_settings_and_calibration_are_those_asked_for(folder, tmp_path):
    path = tmp_path / "vae.aedetect"
    arguments = ["fit", str(folder / "rows.csv"), "-o", str(path), "--drop", "id", *SMALL]
    more = ["--estimator", "vae", "--set", "beta=0.5", "--set", "scaling=common"]
    assert main([*arguments, *more, "--calibration", "0"]) == 0
    model = aedetect.load(path)
    assert isinstance(model, aedetect.VAEDetector)
    assert (model.beta, model.scaling, model.hidden_layer_sizes) == (0.5, "common", [8])
    assert main([*arguments, "--calibration", "0.5"]) == 0
    assert len(aedetect.load(path).calibration_scores_) == 100


def test_scores_are_those_of_the_model_one_line_a_row(folder):
    model = aedetect.load(folder / "model.aedetect")
    X = pd.read_csv(folder / "rows.csv")[model.feature_names_in_]
    table = score(folder)
    assert list(table) == ["row", "score", "p_value", "anomaly"]
    np.testing.assert_array_equal(table["row"], np.arange(2, 202))  # as a spreadsheet does
    np.testing.assert_array_equal(table["score"], model.score_samples(X))
    np.testing.assert_array_equal(table["p_value"], model.p_values(X))
    np.testing.assert_array_equal(table["anomaly"], model.predict(X) == -1)


def test_score_scores_each_row_once(folder, monkeypatch):
    calls = []
    score_samples = aedetect.DenoisingAutoencoder.score_samples

    def counted(detector, X):
        calls.append(len(X))
        return score_samples(detector, X)

    monkeypatch.setattr(aedetect.DenoisingAutoencoder, "score_samples", counted)
    monkeypatch.setattr(tables, "CHUNK_ROWS", 150)
    score(folder, "--alpha", "0.05")
    assert calls == [150, 50]


def test_alpha_is_the_level_of_the_p_values(folder):
    strict, loose = score(folder, "--alpha", "0.05"), score(folder, "--alpha", "0.5")
    np.testing.assert_array_equal(loose["anomaly"], loose["p_value"] <= 0.5)
    assert 0 < strict["anomaly"].sum() < loose["anomaly"].sum()


def test_explain_names_the_features_that_add_most(folder):
    model = aedetect.load(folder / "model.aedetect")
    X = pd.read_csv(folder / "rows.csv")[model.feature_names_in_]
    contributions = np.asarray(model.explain(X))
    table = score(folder, "--explain", "2")
    for row in (0, 7):
        first, second = np.argsort(-contributions[row])[:2]
        assert table.loc[row, "feature_1"] == X.columns[first]
        assert table.loc[row, "feature_2"] == X.columns[second]
        assert table.loc[row, "contribution_1"] == contributions[row, first]
    assert "feature_3" not in table


def test_kept_columns_stand_first(folder):
    table = score(folder, "--keep", "id", "odd")
    assert list(table)[:3] == ["row", "id", "odd"]
    assert table["id"].iloc[3] == "m3"


def test_columns_are_matched_by_name_and_others_are_ignored(folder):
    frame = pd.read_csv(folder / "rows.csv")
    frame[["speed", "heat", "load, total", "hum"]].assign(note="x").to_csv(folder / "turned.csv")
    np.testing.assert_array_equal(score(folder, table="turned.csv"), score(folder))


@pytest.mark.parametrize("suffix", [".parquet", ".csv.gz", ".csv"])
def test_all_kinds_of_tables_give_the_same_scores(folder, suffix):
    frame = pd.read_csv(folder / "rows.csv")
    table = f"again{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(folder / table)
    else:
        frame.to_csv(folder / table, index=False, sep=";")
    separator = [] if suffix == ".parquet" else ["--sep", ";"]
    np.testing.assert_array_equal(score(folder, *separator, table=table), score(folder))


def test_arrays_of_images_are_read_too(tmp_path):
    images = np.random.RandomState(0).rand(60, 4, 4).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    path = str(tmp_path / "images.npy")
    model = str(tmp_path / "model")
    assert main(["fit", path, "-o", model, "--calibration", "0", *SMALL]) == 0
    out = tmp_path / "scores.csv"
    assert main(["score", model, path, "-o", str(out), "--explain", "1"]) == 0
    table = pd.read_csv(out)
    assert list(table) == ["row", "score", "anomaly", "feature_1", "contribution_1"]
    assert len(table) == 60
    assert set(table["feature_1"]) <= {f"x{i}" for i in range(16)}


def test_tables_are_read_in_chunks_and_scores_do_not_depend_on_them(folder, monkeypatch):
    whole = score(folder, "--explain", "1")
    monkeypatch.setattr(tables, "CHUNK_ROWS", 60)
    chunks = list(tables.read_chunks(folder / "rows.csv", sep=","))
    assert [len(chunk) for chunk in chunks] == [60, 60, 60, 20]
    assert chunks[1].index[0] == 62
    pd.testing.assert_frame_equal(score(folder, "--explain", "1"), whole)


def test_without_out_scores_go_to_stdout(folder, capsys):
    assert main(["score", str(folder / "model.aedetect"), str(folder / "rows.csv")]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("row,score,p_value,anomaly\n2,-")
    assert output.out.count("\n") == 201


@pytest.mark.parametrize("suffix", [".parquet", ".PARQUET", ".csv.gz", ".csv"])
def test_scores_are_written_in_the_format_of_the_name(folder, tmp_path, monkeypatch, suffix):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(tables, "CHUNK_ROWS", 12)
    more = ["--keep", "id", "odd", "--explain", "1"]
    expected = score(folder, *more, table="few.csv")
    out = tmp_path / f"scores{suffix}"
    paths = [str(folder / "model.aedetect"), str(folder / "few.csv")]
    assert main(["score", *paths, "-o", str(out), *more]) == 0
    written = pd.read_parquet(out) if "parquet" in suffix.lower() else pd.read_csv(out)
    pd.testing.assert_frame_equal(written, expected)
    assert (out.read_bytes()[:2] == b"\x1f\x8b") == (suffix == ".csv.gz")
    assert list(tmp_path.iterdir()) == [out]


def test_parquet_results_are_written_in_chunks(folder, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "CHUNK_ROWS", 70)
    out = tmp_path / "scores.parquet"
    paths = [str(folder / "model.aedetect"), str(folder / "rows.csv"), "-o", str(out)]
    assert main(["score", *paths]) == 0
    assert parquet.ParquetFile(out).num_row_groups == 3


def test_a_parquet_result_that_fails_halfway_leaves_the_former_one(
    folder, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(tables, "CHUNK_ROWS", 100)
    frame = pd.read_csv(folder / "rows.csv")
    frame["note"] = [*range(150), *["word"] * 50]
    frame.to_csv(tmp_path / "notes.csv", index=False)
    out = tmp_path / "scores.parquet"
    out.write_text("former")
    paths = [folder / "model.aedetect", tmp_path / "notes.csv", "-o", out, "--keep", "note"]
    text = error_of(["score", *paths], capsys)
    assert "column note" in text
    assert "row 102 or after" in text
    assert "Write a .csv file" in text
    assert out.read_text() == "former"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_gap_in_a_kept_column_of_numbers_is_a_gap_in_the_parquet_result(
    folder, tmp_path, monkeypatch
):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(tables, "CHUNK_ROWS", 100)
    frame = pd.read_csv(folder / "rows.csv", dtype={"odd": "Int64"})
    frame.loc[150, "odd"] = pd.NA
    frame.to_csv(tmp_path / "gap.csv", index=False)
    out = tmp_path / "scores.parquet"
    paths = [folder / "model.aedetect", tmp_path / "gap.csv", "-o", out, "--keep", "odd"]
    assert main(["score", *map(str, paths)]) == 0
    np.testing.assert_array_equal(pd.read_parquet(out)["odd"].isna(), frame["odd"].isna())


def test_a_parquet_result_without_pyarrow_names_the_extra(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    paths = [folder / "model.aedetect", folder / "rows.csv", "-o", tmp_path / "s.parquet"]
    assert "pip install pyarrow" in error_of(["score", *paths], capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "out", "rule"),
    [
        ("fit", "model.parquet", ".aedetect, .safetensors, no ending"),
        ("score", "scores.npy", ".csv, .csv.gz, .parquet"),
        ("score", "scores", ".csv, .csv.gz, .parquet"),
        ("score", "scores.parquet.gz", ".csv, .csv.gz, .parquet"),
        ("report", "page.pdf", ".html, .htm"),
    ],
)
def test_an_ending_of_another_format_is_refused_with_the_rule(
    folder, tmp_path, capsys, command, out, rule
):
    model = [] if command == "fit" else [str(folder / "model.aedetect")]
    with pytest.raises(SystemExit) as stop:
        main([command, *model, str(folder / "rows.csv"), "-o", str(tmp_path / out)])
    assert stop.value.code == 2
    assert f"{out} has none of: {rule}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("default")  # as a user has it
def test_a_level_that_no_row_can_reach_warns_with_the_rows_needed(folder, tmp_path, capsys):
    rows = [str(folder / "model.aedetect"), str(folder / "rows.csv")]
    out = tmp_path / "scores.csv"
    assert main(["score", *rows, "-o", str(out), "--alpha", "0.02"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("aedetect: 40 calibration rows are too few for any alarm at --alpha 0.0")
    assert "it takes 49." in line
    assert "raise --alpha above 0.02439" in line
    assert pd.read_csv(out)["anomaly"].sum() == 0
    assert main(["score", *rows, "-o", str(out), "--alpha", "0.0244"]) == 0
    assert capsys.readouterr().err == ""
    assert pd.read_csv(out)["anomaly"].sum() > 0


def test_a_reader_that_closes_the_output_ends_the_scores_silently(folder, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)  # as head does, before the first row is written
    with open(writer, "w") as stdout:  # noqa: PTH123  # its end flushes, as that of a process does
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["score", str(folder / "model.aedetect"), str(folder / "rows.csv")]) == 141
    assert capsys.readouterr().err == ""


def test_score_names_the_cell_that_is_no_number_and_does_not_drop_what_the_model_needs(
    folder, tmp_path, capsys
):
    frame = pd.read_csv(folder / "rows.csv")
    frame["heat"] = frame["heat"].astype(object)
    frame.loc[7, "heat"] = "warm"
    frame.to_csv(tmp_path / "words.csv", index=False)
    for command in ("score", "report"):
        text = error_of([command, folder / "model.aedetect", tmp_path / "words.csv"], capsys)
        assert "words.csv holds 'warm' in row 9 of column 'heat'." in text
        assert "fitted to numbers in this column" in text
        assert "--drop" not in text


def test_a_model_without_names_takes_the_columns_that_are_not_left_out(folder, tmp_path, capsys):
    frame = pd.read_csv(folder / "rows.csv")
    X = frame.drop(columns=["id", "odd"])
    model = aedetect.DenoisingAutoencoder(hidden_layer_sizes=(8,), max_epochs=3, random_state=0)
    aedetect.save(model.fit(X.to_numpy()), tmp_path / "unnamed")
    out = tmp_path / "scores.csv"
    arguments = ["score", tmp_path / "unnamed", folder / "rows.csv", "-o", out, "--keep", "odd"]
    text = error_of(arguments, capsys)
    assert "fitted to 4 columns without names" in text
    assert "has 6: id, hum, heat, load, total, speed, odd. Leave the others out with --drop" in text
    assert main([*map(str, arguments), "--drop", "id", "odd"]) == 0
    table = pd.read_csv(out)
    np.testing.assert_array_equal(table["score"], model.score_samples(X.to_numpy()))
    np.testing.assert_array_equal(table["odd"], frame["odd"])
    page = tmp_path / "page.html"
    arguments = ["report", str(tmp_path / "unnamed"), str(folder / "rows.csv"), "-o", str(page)]
    assert main([*arguments, "--drop", "id", "odd"]) == 0
    assert "AUROC" not in page.read_text()  # without labels


def test_a_kept_column_may_not_be_named_as_a_result(folder, tmp_path, capsys):
    pd.read_csv(folder / "rows.csv").assign(score=1).to_csv(tmp_path / "scored.csv")
    arguments = ["score", folder / "model.aedetect", tmp_path / "scored.csv", "--keep", "score"]
    assert "--keep score: the results have columns of that name" in error_of(arguments, capsys)


def test_two_fits_with_one_seed_are_equal_and_others_are_not(folder, tmp_path):
    def fitted(*seed):
        path = str(tmp_path / "m")
        arguments = ["fit", str(folder / "rows.csv"), "-o", path, "--drop", "id", "odd"]
        assert main([*arguments, *SMALL[:4], *seed]) == 0
        return aedetect.load(path)

    def file_of(model):
        model.estimator_.history_["seconds"][:] = 0  # all else is the same
        aedetect.save(model, tmp_path / "again")
        return (tmp_path / "again").read_bytes()

    first, second = fitted("--seed", "7"), fitted("--set", "random_state=7")
    other = fitted("--seed", "8")
    assert file_of(first) == file_of(second)
    assert not np.array_equal(first.calibration_indices_, other.calibration_indices_)
    assert not np.array_equal(first.calibration_scores_, other.calibration_scores_)


def test_columns_that_identify_rows_are_named_and_refused(folder, tmp_path, capsys):
    text = error_of(["fit", folder / "rows.csv", "-o", tmp_path / "m"], capsys)
    assert "Column 'id' has 160 levels in 160 rows" in text
    assert text.endswith("On the command line, --drop 'id' leaves it out.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "has no value in row"), (np.inf, "holds infinity in row")]
)
@pytest.mark.parametrize("row", [7, 160])
def test_errors_name_the_row_of_the_file_and_the_column(
    folder, tmp_path, monkeypatch, capsys, value, message, row
):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 50)
    frame = pd.read_csv(folder / "rows.csv").drop(columns="id")
    frame.loc[[row, 170, 190], "heat"] = value  # more than one, wherever the rows are divided
    bad = tmp_path / "bad.csv"
    frame.to_csv(bad, index=False)
    commands = [
        ["fit", bad, "-o", tmp_path / "m", *SMALL],
        ["score", folder / "model.aedetect", bad, "-o", tmp_path / "s.csv"],
        ["report", folder / "model.aedetect", bad, "-o", tmp_path / "page.html"],
    ]
    for command in commands:
        text = error_of(command, capsys)
        assert f"bad.csv {message} {row + 2} of column 'heat'" in text
        assert ("--set missing=mask" in text) == bool(np.isnan(value))


def test_files_that_cannot_be_read_are_named(tmp_path, capsys):
    contents = {
        "latin.csv": ("a,b\n1,2\n" + "0,1\n" * 99 + "ä,3\n").encode("latin1"),
        "ragged.csv": b"a,b\n1,2\n1,2,3,4\n",
        "plain.csv.gz": b"a,b\n1,2\n",
        "cut.csv.gz": gzip.compress(b"a,b\n" + b"1,2\n" * 999)[:40],
        "text.npy": b"a,b\n1,2\n",
        "text.parquet": b"a,b\n1,2\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        text = error_of(["fit", tmp_path / name, "-o", tmp_path / "m"], capsys)
        assert str(tmp_path / name) in text
        assert ("UTF-8" in text) == (name == "latin.csv")
    assert "iconv -f latin1 -t utf-8" in error_of(
        ["fit", tmp_path / "latin.csv", "-o", tmp_path / "m"], capsys
    )


@pytest.mark.parametrize("labels", [[0, 1], [False, True], [0.5, 0.25]])
def test_report_refuses_labels_as_the_library_does(folder, tmp_path, capsys, labels):
    frame = pd.read_csv(folder / "rows.csv").assign(truth=labels * 100)
    frame.to_csv(tmp_path / "labelled.csv", index=False)
    model, page = folder / "model.aedetect", tmp_path / "page.html"
    arguments = ["report", model, tmp_path / "labelled.csv", "-o", page, "--label", "truth"]
    text = error_of(arguments, capsys)
    assert "--label truth must hold +1 for normal rows and -1" in text
    assert f"marks normal rows, with --label-normal {min(labels)}." in text
    with pytest.raises(ValueError, match=r"y must hold \+1 for .*1 - 2 \* y"):
        aedetect.report(aedetect.load(model), frame, frame["truth"], page)
    assert not page.exists()


def test_a_failure_halfway_leaves_the_former_result(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 50)
    before = score(folder)
    frame = pd.read_csv(folder / "rows.csv")
    frame.loc[160, "heat"] = np.nan
    frame.to_csv(tmp_path / "gap.csv", index=False)
    out = folder / "scores.csv"
    paths = [folder / "model.aedetect", tmp_path / "gap.csv", "-o", out]
    assert "gap.csv has no value in row 162" in error_of(["score", *paths], capsys)
    pd.testing.assert_frame_equal(pd.read_csv(out), before)
    assert [path.name for path in folder.iterdir() if "scores" in path.name] == ["scores.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "none.csv", "-o", "m"], "none.csv"),
        (["fit", "rows.xls", "-o", "m"], "must end in .csv, .tsv, .parquet, .npy"),
        (["fit", "rows.csv", "-o", "m", "--drop", "iid"], "no column 'iid'; it has id, hum"),
        (["fit", "rows.csv", "-o", "m", "--drop", "id", "--set", "lr=1"], "Invalid parameter 'lr'"),
        (
            ["fit", "rows.csv", "-o", "m", "--drop", "id", "--set", "latent_dim=no"],
            "'latent_dim' parameter",
        ),
        (["fit", "empty.csv", "-o", "m"], "empty.csv is empty: No columns to parse"),
        (["fit", "head.csv", "-o", "m"], "head.csv holds no row"),
        (["score", "rows.csv", "rows.csv"], "cannot be loaded"),
        (["score", "model.aedetect", "other.csv"], "no column 'hum', 'heat'"),
        (["score", "model.aedetect", "rows.csv", "--keep", "name"], "no column 'name'"),
        (["report", "model.aedetect", "rows.csv", "--label", "hum"], "must hold +1"),
        (["info", "rows.csv"], "cannot be loaded"),
    ],
)
def test_errors_are_one_line_that_names_the_cause(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder)
    (folder / "empty.csv").write_text("")
    (folder / "head.csv").write_text("a,b\n")
    (folder / "other.csv").write_text("a,b\n1,2\n")
    (folder / "rows.xls").write_text("a")
    assert message in error_of(arguments, capsys)
    assert not (folder / "m").exists()


@pytest.mark.filterwarnings("default")  # as a user has it
def test_a_warning_is_one_line_without_a_place_in_the_code(folder, tmp_path, capsys):
    arguments = ["fit", folder / "few.csv", "-o", tmp_path / "m", "--drop", "id", *SMALL]
    assert main([str(argument) for argument in arguments]) == 0
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("aedetect: 6 calibration rows are too few")
    assert ".py" not in first


def test_alpha_needs_calibration_rows(folder, tmp_path, capsys):
    rows, model = folder / "rows.csv", tmp_path / "plain"
    plain = ["fit", rows, "-o", model, "--drop", "id", "--calibration", "0", *SMALL]
    assert main([str(argument) for argument in plain]) == 0
    capsys.readouterr()
    assert "without --calibration 0" in error_of(["score", model, rows, "--alpha", "0.1"], capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "rows.csv"],
        ["fit", "rows.csv", "-o", "m", "--set", "latent_dim"],
        ["fit", "rows.csv", "-o", "m", "--calibration", "1"],
        ["score", "m", "rows.csv", "--alpha", "0"],
        ["score", "m", "rows.csv", "--alpha", "low"],
        ["score", "m", "rows.csv", "--explain", "-1"],
        ["fit", "rows.csv", "-o", "m", "--seed", "one"],
    ],
)
def test_bad_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: aedetect" in capsys.readouterr().err


def test_report_writes_a_page_with_the_labels(folder, tmp_path, capsys):
    page, table = tmp_path / "page.html", tmp_path / "labelled.csv"
    frame = pd.read_csv(folder / "rows.csv").assign(truth=np.where(np.arange(200) < 9, -1, 1))
    frame.to_csv(table, index=False)
    paths = [str(folder / "model.aedetect"), str(table), "-o", str(page)]
    assert main(["report", *paths, "--label", "truth"]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert "load, total" in page.read_text()
    assert "AUROC" in page.read_text()
    assert f"<h3>row {score(folder)['score'].idxmin() + 2}</h3>" in page.read_text()


@pytest.mark.filterwarnings("default")
def test_columns_of_numbers_that_tell_rows_apart_are_named_with_the_remedy(tmp_path, capsys):
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"heat": rng.randn(60), "hours": rng.randint(9, size=60)})
    frame["serial no"] = rng.permutation(np.arange(7000, 7060))
    frame["time"] = np.cumsum(rng.rand(60))
    frame.to_csv(tmp_path / "ids.csv", index=False)
    arguments = ["fit", str(tmp_path / "ids.csv"), "-o", str(tmp_path / "m"), *SMALL]
    assert main([*arguments, "--calibration", "0"]) == 0
    (line, _) = capsys.readouterr().err.splitlines()
    assert "a different number in every row" in line
    assert "do: 'serial no', 'time'. New" in line
    assert line.endswith("fit again with --drop 'serial no' time.")
    assert main([*arguments, "--calibration", "0", "--drop", "serial no", "time"]) == 0
    assert "number in every row" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "normal"), [([1, 0], "0"), ([1.0, 0.0], "0"), ([True, False], "False"), ("an", "n")]
)
def test_any_label_may_mark_normal_rows(folder, tmp_path, monkeypatch, labels, normal):
    frame = pd.read_csv(folder / "rows.csv")
    is_odd = np.arange(200) < 9
    frame.assign(truth=np.where(is_odd, *labels)).to_csv(tmp_path / "t.csv", index=False)
    given = []
    monkeypatch.setattr("aedetect.cli.report.report", lambda *args, **more: given.append(args[2]))
    paths = ["report", str(folder / "model.aedetect"), str(tmp_path / "t.csv"), "--label", "truth"]
    assert main([*paths, "--label-normal", normal]) == 0
    np.testing.assert_array_equal(given[0], np.where(is_odd, -1, 1))


def test_labels_that_no_row_has_and_rows_without_a_label_are_refused(folder, tmp_path, capsys):
    frame = pd.read_csv(folder / "rows.csv").assign(truth=0)
    frame.to_csv(tmp_path / "t.csv", index=False)
    arguments = ["report", folder / "model.aedetect", tmp_path / "t.csv", "--label", "truth"]
    text = error_of([*arguments, "--label-normal", "ok"], capsys)
    assert "No row has --label-normal ok: column 'truth'" in text
    assert text.endswith("holds 0.\n")
    frame.astype({"truth": object}).assign(
        truth=lambda part: part["truth"].where(part.index != 5)
    ).to_csv(tmp_path / "t.csv", index=False)
    text = error_of([*arguments, "--label-normal", "0"], capsys)
    assert "t.csv has no label in row 7 of column 'truth'" in text
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments[:3]), "--label-normal", "0"])
    assert stop.value.code == 2


def test_report_flags_at_alpha_and_names_rows_by_the_kept_columns(folder, tmp_path):
    page = tmp_path / "page.html"
    paths = [str(folder / "model.aedetect"), str(folder / "rows.csv"), "-o", str(page)]
    assert main(["report", *paths, "--keep", "id", "odd", "--alpha", "0.5"]) == 0
    table = score(folder, "--alpha", "0.5", "--keep", "id")
    assert f"{table['anomaly'].sum()} of 200 rows" in page.read_text()
    worst = table.loc[table["score"].idxmin()]
    assert f"<h3>id {worst['id']}, odd 1, row {worst['row']}</h3>" in page.read_text()


def test_info_describes_a_file_without_torch(folder):
    program = (
        "import sys, aedetect.cli\n"
        f"code = aedetect.cli.main(['info', {str(folder / 'model.aedetect')!r}])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "class: ConformalDetector" in result.stdout
    assert "hum, heat, load, total, speed" in result.stdout
    assert "DenoisingAutoencoder" in result.stdout
    assert "epochs: 3" in result.stdout
    assert "intact: True" in result.stdout


def test_info_exits_with_1_where_the_checksum_fails(folder, tmp_path, capsys):
    content = bytearray((folder / "model.aedetect").read_bytes())
    content[-5] ^= 1
    (tmp_path / "bent").write_bytes(content)
    assert "damaged" in error_of(["info", tmp_path / "bent"], capsys)


def test_ctrl_c_exits_with_130_and_leaves_the_former_result(folder, monkeypatch, capsys):
    before = score(folder)
    monkeypatch.setattr(tables, "CHUNK_ROWS", 50)
    whole = tables._read_csv

    def interrupted(*arguments):
        yield next(whole(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(tables, "_read_csv", interrupted)
    out = folder / "scores.csv"
    paths = [folder / "model.aedetect", folder / "rows.csv", "-o", out]
    assert main(["score", *map(str, paths)]) == 130
    assert capsys.readouterr().err == "aedetect: interrupted\n"
    pd.testing.assert_frame_equal(pd.read_csv(out), before)
