"""Draw the rooms of the package and their imports: ``python docs/draw_rooms.py`` writes rooms.svg.

Rooms stand in layers: a room imports only from layers below it. An arrow that follows from others
is left out.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "aedetect"
WIDTH, BOX_HEIGHT, GAP, LAYER = 900, 30, 12, 78
STYLE = """<style>
rect { fill: #eef3f8; stroke: #3b6ea5; }
text { fill: #1f2933; font: 13px system-ui, sans-serif; text-anchor: middle; }
path { fill: none; stroke: #7b93ad; }
</style>"""


def room_of(path: Path) -> str:
    """Return the name of the room that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Return the rooms that a file imports; what only type checkers import does not count."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = [node.module for node in names if (node.module or "").startswith("aedetect.")]
    names = [a.name for node in names if node.module == "aedetect" for a in node.names]
    return {module.split(".")[1] for module in modules} | {room_of_name(name) for name in names}


@cache
def room_of_name(name: str) -> str:
    """Return the room of a name that ``from aedetect import`` finds."""
    is_room = (PACKAGE / name).exists() or (PACKAGE / f"{name}.py").exists()
    return ast.literal_eval(_assigned("_ROOMS")).get(name, name if is_room else "estimators")


def _assigned(name: str) -> str:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.unparse(node.value)
    raise ValueError(f"aedetect/__init__.py does not assign {name}.")


def graph() -> dict[str, set[str]]:
    """Return the rooms, each with the rooms that it imports."""
    rooms: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent != PACKAGE or path.stem not in ("__init__", "__main__"):
            rooms.setdefault(room_of(path), set()).update(imports_of(path))
    return {room: {r for r in used if r != room and r in rooms} for room, used in rooms.items()}


def layers_of(rooms: dict[str, set[str]]) -> list[list[str]]:
    """Return the layers from the bottom; a room stands right above the highest that it imports."""

    @cache
    def height(room: str) -> int:
        return 1 + max((height(used) for used in rooms[room]), default=-1)

    return [[r for r in rooms if height(r) == h] for h in range(1 + max(map(height, rooms)))]


def direct(rooms: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports that do not follow from others."""

    def reached(room: str) -> set[str]:
        return rooms[room].union(*(reached(used) for used in rooms[room]))

    return [
        (room, used)
        for room, useds in rooms.items()
        for used in sorted(useds)
        if not any(used in reached(other) for other in useds)
    ]


def draw() -> str:
    """Return the picture."""
    rooms = graph()
    layers = layers_of(rooms)
    places, boxes = {}, []
    height = LAYER * len(layers)
    for number, layer in enumerate(layers):
        widths = [20 + 8 * len(room) for room in layer]
        x = (WIDTH - sum(widths) - GAP * (len(layer) - 1)) / 2
        y = height - LAYER * (number + 1) + (LAYER - BOX_HEIGHT) / 2
        for room, width in zip(layer, widths, strict=True):
            places[room] = x + width / 2, y
            boxes.append(
                f'<rect x="{x:g}" y="{y:g}" width="{width}" height="{BOX_HEIGHT}" rx="6"/>'
                f'<text x="{x + width / 2:g}" y="{y + 20:g}">{room}</text>'
            )
            x += width + GAP
    arrows = [_arrow(places[room], places[used]) for room, used in direct(rooms)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
            ' aria-label="The rooms of the package in layers, with their imports">',
            STYLE,
            f'<rect width="{WIDTH}" height="{height}" style="fill: #fff; stroke: none"/>',
            *arrows,
            *boxes,
            "</svg>\n",
        ]
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = (start[0], start[1] + BOX_HEIGHT), end
    middle = (y + to_y) / 2
    return f'<path d="M{x:g} {y:g}C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {to_y:g}"/>'


if __name__ == "__main__":
    (DOCS / "rooms.svg").write_text(draw())
