"""``--json`` prints one object on stdout, and ``info --card`` a model card."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import aedetect
from aedetect.cli import demo, main
from aedetect.cli.arguments import parse
from aedetect.persistence import info

SMALL = ["--set", "hidden_layer_sizes=[8]", "--set", "max_epochs=3", "--seed", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a table of a number and a category, and its calibrated model."""
    folder = tmp_path_factory.mktemp("json")
    frame = pd.DataFrame({"heat": np.random.RandomState(0).randn(200), "a|b": ["x", None] * 100})
    frame.to_csv(folder / "rows.csv", index=False)
    paths = [str(folder / "rows.csv"), "-o", str(folder / "model.aedetect")]
    assert main(["fit", *paths, *SMALL]) == 0
    return folder


def object_of(capsys, *arguments):
    """Return the object that a command prints, and nothing beside it, on stdout."""
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def card_of(capsys, path):
    assert main(["info", str(path), "--card"]) == 0
    return capsys.readouterr().out


def test_fit_tells_what_the_file_holds(folder, tmp_path, capsys):
    path = tmp_path / "m"
    facts = object_of(capsys, "fit", folder / "rows.csv", "-o", path, *SMALL)
    assert list(facts) == [
        *("command", "table", "model", "n_rows", "n_columns", "n_anomalies", "n_normal"),
        *("estimator", "threshold", "calibration", "training", "n_bytes", "sha256"),
    ]
    assert (facts["command"], facts["n_rows"], facts["n_columns"]) == ("fit", 200, 2)
    assert facts["model"] == str(path)
    model = aedetect.load(path)
    assert facts["threshold"] == model.offset_
    assert facts["calibration"]["n_rows"] == len(model.calibration_scores_)
    assert facts["sha256"] == info(path)["sha256"]


def test_score_counts_rows_and_anomalies(folder, tmp_path, capsys):
    paths = [folder / "model.aedetect", folder / "rows.csv", "-o", tmp_path / "s.csv"]
    facts = object_of(capsys, "score", *paths, "--alpha", "0.3")
    assert list(facts) == ["command", "model", "table", "out", "n_rows", "n_anomalies", "alpha"]
    assert facts["n_anomalies"] == pd.read_csv(tmp_path / "s.csv")["anomaly"].sum() > 0
    assert (facts["n_rows"], facts["alpha"]) == (200, 0.3)


def test_score_with_json_needs_a_file_for_the_rows(folder, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["score", str(folder / "model.aedetect"), str(folder / "rows.csv"), "--json"])
    assert stop.value.code == 2
    assert "--json needs -o" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*could not be made normal")  # by so short a training
@pytest.mark.filterwarnings("ignore:.*could not be made normal")  # by so short a training
def test_report_and_demo_tell_what_they_wrote(folder, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.html"
    monkeypatch.setattr("aedetect.cli.report.report", lambda *args, path, **kwargs: path)
    facts = object_of(capsys, "report", folder / "model.aedetect", folder / "rows.csv", "-o", page)
    assert list(facts) == ["command", "model", "table", "out", "n_rows"]
    assert (facts["out"], facts["n_rows"]) == (str(page), 200)
    for name in ("AutoencoderTransformer", "DenoisingAutoencoder"):
        quick = partial(getattr(aedetect, name), max_epochs=2, hidden_layer_sizes=(8,))
        monkeypatch.setattr(demo, name, quick)
    monkeypatch.setattr(demo, "report", lambda *args, **kwargs: None)
    facts = object_of(capsys, "demo", "--out", tmp_path)
    assert list(facts) == ["command", "digits", "machines"]
    assert facts["digits"]["report"] == str(tmp_path / "digits.html")
    assert facts["digits"]["results"]["PCA (16 components)"]["auroc"] > 0.5
    assert 0 < facts["machines"]["results"]["IsolationForest"]["false_alarms"] < 0.2


def test_info_is_that_of_python(folder, capsys):
    path = folder / "model.aedetect"
    facts = object_of(capsys, "info", path)
    assert facts == {"command": "info", "model": str(path), **info(path)}
    model = aedetect.load(path)
    assert facts["threshold"] == model.offset_
    assert facts["levels"] == {"a|b": ["x", None]}
    assert facts["calibration"]["false_alarms"] <= model.alpha
    assert object_of(capsys, "info", path, "--card")["card"] == card_of(capsys, path)[:-1]


def test_after_an_error_stdout_is_empty(tmp_path, capsys):
    assert main(["info", str(tmp_path / "none"), "--json"]) == 1
    assert capsys.readouterr().out == ""


def test_every_command_has_json(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    commands = re.findall(r"^    (\w+)  ", capsys.readouterr().out, re.MULTILINE)
    assert {"fit", "score", "report", "info", "demo"} <= set(commands)
    for command in set(commands) - {"monitor"}:  # which prints lines of JSON
        with pytest.raises(SystemExit):
            parse([command, "--help"])
        assert "--json" in capsys.readouterr().out


def test_the_card_tells_columns_decision_and_checksum(folder, capsys):
    path = folder / "model.aedetect"
    text, facts = card_of(capsys, path), info(path)
    assert "| heat | numbers |" in text
    assert "| a\\|b | 2 levels: x, (missing) |" in text
    assert f"below {facts['threshold']:.6g}" in text
    assert f"at most {facts['calibration']['false_alarms']:.3g}" in text
    assert "if new normal rows and those" in text
    assert "3 epochs" in text
    assert f"- torch {facts['versions']['torch']}" in text
    assert facts["sha256"] in text


@pytest.mark.filterwarnings("ignore:.*too few for any alarm")
def test_the_card_promises_no_more_than_the_model(tmp_path, capsys):
    path, X = tmp_path / "m", np.random.RandomState(0).randn(90, 2)
    quick = aedetect.AutoencoderTransformer(1, max_epochs=1, hidden_layer_sizes=(4,))
    models = {
        "is not bounded": quick,
        "twice that is proved": aedetect.ConformalDetector(quick, cv=2),
        "no threshold": aedetect.ConformalDetector(quick, alpha=0.001),
        "order counts": aedetect.ConformalDetector(quick.fit(X), prefit=True),
    }
    for words, model in models.items():
        aedetect.save(model.fit(X), path)
        assert words in card_of(capsys, path)


def test_a_file_of_an_earlier_format_has_a_card(capsys):
    path = Path(__file__).parent / "data" / "format_1.aedetect"
    assert "| f | numbers |" in card_of(capsys, path)
