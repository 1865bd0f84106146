"""The package runs no code that it is given: no eval, exec or pickle, and no equivalent of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import aedetect

PACKAGE = Path(aedetect.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
# Modules that run code from files, or start programs.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "subprocess", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__", "joblib.load", "os.system", "os.popen"}


def violations(source, *, may_import_by_name=False):
    """Return the names of forbidden modules and calls in a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{name}" for name in names)]
            found += [n for n in names if n.split(".")[0] in MODULES or n in CALLS]
        elif isinstance(node, ast.Call):
            found += refused_call(node, may_import_by_name)
    return found


def refused_call(node, may_import_by_name):
    name = ast.unparse(node.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if name in CALLS:
        return [name]
    if name == "torch.load" and keywords.get("weights_only") != "True":
        return [f"{name} without weights_only=True"]
    if name.split(".")[-1] == "load" and keywords.get("allow_pickle", "False") != "False":
        return [f"{name} with allow_pickle"]
    if name.split(".")[-1] == "import_module" and not may_import_by_name:
        literal = node.args and isinstance(node.args[0], ast.Constant)
        return [] if literal else [f"{name} of a name that is computed"]
    return []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_of_the_package_runs_nothing_that_it_is_given(path):
    # Its own modules on first use, and those of extras.
    by_name = path in (PACKAGE / "__init__.py", PACKAGE / "extras.py")
    # From one process of a program to another.
    allowed = ["pickle", "cloudpickle"] if path == PACKAGE / "scale" / "carried.py" else []
    assert violations(path.read_text(), may_import_by_name=by_name) == allowed


@pytest.mark.parametrize(
    "source",
    [
        *("eval('1')", "exec(x)", "import pickle", "from pickle import loads", "import yaml"),
        *("from joblib import load", "joblib.load(path)", "torch.load(path)", "__import__(name)"),
        *("torch.load(path, weights_only=False)", "importlib.import_module(name)", "os.system(x)"),
        *("np.load(path, allow_pickle=True)", "import_module(f'{x}')", "import subprocess as s"),
    ],
)
def test_the_rule_finds_it(source):
    assert violations(source)


@pytest.mark.parametrize(
    "source",
    [
        *("import joblib", "torch.load(path, weights_only=True)", "network.eval()"),
        *("importlib.import_module('aedetect.plotting')", "np.load(path, allow_pickle=False)"),
    ],
)
def test_the_rule_lets_pass(source):
    assert not violations(source)
