"""Pictures for the page: drawings that follow its colours, and small images."""

from __future__ import annotations

import base64
import io
import re
import warnings
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

INK = "#010203"  # stands for the page's own colour of text, light or dark
DPI = 150  # of the parts that are pixels
LARGEST_IMAGE = 96  # pixels along a side
STYLE: Any = {
    "svg.fonttype": "none",  # text, which the page's font draws
    "svg.hashsalt": "aedetect",
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
    """A drawing, and what it shows for those who cannot see it."""

    svg: Markup
    alt: str


def draw(
    plot: Callable[[Axes], object],
    alt: str,
    size: tuple[float, float] = (4.2, 3.2),
    *,
    legend_columns: int | None = None,
) -> Picture:
    """Return what ``plot`` draws on the axes it is given.

    With ``legend_columns`` the legend stands above: not every picture has an empty corner.
    """
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # The page's font draws the text, so what matplotlib's own lacks does not matter.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        plot(figure.subplots())
        legend = figure.axes[0].get_legend()
        if legend_columns and legend is not None:
            legend.set(loc="lower left", bbox_to_anchor=(0, 1), ncols=legend_columns)
        for axes in figure.axes:
            for collection in axes.collections:  # thousands of points would make a large page
                collection.set_rasterized(True)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=NO_METADATA, dpi=DPI)
    return Picture(_inline(buffer.getvalue()), alt)


def data_address(image: NDArray, low: float, high: float, colors: str) -> str:
    """Return an image ``(height, width)`` or ``(height, width, 3)`` as the address of a PNG."""
    step = -(-max(image.shape[:2]) // LARGEST_IMAGE)
    scaled = np.clip((image[::step, ::step] - low) / ((high - low) or 1), 0, 1)
    if scaled.ndim == 2:
        scaled = matplotlib.colormaps[colors](scaled)[..., :3]
    buffer = io.BytesIO()
    imsave(buffer, scaled, format="png", metadata=NO_SOFTWARE)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _inline(file: str) -> Markup:
    """Return a drawing as an element of a page: no header, no fixed size, names of its own."""
    svg = file[file.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    opening = re.sub(r'\s(xmlns(:\w+)?|version|width|height)="[^"]*"', "", svg[: svg.index(">")])
    prefix = f"d{zlib.crc32(svg.encode()):x}-"

    def rename(tag: re.Match) -> str:
        return re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{prefix}", tag[0]).replace(
            INK, "currentColor"
        )

    svg = re.sub(r"<[^>]*>", rename, opening + svg[svg.index(">") :])
    return Markup(svg)  # matplotlib has escaped the text
