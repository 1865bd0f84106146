"""A missing optional package is named with the line that installs it."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

from aedetect import open_rows
from aedetect.extras import PACKAGES, require

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]


def names_of(requirements):
    return [re.match(r"[\w-]+", requirement)[0] for requirement in requirements]


def test_the_packages_are_those_of_the_project_file():
    for extra, packages in PACKAGES.items():
        assert names_of(PROJECT["optional-dependencies"][extra]) == names_of(packages)


def test_no_dependency_is_listed_twice():
    assert len(set(names_of(PROJECT["dependencies"]))) == len(PROJECT["dependencies"])


def test_an_extra_that_is_there_is_no_error():
    require("plot", "a plot")


@pytest.mark.parametrize("room", ["plotting", "reporting"])
def test_rooms_that_draw_name_the_extra(room, monkeypatch):
    for module in [name for name in sys.modules if name.startswith(f"aedetect.{room}")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"'plot', but jinja2 .* pip install matplotlib jinja2"):
        importlib.import_module(f"aedetect.{room}")


def test_a_parquet_file_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "rows.parquet").write_bytes(b"")
    with pytest.raises(ImportError, match=r"rows\.parquet needs the extra 'parquet'"):
        open_rows(tmp_path / "rows.parquet")
