"""Run the code blocks of Markdown pages, page by page, each page in a folder of its own.

The Python blocks of a page run in order and share their names. Blocks of ``sh`` run if all of their
lines call ``aedetect``. A block in a comment, ``<!-- python ... -->``, runs but is not shown: it
makes what the page takes for granted. ``<!-- not run: REASON -->`` before a block skips it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n+)?"
    r"(?:```(?P<language>python|sh)\n(?P<code>.*?)^```|<!-- python\n(?P<hidden>.*?)^-->)",
    re.MULTILINE | re.DOTALL,
)


ENDLESS = 1800  # seconds after which a page is taken for one that waits for ever


class Block(NamedTuple):
    """A code block of a page."""

    line: int  # of its first line of code, from 1
    language: str
    code: str


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the blocks of a page that run."""
    for match in BLOCK.finditer(text):
        group = "hidden" if match["code"] is None else "code"
        if match["reason"] is None:
            line = text.count("\n", 0, match.start(group)) + 1
            yield Block(line, match["language"] or "python", match[group])


def run(path: Path) -> None:
    """Run a page; an error shows the page and the line."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks_of(path.read_text()):
        if block.language == "python":
            padding = "\n" * (block.line - 1)  # so that tracebacks show lines of the page
            exec(compile(padding + block.code, path, "exec"), names)
        elif all(line.startswith("aedetect ") for line in block.code.splitlines()):
            subprocess.run(["sh", "-euc", block.code], check=True)


def main() -> None:
    """Run the pages named on the command line."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    for page in [Path(argument).resolve() for argument in sys.argv[1:]]:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            command = [sys.executable, __file__, "--one", page]
            subprocess.run(command, check=True, timeout=ENDLESS)
            os.chdir(page.parent)
        print(f"{page.name}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        run(Path(sys.argv[2]))
    else:
        main()
