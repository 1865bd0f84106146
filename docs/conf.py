"""Sphinx configuration. Nothing here reaches for the network."""

import re
import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

import aedetect

sys.path.insert(0, str(Path(__file__).parent))
from public import methods_of

project = "aedetect"
author = "the aedetect developers"
version = release = aedetect.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the numpydoc sections say more
autosummary_context = {"methods_of": methods_of}
suppress_warnings = ["config.cache"]  # Sphinx cannot cache a context that holds a function
numpydoc_show_class_members = False  # the class template lists them

myst_enable_extensions = ["colon_fence", "substitution"]
myst_substitutions = {"version": version}
myst_heading_anchors = 3  # for links such as user_guide.md#thresholds

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": ExplicitOrder(
        [  # of learning
            "plot_flag_anomalous_digits.py",
            "plot_dataframe.py",
            "plot_mixed_table.py",
            "plot_report.py",
            "plot_three_estimators.py",
            "plot_comparison.py",
            "plot_grid_search.py",
            "plot_pipeline_tsne.py",
            "plot_onnx.py",
            "plot_custom_network.py",
            "plot_tutorial_a_conv_denoising.py",
            "plot_tutorial_b_one_class_and_vae.py",
            "plot_tutorial_c_batch_norm_denoiser.py",
            "plot_tutorial_d_sparse_and_deep.py",
            "plot_tutorial_e_upsampling_and_contractive.py",
            "*",
        ]
    ),
    "backreferences_dir": "generated",
    "doc_module": ("aedetect",),
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "aedetect"
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
    "header_links_before_dropdown": 6,
    "show_prev_next": False,
}
html_sidebars = {page: [] for page in ("index", "get_started", "benchmarks", "changelog")}
html_static_path = ["_static"]
html_css_files = ["pages.css"]


FOREIGN = {  # links of inherited docstrings, whose pages are scikit-learn's
    r":ref:`sphx_glr[^`]*`": "its gallery",
    r":(?:ref|term):`([^<`]+) <[^`]*>`": r"\1",
    r":term:`([^`]+)`": r"``\1``",
    r":ref:`[^`]+`": "scikit-learn's guide",
}


def _without_foreign_labels(app, what, name, obj, options, lines) -> None:
    """Let inherited docstrings name pages of scikit-learn without links to them."""
    if not (getattr(obj, "__module__", None) or "").startswith("sklearn"):
        return
    for number, line in enumerate(lines):
        for label, text in FOREIGN.items():
            line = re.sub(label, text, line)
        lines[number] = line


def setup(app) -> None:
    """Connect the hook above."""
    app.connect("autodoc-process-docstring", _without_foreign_labels)
