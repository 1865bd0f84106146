"""Maps: the codes, and the rows themselves, as points in the plane."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aedetect.plotting import LatentMapDisplay
from aedetect.plotting.latent_map import Points, principal_components, project
from aedetect.reporting.drawing import Picture, draw
from aedetect.reporting.subject import Subject, sample_rows

N_POINTS = 3_000  # in a map, at most
MOST_CLASSES = 10  # with markers that readers can distinguish


class Maps(NamedTuple):
    """One or two maps, and the number of rows in each."""

    pictures: list[Picture]
    n_drawn: int
    is_sample: bool
    by_class: bool


def draw_maps(subject: Subject, top: NDArray[np.intp]) -> Maps | None:
    """Return the map of the codes, if there are any, and that of the rows."""
    if not np.issubdtype(subject.numbers.dtype, np.number):
        return None
    drawn = np.union1d(sample_rows(len(subject.rows), N_POINTS), top)
    rows, numbers = subject.rows[drawn], subject.numbers[drawn]
    labels = _classes(subject, drawn)
    style = {"y": labels, "scores": subject.scores[drawn], "offset": subject.offset}
    pictures = []
    if hasattr(subject.detector, "transform"):
        codes = subject.ask("transform", rows)
        pictures.append(_draw(project(codes, "auto"), "Map of the codes.", style))
    if np.isfinite(numbers).all():
        alt = "Map of the rows, by their principal components."
        pictures.append(_draw(principal_components(subject.detector, numbers), alt, style))
    if not pictures:
        return None
    return Maps(pictures, len(drawn), len(drawn) < len(subject.rows), labels is not None)


def _draw(points: Points, alt: str, style: dict[str, Any]) -> Picture:
    display = LatentMapDisplay(points.positions, names=points.names, **style)
    return draw(lambda ax: display.plot(ax=ax), alt, size=(4.2, 3.6), legend_columns=2)


def _classes(subject: Subject, drawn: NDArray) -> NDArray | None:
    if subject.y is None or len(np.unique(subject.y)) > MOST_CLASSES:
        return None
    return subject.y[drawn]
