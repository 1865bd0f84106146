"""Links of the Markdown pages lead somewhere, and their English is checked by rules that work."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "benchmarks/README.md"]
LINK = re.compile(r"\]\((?!https?:)([^)\s]*)\)")
HEADING = re.compile(r"^#+ (.+)$|^\((\w+)\)=$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors_of(page):
    """Return the anchors that GitHub and Sphinx give to the headings of a page."""
    text = CODE.sub("", page.read_text())
    return {
        label or re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading, label in HEADING.findall(text)
    }


def source_of(page, target):
    """Return the file that a link leads to; the building of the pages makes some of them."""
    if match := re.fullmatch(r"auto_examples/(plot_\w+)\.rst", target):
        return ROOT / "examples" / f"{match[1]}.py"
    if target == "auto_examples/index.rst":
        return ROOT / "examples" / "GALLERY_HEADER.rst"
    if re.fullmatch(r"generated/aedetect\.[\w.]+\.rst", target):
        return ROOT / "docs" / "api.md"  # tests/test_reference.py compares its names
    return page.parent / target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_internal_links_lead_to_a_file_and_a_heading(page):
    for link in LINK.findall(CODE.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        path = source_of(page, target) if target else page
        assert path.exists(), link
        if anchor and path.suffix == ".md":
            assert anchor in anchors_of(path), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_column_of_a_table_has_a_name(page):
    heads = re.findall(r"^(\|.*\|)\n\|--", CODE.sub("", page.read_text()), re.MULTILINE)
    for head in heads:
        assert all(cell.strip() for cell in head.strip("|").split("|")), head


def test_links_to_the_reference_name_what_is_public():
    public = {f"aedetect.{name}" for name in load("public").public_names()}
    for page in PAGES:
        for name in re.findall(r"\(generated/([\w.]+)\.rst\)", page.read_text()):
            assert name in public, page


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("A row. What is filled looks normal.", "What"),
        ("It does the same.", "the same"),
        ("Rows.\n\nThe row knows it.", "row knows"),
        ("A " + "long " * 45 + "sentence.", "47 words"),
    ],
)
def test_the_checker_of_english_finds_faults(text, fault):
    assert fault in str(list(load("plain_english").faults_of(text)))


def test_the_checker_of_english_passes_over_code_and_questions():
    text = "What now?\n\n```python\nsame = 'the same'\n```\n\nA `the same` value.\n"
    assert list(load("plain_english").faults_of(text)) == []


MODULE = '''"""Rows.

What is left.
"""

def pad(X):
    """Return the same row.

    Parameters
    ----------
    X : just an array
        Of the same shape.

    Examples
    --------
    >>> pad("the same")
    """
    if len(X) > 2:
        raise ValueError(f"X has {len(X)} rows, just too many.")
    warnings.warn("Simply pad.", stacklevel=2)
    width = Parameter("int, default=5\\n    Obviously wide.")

def _private():
    """Return the same."""

# %%
# The same heading
# ----------------
# A row knows it.
'''


def test_the_checker_of_english_reads_public_docstrings_and_messages(tmp_path):
    (tmp_path / "module.py").write_text(MODULE)
    found = [
        (line, fault.split("'")[1])
        for line, fault in load("plain_english").faults_in(tmp_path / "module.py")
    ]
    assert sorted(found) == [
        (3, "What"),
        (7, "the same"),
        (12, "the same"),
        (19, "just"),
        (20, "Simply"),
        (22, "Obviously"),
        (29, "row knows"),
    ]


def test_the_picture_of_the_rooms_is_drawn_from_the_imports():
    drawn = load("draw_rooms").draw()
    assert (ROOT / "docs" / "rooms.svg").read_text() == drawn, "Run python docs/draw_rooms.py."


def test_blocks_of_code_are_found_with_their_lines():
    skipped = "Text\n\n<!-- not run: no GPU -->\n```python\na\n```\n\n"
    page = skipped + "<!-- python\nb\n-->\n```sh\nc\n```\n"
    blocks = list(load("run_blocks").blocks_of(page))
    assert blocks == [(9, "python", "b\n"), (12, "sh", "c\n")]
