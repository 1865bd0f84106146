"""``aedetect fit --label``: known anomalies and normal rows of a table."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from aedetect import ConformalDetector, DenoisingAutoencoder, load
from aedetect.cli import main

SMALL = ["--set", "hidden_layer_sizes=[8]", "--set", "max_epochs=3", "--seed", "0"]
NAMES = list("abcde")


@pytest.fixture
def frame():
    """Return 120 normal rows and 10 anomalies, 8 of them and 5 normal rows labelled."""
    rng = np.random.RandomState(0)
    X = rng.randn(130, 5)
    X[120:, 2] += 4
    label = np.full(130, np.nan)
    label[:5], label[120:128] = 1, -1
    return pd.DataFrame(X, columns=NAMES).assign(label=label)


def fit(frame, tmp_path, *options):
    """Fit to a frame by the command line, and return the exit code and the file of the model."""
    frame.to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / "model.aedetect"
    return main(["fit", str(tmp_path / "rows.csv"), "-o", str(out), *SMALL, *options]), out


def test_labels_of_a_column_are_used_as_in_python(frame, tmp_path):
    code, out = fit(frame, tmp_path, "--label", "label", "--calibration", "0")
    assert code == 0
    detector = DenoisingAutoencoder(
        hidden_layer_sizes=(8,), max_epochs=3, random_state=0, labels="use"
    ).fit(frame[NAMES], frame["label"].fillna(0))
    expected = detector.score_samples(frame[NAMES])
    np.testing.assert_allclose(load(out).score_samples(frame[NAMES]), expected)


def test_other_labels_are_read_by_the_name_of_the_normal_one(frame, tmp_path):
    _, out = fit(frame, tmp_path, "--label", "label")
    expected = load(out).score_samples(frame[NAMES])
    words = frame.assign(label=frame["label"].map({1: "ok", -1: "leak"}))
    words.loc[125, "label"] = "crack"
    code, out = fit(words, tmp_path, "--label", "label", "--label-normal", "ok")
    assert code == 0
    np.testing.assert_array_equal(load(out).score_samples(frame[NAMES]), expected)


def test_the_summary_and_json_count_the_known_rows(frame, tmp_path, capsys):
    assert fit(frame, tmp_path, "--label", "label", "--json")[0] == 0
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert (facts["n_anomalies"], facts["n_normal"], facts["n_columns"]) == (8, 5, 5)
    assert "8 anomalies and 5 normal rows known" in printed.err
    assert f"{facts['calibration']['n_rows']} rows calibrate" in printed.err
    assert fit(frame[NAMES], tmp_path, "--json")[0] == 0
    assert json.loads(capsys.readouterr().out)["n_anomalies"] is None


def test_no_known_anomaly_calibrates(frame, tmp_path):
    _, out = fit(frame, tmp_path, "--label", "label", "--calibration", "0.5")
    model = load(out)
    assert isinstance(model, ConformalDetector)
    assert len(model.calibration_scores_) == (130 - 8) / 2


@pytest.mark.parametrize(
    ("cells", "options", "rule"),
    [
        ({7: 2}, [], "holds 2 in row 9 of column 'label'. Labels are -1 for known anomalies"),
        ({7: "bad"}, [], "holds 'bad' in row 9 of column 'label'. Labels are"),
        ({7: 0.5}, [], "holds 0.5 in row 9 of column 'label'"),
        (dict.fromkeys(range(120, 128), 0), [], "'label' of .* marks no row as an anomaly"),
        (dict.fromkeys(range(120, 128)), [], "it holds 1.0. Labels are"),
        ({}, ["--label-normal", "ok"], "No row has --label-normal ok: column 'label' of .* -1"),
        (dict.fromkeys(range(120, 128)), ["--label-normal", "1"], "marks no row as an anomaly"),
    ],
)
def test_bad_labels_are_named_as_a_spreadsheet_shows_them(
    frame, tmp_path, capsys, cells, options, rule
):
    frame["label"] = frame["label"].astype(object)
    for row, cell in cells.items():
        frame.loc[row, "label"] = cell
    code, out = fit(frame, tmp_path, "--label", "label", *options)
    assert (code, out.exists()) == (1, False)
    assert re.search(rule, capsys.readouterr().err)


def test_a_column_that_is_not_there_is_named(frame, tmp_path, capsys):
    assert fit(frame, tmp_path, "--label", "truth")[0] == 1
    assert "has no column 'truth'; it has a, b, c, d, e, label" in capsys.readouterr().err


def test_an_error_in_a_cell_names_its_row_in_the_file(frame, tmp_path, capsys):
    frame.loc[100, "b"] = np.inf
    frame.loc[:3, "label"] = -1
    assert fit(frame, tmp_path, "--label", "label")[0] == 1
    assert "infinity in row 102 of column 'b'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--label-normal", "0"], "needs --label COLUMN"),
        (["--set", "labels=use"], "needs --label COLUMN"),
        (["--label", "label", "--set", "labels=ignore"], "--set has labels=ignore"),
        (["--label", "label", "--memory", "1MB"], "leave out --memory and --cache"),
    ],
)
def test_options_that_do_not_go_together_are_refused(frame, tmp_path, capsys, options, rule):
    with pytest.raises(SystemExit) as stop:
        fit(frame, tmp_path, *options)
    assert stop.value.code == 2
    assert rule in capsys.readouterr().err


def test_feedback_names_the_cell_that_is_no_label(frame, tmp_path, capsys):
    _, out = fit(frame, tmp_path, "--label", "label", "--calibration", "0")
    frame.loc[3, "label"] = 5
    frame.to_csv(tmp_path / "rows.csv", index=False)
    assert main(["feedback", str(out), str(tmp_path / "rows.csv")]) == 1
    assert "holds 5 in row 5 of column 'label'. Labels are -1" in capsys.readouterr().err
