"""A file imports only from rooms above its own (design of the package)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import aedetect

ROOMS = [
    "atomic",
    "extras",
    "places",
    "blocks",
    "networks",
    "losses",
    "corruption",
    "training",
    "model",
    "scoring",
    "rows",
    "estimators",
    "reasons",
    "series",
    "conformal",
    "model_selection",
    "persistence",
    "onnx",
    "scale",
    "datasets",
    "tracking",
    "plotting",
    "reporting",
    "cli",
    "__main__",
]
PACKAGE = Path(aedetect.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    """Return the rooms that a file imports; what only type checkers import does not count."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    modules = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "aedetect"
        for name in (
            [node.module] if "." in node.module else [f"aedetect.{a.name}" for a in node.names]
        )
    ]
    names = {module.split(".")[1] for module in modules}
    return {name if name in ROOMS else room_of_name(name) for name in names}


def room_of_name(name):
    """Return the room of a public name, which ``from aedetect import name`` looks up."""
    return getattr(aedetect, name).__module__.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_from_rooms_above(path):
    own = ROOMS.index(room_of(path))
    for room in imported_rooms(path) - {room_of(path)}:
        assert ROOMS.index(room) < own, f"{path.name} imports {room}"


def test_every_room_is_listed_and_a_model_comes_before_its_scores():
    assert {room_of(path) for path in FILES} == set(ROOMS)
    assert ROOMS.index("training") < ROOMS.index("model") < ROOMS.index("scoring")
