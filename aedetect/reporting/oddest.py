"""The most anomalous rows, each with what makes it odd."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aedetect.plotting.images import as_heat_maps, as_images
from aedetect.plotting.reconstruction import HEAT_COLORS
from aedetect.reporting.drawing import data_address
from aedetect.reporting.subject import Subject

N_FEATURES = 6  # that the page lists for a row


class Feature(NamedTuple):
    """What one feature adds to the anomaly of a row."""

    name: str
    value: Any
    expected: Any
    share: float  # of the row's score


class Image(NamedTuple):
    """One of the pictures of a row."""

    name: str
    address: str


class OddRow(NamedTuple):
    """A row, and why it is odd."""

    name: str
    score: float  # of anomaly; higher is odder
    is_flagged: bool
    label: str | None
    p_value: float | None
    features: list[Feature]
    images: list[Image]


def describe_oddest(subject: Subject, n_rows: int) -> list[OddRow]:
    """Return the most anomalous rows, the oddest first."""
    chosen = subject.oddest(n_rows)
    n = len(chosen)
    features: list[list[Feature]] = [[] for _ in range(n)]
    images: list[list[Image]] = [[] for _ in range(n)]
    if subject.explains and subject.image_shape:
        images = _images(subject, chosen, subject.image_shape)
    elif subject.explains:
        features = _features(subject, chosen)
    return [
        OddRow(
            name=_name(subject.row_names[row]),
            score=-float(subject.scores[row]),
            is_flagged=bool(subject.is_flagged[row]),
            label=None if subject.y is None else _label(subject, row),
            p_value=None if subject.p_values is None else float(subject.p_values[row]),
            features=row_features,
            images=row_images,
        )
        for row, row_features, row_images in zip(chosen, features, images, strict=True)
    ]


def _name(row: Any) -> str:
    return f"row {row}" if isinstance(row, Integral) else str(row)


def _label(subject: Subject, row: int) -> str:
    if subject.is_anomaly is None:
        return str(subject.y[row])  # type: ignore[index]
    return "anomaly" if subject.is_anomaly[row] else "normal"


def _features(subject: Subject, chosen: NDArray) -> list[list[Feature]]:
    """Return the features that add most, in the units of the rows that were passed."""
    rows = subject.rows[chosen]
    contributions = subject.ask("explain", rows)
    restored = subject.ask("reconstruct", rows)
    values = rows
    if subject.way is not None:
        values, restored = subject.given[chosen][:, subject.way.sources], subject.way.undo(restored)
    totals = contributions.sum(axis=1)
    return [
        [
            Feature(subject.names[i], row[i], expected[i], float(part[i] / total))
            for i in np.argsort(-part, kind="stable")[:N_FEATURES]
            if part[i] > 0
        ]
        for row, expected, part, total in zip(values, restored, contributions, totals, strict=True)
    ]


def _images(subject: Subject, chosen: NDArray, image_shape: tuple[int, ...]) -> list[list[Image]]:
    """Return row, reconstruction and heat map; each heat map has its own scale."""
    rows = subject.rows[chosen]
    originals = as_images(rows, image_shape)
    restored = as_images(subject.ask("reconstruct", rows), image_shape)
    heat = as_heat_maps(subject.ask("explain", rows), image_shape)
    low, high = originals.min(), originals.max()
    return [
        [
            Image("row", data_address(original, low, high, "gray_r")),
            Image("restored", data_address(copy, low, high, "gray_r")),
            Image("heat map", data_address(hot, 0, hot.max(), HEAT_COLORS)),
        ]
        for original, copy, hot in zip(originals, restored, heat, strict=True)
    ]
