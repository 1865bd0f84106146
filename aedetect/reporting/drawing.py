"""SVG drawings and small PNG images for the page."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

INK = "#010203"  # replaced by the text colour of the page, which may be light or dark
DPI = 150  # of rasterised points
LARGEST_IMAGE = 96  # pixels along a side
STYLE: Any = {
    "svg.fonttype": "none",  # text elements, set in the font of the page
    "font.size": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(
        ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"], INK
    ),
}
NO_METADATA: Any = dict.fromkeys(["Date", "Creator", "Format", "Type"])
NO_SOFTWARE: Any = {"Software": None}


class Picture(NamedTuple):
    """A drawing, and its description for screen readers."""

    svg: Markup
    alt: str


def draw(
    plot: Callable[[Axes], object],
    alt: str,
    size: tuple[float, float] = (4.2, 3.2),
    *,
    legend_columns: int | None = None,
) -> Picture:
    """Call ``plot`` on new axes and return the drawing.

    With ``legend_columns`` the legend stands above the axes, where it hides no data.
    """
    # ids are hashes with the salt, so alt keeps those of two drawings apart.
    style = STYLE | {"svg.hashsalt": alt}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # The browser sets the text, so glyphs that matplotlib's font lacks do not matter.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        plot(figure.subplots())
        legend = figure.axes[0].get_legend()
        if legend_columns and legend is not None:
            legend.set(loc="lower left", bbox_to_anchor=(0, 1), ncols=legend_columns)
        for axes in figure.axes:
            for collection in axes.collections:  # thousands of SVG points would make a large page
                collection.set_rasterized(True)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata=NO_METADATA, dpi=DPI)
    return Picture(_inline(buffer.getvalue()), alt)


def data_address(image: NDArray, low: float, high: float, colors: str) -> str:
    """Return an image ``(height, width)`` or ``(height, width, 3)`` as the data URL of a PNG."""
    step = -(-max(image.shape[:2]) // LARGEST_IMAGE)
    scaled = np.clip((image[::step, ::step] - low) / ((high - low) or 1), 0, 1)
    if scaled.ndim == 2:
        scaled = matplotlib.colormaps[colors](scaled)[..., :3]
    buffer = io.BytesIO()
    imsave(buffer, scaled, format="png", metadata=NO_SOFTWARE)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _inline(file: bytes) -> Markup:
    """Return an SVG file of matplotlib as an element of an HTML page."""
    svg = ElementTree.fromstring(file)
    del svg.attrib["width"], svg.attrib["height"]  # the page sets the size
    for element in svg.iter():
        for style in element.findall("{*}style"):  # would apply to the whole page
            element.remove(style)
        element.tag = _local(element.tag)
        element.attrib = {
            _local(name): value.replace(INK, "currentColor")
            for name, value in element.items()
            if (element.tag, name) != ("g", "id")  # figure_1, axes_1, ... in every drawing
        }
    return Markup(ElementTree.tostring(svg, encoding="unicode"))  # escapes all text


def _local(name: str) -> str:
    """Return an XML name without its namespace: HTML needs none, nor the address in it."""
    return name.rpartition("}")[2]
