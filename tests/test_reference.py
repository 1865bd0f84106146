"""The reference lists every public name, and every class has an example."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import aedetect

DOCS = Path(__file__).parent.parent / "docs"
CITED = re.compile(r"\([^()]*\b(?:19|20)\d\d\b")  # an author, a title and a year in brackets


@pytest.fixture(scope="module")
def public():
    spec = importlib.util.spec_from_file_location("public", DOCS / "public.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find(name):
    found = aedetect
    for part in name.split("."):
        if inspect.ismodule(found) and not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


def test_the_reference_lists_every_public_name_and_no_other(public):
    listed = re.findall(r"^   ([\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(public.public_names())


def test_the_page_of_a_class_lists_its_methods(public):
    methods = public.methods_of("aedetect", "DenoisingAutoencoder")
    assert {"partial_fit", "corrupt", "explain", "fit_transform", "set_output"} <= set(methods)
    displays = public.methods_of("aedetect.plotting", "ScoreDistributionDisplay")
    assert displays == ["from_estimator", "from_predictions", "plot"]
    assert "cuda" not in public.methods_of("aedetect.networks", "Autoencoder")


def test_every_public_name_has_an_example(public):
    callables = {name for name in public.public_names() if callable(find(name))}
    without = {name for name in callables if "Examples\n-----" not in inspect.getdoc(find(name))}
    assert without == set()


def test_every_public_method_is_described(public):
    for name in public.public_names():
        if inspect.isclass(find(name)):
            for method in public.methods_of(find(name).__module__, find(name).__name__):
                assert inspect.getdoc(getattr(find(name), method)), f"{name}.{method}"


def test_a_name_that_follows_a_paper_lists_it(public):
    described = {n: inspect.getdoc(find(n)) for n in public.public_names() if callable(find(n))}
    cites = {name for name, text in described.items() if CITED.search(text)}
    lists = {name for name, text in described.items() if "References\n-----" in text}
    assert cites >= {"AutoencoderTransformer", "DenoisingAutoencoder", "VAEDetector", "Monitor"}
    assert cites - lists == set()
    assert "repair" in lists
