"""Check the English of pages, docstrings and messages: short sentences, few riddles.

    python docs/plain_english.py README.md docs/*.md aedetect

Of Markdown pages the prose is read; of Python files, all of a folder if one is named, the
docstrings of public names and those of a ``Parameter``, the messages of errors and warnings, and
the prose of examples after ``# %%``. ``proselint`` knows clichés and
misused words. This adds the rules of this project.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST = 40  # words
CODE = re.compile(r"^```.*?^```|^:::.*?$|<!--.*?-->|^\|.*?$|^#.*?$|^    \S.*?$", re.M | re.S)
RULES = {
    r"^What\b(?!.*\?$)": "Begin with the subject.",
    r"\bthe same\b": "Name it, or say 'equal'.",
    r"\brows? (?:learns?|knows?|meets?)\b": "A row does none of these.",
    r"\b(?:simply|just|easily|obviously|of course)\b": "Leave it out.",
    r"\b(?:utili[sz]e|leverage|in order to|due to the fact)\b": "Use the short word.",
}
SECTION = r"^(?:{})\n-+\n.*?(?=^\w[\w ]*\n-+\n|\Z)"
# Of a docstring: sections without prose, names of parameters, and code.
NO_PROSE = re.compile(
    SECTION.format("Examples|References|See Also")
    + r"|^\w[\w ]*\n-+$|^[\w*, ]+ : .*?$|^.*?, default=.*?$"
    + r"|^(?:self|\w+(?:Error|Warning))$|^ *(?:>>>|\.\.).*?$",
    re.M | re.S,
)
CELL = re.compile(r"^# %%\n((?:#.*\n)+)", re.M)
UNDERLINED = re.compile(r"^.+\n-+$", re.M)
Part = tuple[int, str]  # the line where a text begins, and the text


def sentences_of(text: str) -> Iterator[Part]:
    """Yield the sentences of a page's prose, each with its line, from 1."""
    blanked = CODE.sub(_blank, text)
    for match in re.finditer(r"\S.*?(?:[.!?:](?=[\s)])|\n\s*\n|\n(?=\s*[-*\d])|\Z)", blanked, re.S):
        sentence = " ".join(re.sub(r"`[^`]*`|\(\S*\.(?:md|rst)\S*\)", "code", match[0]).split())
        yield blanked.count("\n", 0, match.start()) + 1, sentence.strip("-*# ")


def faults_of(text: str) -> Iterator[Part]:
    """Yield what breaks a rule, each with its line."""
    for line, sentence in sentences_of(text):
        if len(sentence.split()) > LONGEST:
            yield line, f"A sentence of {len(sentence.split())} words; {LONGEST} is the limit."
        for rule, remedy in RULES.items():
            if found := re.search(rule, sentence, re.IGNORECASE):
                yield line, f"{found[0]!r}. {remedy}"


def texts_of(module: str) -> Iterator[Part]:
    """Yield docstrings, cells of prose and messages of a module, each with its first line."""
    tree = ast.parse(module)
    yield from _docstrings_of(tree)
    for cell in CELL.finditer(module):
        prose = re.sub(r"^# ?", "", cell[1], flags=re.M)
        yield module.count("\n", 0, cell.start(1)) + 1, UNDERLINED.sub(_blank, prose)
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else node
        if not isinstance(call, ast.Call) or not call.args:
            continue
        name = ast.unparse(call.func).rpartition(".")[2]
        if call is not node or name == "warn":
            yield call.args[0].lineno, _words_of(call.args[0])
        elif name == "Parameter":
            yield call.args[-1].lineno, _prose_of(_words_of(call.args[-1]))


def _docstrings_of(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> Iterator[Part]:
    if docstring := ast.get_docstring(node, clean=False):
        yield node.body[0].lineno, _prose_of(inspect.cleandoc(docstring))
    for child in node.body:
        is_definition = isinstance(child, ast.ClassDef | ast.FunctionDef)
        if is_definition and not child.name.startswith("_"):
            yield from _docstrings_of(child)


def _prose_of(docstring: str) -> str:
    return re.sub(r"^ +", "", NO_PROSE.sub(_blank, docstring), flags=re.M)


def _words_of(message: ast.expr) -> str:
    """Return a message with "code" for the values that are put in."""
    if isinstance(message, ast.JoinedStr):
        return "".join(map(_words_of, message.values))
    return str(message.value) if isinstance(message, ast.Constant) else "code"


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def faults_in(path: Path) -> Iterator[Part]:
    """Yield the faults of a page or a Python file, each with its line."""
    texts = texts_of(path.read_text()) if path.suffix == ".py" else [(1, path.read_text())]
    for first, text in texts:
        for line, fault in faults_of(text):
            yield first + line - 1, fault


def main() -> int:
    """Print the faults of the files and folders on the command line, and return the exit code."""
    named = [Path(name) for name in sys.argv[1:]]
    paths = [p for name in named for p in (sorted(name.rglob("*.py")) if name.is_dir() else [name])]
    faults = [f"{path}:{line}: {fault}" for path in paths for line, fault in faults_in(path)]
    sys.stderr.write("".join(f"{fault}\n" for fault in faults))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
