"""Monitor on the command line, in a display and in the report."""

from __future__ import annotations

import json
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from aedetect import ConformalDetector, DenoisingAutoencoder, Monitor, load, report, save
from aedetect.cli import following, main
from aedetect.plotting import MonitorDisplay

TINY = {"hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}


def table(n_rows, seed=0, shift=0.0):
    rng = np.random.RandomState(seed)
    pressure, colour = rng.randn(n_rows) + shift, rng.choice(["red", "green"], n_rows)
    return pd.DataFrame({"pressure": pressure, "colour": colour, "note": '"two\nlines"'})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a file with a calibrated detector of two columns."""
    path = tmp_path_factory.mktemp("model") / "model.aedetect"
    rows = table(300).drop(columns="note")
    detector = ConformalDetector(DenoisingAutoencoder(2, **TINY), random_state=0).fit(rows)
    save(detector, path)
    return path


@pytest.fixture(scope="module")
def monitor(model):
    monitor = Monitor(load(model), random_state=0)
    monitor.update(pd.concat([table(100, 1), table(200, 2, shift=1.5)]).drop(columns="note"))
    return monitor


def events(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# The command line.


def test_a_table_gives_a_line_an_alarm_and_one_of_status(model, monitor, tmp_path, capsys):
    pd.concat([table(100, 1), table(200, 2, shift=1.5)]).to_csv(tmp_path / "new.csv", index=False)
    assert main(["monitor", str(model), str(tmp_path / "new.csv"), "--seed", "0"]) == 0
    *alarms, status = events(capsys)
    assert [alarm.pop("event") for alarm in alarms] == ["alarm"] * len(monitor.alarms_)
    assert [alarm.pop("message") for alarm in alarms] == [str(a) for a in monitor.alarms_]
    assert alarms == [alarm._asdict() for alarm in monitor.alarms_]
    assert status["event"] == "status"
    assert status["verdict"] == "drift"
    assert any(change["column"] == "pressure" for change in status["changes"])


def test_a_kept_monitor_goes_on_where_it_was(model, monitor, tmp_path, capsys):
    whole, kept = str(tmp_path / "new.csv"), str(tmp_path / "kept.aedetect")
    rows = pd.concat([table(100, 1), table(200, 2, shift=1.5)])
    rows[:90].to_csv(whole, index=False)
    assert main(["monitor", str(model), whole, "--seed", "0", "-o", kept]) == 0
    rows.to_csv(whole, index=False)
    assert main(["monitor", kept, whole, "--skip", "90", "-o", kept]) == 0
    alarms = [event for event in events(capsys) if event["event"] == "alarm"]
    assert [alarm["row"] for alarm in alarms] == [alarm.row for alarm in monitor.alarms_]
    assert load(kept).status() == monitor.status()
    assert main(["score", kept, whole, "-o", str(tmp_path / "scores.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 300


def test_rows_are_read_as_they_are_appended(model, monitor, tmp_path, capsys, monkeypatch):
    path = tmp_path / "new.csv"
    text = pd.concat([table(100, 1), table(200, 2, shift=1.5)]).to_csv(index=False)
    pieces = [text[:7], text[7:501], text[501:4000], text[4000:]]
    path.write_text("")

    def append(seconds):
        if not pieces:
            raise KeyboardInterrupt
        with path.open("a") as file:
            file.write(pieces.pop(0))

    monkeypatch.setattr(following.time, "sleep", append)
    arguments = ["monitor", str(model), "--follow", str(path), "--seed", "0"]
    assert main([*arguments, "-o", str(tmp_path / "kept.aedetect")]) == 130
    assert [event["row"] for event in events(capsys)] == [alarm.row for alarm in monitor.alarms_]
    assert load(tmp_path / "kept.aedetect").n_rows_ == 300


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["new.csv"], "lacks|no column 'colour'"),
        (["new.npy", "--follow"], "--follow reads a .csv file"),
        (["wrong.csv", "--follow"], "'high' in row 1 of column 'pressure'"),
    ],
)
def test_mistakes_are_one_line(model, tmp_path, capsys, monkeypatch, arguments, rule):
    monkeypatch.chdir(tmp_path)
    table(3)[["pressure"]].to_csv("new.csv", index=False)
    wrong = table(3).astype({"pressure": object})
    wrong.loc[1, "pressure"] = "high"
    wrong.to_csv("wrong.csv", index=False)
    assert main(["monitor", str(model), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert any(part in error for part in rule.split("|"))


def test_models_without_calibration_and_new_settings_are_refused(tmp_path, monitor, capsys):
    save(monitor, tmp_path / "kept.aedetect")
    save(DenoisingAutoencoder(1, **TINY).fit(np.eye(5)), tmp_path / "bare.aedetect")
    assert main(["monitor", str(tmp_path / "bare.aedetect"), "x.csv"]) == 1
    assert "no calibration rows" in capsys.readouterr().err
    assert main(["monitor", str(tmp_path / "kept.aedetect"), "x.csv", "--alpha", "0.1"]) == 1
    assert "leave out --alpha" in capsys.readouterr().err


def test_a_file_that_becomes_shorter_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "new.csv"
    path.write_text("a\n1\n2\n")
    monkeypatch.setattr(time, "sleep", lambda seconds: path.write_text("a\n"))
    chunks = following.follow(path, sep=",")
    assert next(chunks)["a"].tolist() == [1, 2]
    with pytest.raises(ValueError, match="has become shorter"):
        next(chunks)


# The display and the report.


def test_the_display_draws_scores_and_columns(monitor):
    display = MonitorDisplay.from_estimator(monitor)
    assert [ax.get_title() for ax in display.axes_] == ["", "pressure", "colour"]
    trajectory = monitor.trajectory()
    line = display.axes_[1].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), trajectory.index)
    assert line.get_ydata().max() > 1  # an alarm
    assert display.axes_[0].get_lines()[1].get_ydata()[0] == 1  # its line
    plt.close(display.figure_)


def test_the_display_draws_the_columns_that_moved_most_in_a_given_figure(monitor):
    figure = Figure()
    display = MonitorDisplay.from_estimator(monitor, max_columns=1, figure=figure)
    assert display.figure_ is figure
    assert [ax.get_title() for ax in display.axes_] == ["", "pressure"]
    assert len(MonitorDisplay(monitor.trajectory()).plot(max_columns=0, figure=Figure()).axes_) == 1


def test_the_report_has_a_section_on_the_monitored_rows(monitor, tmp_path):
    rows = table(30, 3).drop(columns="note")
    page = report(monitor, rows, path=tmp_path / "page.html", peers=False).read_text()
    assert 'id="monitoring"' in page
    assert "<b>drift</b>" in page
    assert "of column &#39;pressure&#39;" in page
    assert "Martingales of column pressure" in page
    page = report(monitor.detector, rows, path=tmp_path / "page.html", peers=False).read_text()
    assert 'id="monitoring"' not in page
