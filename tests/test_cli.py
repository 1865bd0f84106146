from __future__ import annotations

import re
import subprocess
import sys
from functools import partial

import matplotlib.image
import numpy as np
import pytest

import aedetect
from aedetect import AutoencoderTransformer
from aedetect.cli import demo, main


def run(*program):
    return subprocess.run([sys.executable, *program], capture_output=True, text=True, check=False)


def test_demo_compares_detectors_and_writes_pictures_and_reports(tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    assert main(["demo", "--out", str(folder)]) == 0
    output = capsys.readouterr()
    digits, machines = output.out.split("Machines: ")
    peers = ["PCA (16 components)", "LocalOutlierFactor", "IsolationForest"]
    assert list(areas(digits)) == ["AutoencoderTransformer", *peers]
    assert list(areas(machines)) == ["DenoisingAutoencoder", *peers[1:]]
    for part in (digits, machines):
        own, *others = areas(part).values()
        assert own > max(others)
        found, of, false_alarms = re.search(r"(\d+) of (\d+) +([\d.]+)%", part).groups()
        assert int(found) > 0.85 * int(of)
        assert float(false_alarms) < 10
    assert re.search(
        r"machine \d+, model \w+: site Lion -> (Bremen|Lyon|Porto|Turin)$", machines, re.M
    )
    picture = matplotlib.image.imread(folder / "reconstructions.png")
    assert picture.shape[1] > 1000
    assert picture[..., :3].std() > 0.1
    assert "Which digits are none of 0, 1, 2, 3, 4?" in (folder / "digits.html").read_text()
    assert "Lion" in (folder / "machines.html").read_text()
    assert output.err == ""  # no progress bar without a terminal


def areas(text):
    """Return the AUROC of each detector."""
    lines = re.findall(r"^(\w+(?: \(.*\))?) +([01]\.\d{3}) ", text, re.MULTILINE)
    return {name: float(area) for name, area in lines}


def test_demo_reads_mnist_from_the_folder_in_the_environment(tmp_path, monkeypatch, capsys):
    rng = np.random.RandomState(0)
    y = np.repeat([3, 5], 160)
    X = (rng.rand(320, 28, 28) * np.where(y == 3, 40, 255)[:, None, None]).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=X, y_train=y)
    monkeypatch.setenv("AEDETECT_DATA", str(tmp_path))
    monkeypatch.setattr(
        demo, "AutoencoderTransformer", partial(AutoencoderTransformer, max_epochs=1)
    )
    monkeypatch.setattr(demo, "report", lambda *args, **kwargs: "report.html")
    monkeypatch.setattr(demo, "_flag_machines", lambda folder: None)
    assert main(["demo", "--data", "mnist", "--out", str(tmp_path)]) == 0
    assert "80 rows train, 84 are tested" in capsys.readouterr().out
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
