from __future__ import annotations

import re
import subprocess
import sys
from functools import partial

import matplotlib.image
import numpy as np
import pytest

import aedetect
from aedetect import DenoisingAutoencoder
from aedetect.cli import demo, main


def run(*program):
    return subprocess.run([sys.executable, *program], capture_output=True, text=True, check=False)


def test_demo_prints_the_comparison_and_writes_the_picture(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "new" / "folder")]) == 0
    output = capsys.readouterr()
    areas = dict(re.findall(r"^(\w+).*?\s(0\.\d+|1\.000)\s", output.out, re.MULTILINE))
    assert set(areas) == {"DenoisingAutoencoder", "PCA", "IsolationForest"}
    # All but the forest are within a hundredth of each other on these digits.
    assert float(areas["DenoisingAutoencoder"]) >= max(map(float, areas.values())) - 0.01
    flagged, anomalies, false_alarms, normal = map(
        int,
        re.search(r"Flagged (\d+) of (\d+) other digits, and (\d+) of (\d+)", output.out).groups(),
    )
    assert flagged / anomalies > 0.9
    assert false_alarms / normal < 0.3
    picture = matplotlib.image.imread(tmp_path / "new" / "folder" / "reconstructions.png")
    assert picture.shape[1] > 1000
    assert picture[..., :3].std() > 0.1
    assert "Report: " in output.out
    page = (tmp_path / "new" / "folder" / "report.html").read_text()
    assert "Which handwritten digits are not a 3?" in page
    assert f"{flagged:,} of {anomalies:,} anomalies" in page
    assert output.err == ""  # no progress bar without a terminal


def test_demo_reads_mnist_from_the_folder_in_the_environment(tmp_path, monkeypatch, capsys):
    rng = np.random.RandomState(0)
    y = np.repeat([3, 5], 40)
    X = (rng.rand(80, 28, 28) * np.where(y == 3, 40, 255)[:, None, None]).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=X, y_train=y, x_test=X, y_test=y)
    monkeypatch.setenv("AEDETECT_DATA", str(tmp_path))
    monkeypatch.setattr(demo, "DenoisingAutoencoder", partial(DenoisingAutoencoder, max_epochs=1))
    monkeypatch.setattr(demo, "report", lambda *args, **kwargs: "report.html")
    assert main(["demo", "--data", "mnist", "--out", str(tmp_path)]) == 0
    assert "40 of them train; 80 digits are tested, 40 of them normal" in capsys.readouterr().out
    assert (tmp_path / "reconstructions.png").exists()


def test_an_error_is_one_line_without_a_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AEDETECT_DATA", str(tmp_path))
    arguments = ["demo", "--data", "mnist", "--out", str(tmp_path)]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("aedetect: ")
    assert error.count("\n") == 1
    assert "holds neither mnist.npz" in error
    with pytest.raises(FileNotFoundError):
        main(["--debug", *arguments])


@pytest.mark.parametrize("arguments", [[], ["dance"], ["demo", "--data", "cats"]])
def test_bad_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: aedetect" in capsys.readouterr().err


def test_help_and_import_need_no_torch():
    program = (
        "import sys, contextlib, aedetect, aedetect.cli\n"
        "with contextlib.suppress(SystemExit):\n"
        "    aedetect.cli.main(['--help'])\n"
        "heavy = {'torch', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = run("-c", program)
    assert result.returncode == 0, result.stderr
    assert "demo" in result.stdout


def test_the_package_runs_as_a_module():
    assert "usage: aedetect" in run("-m", "aedetect", "--help").stdout


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"aedetect {aedetect.__version__}\n"


def test_public_names_exist_and_are_documented():
    for name in aedetect.__all__:
        assert getattr(aedetect, name).__doc__
        assert name in dir(aedetect)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        aedetect.nonsense  # noqa: B018
