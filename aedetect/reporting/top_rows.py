"""The most anomalous rows, each with its explanation."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aedetect.plotting.images import HEAT_COLORS, as_heat_maps, as_images
from aedetect.reporting.drawing import data_address
from aedetect.reporting.subject import Subject

N_FEATURES = 6  # listed for a row, at most


class Feature(NamedTuple):
    """One feature of a row, with its contribution."""

    name: str
    value: Any
    expected: Any
    share: float  # of the row's contributions


class Image(NamedTuple):
    """One of the images of a row."""

    name: str
    address: str


class TopRow(NamedTuple):
    """A row and its explanation."""

    number: int  # of the row in X, which feedback takes
    name: str
    score: float  # higher is more anomalous
    is_flagged: bool
    label: str | None
    p_value: float | None
    features: list[Feature]
    images: list[Image]


def describe_top_rows(
    subject: Subject, top: NDArray[np.intp], contributions: NDArray | None
) -> list[TopRow]:
    """Return the rows with the numbers ``top``, explained by their contributions if given."""
    features: list[list[Feature]] = [[] for _ in top]
    images: list[list[Image]] = [[] for _ in top]
    if contributions is not None and subject.image_shape:
        images = _images(subject, top, contributions, subject.image_shape)
    elif contributions is not None:
        features = _features(subject, top, contributions)
    return [
        TopRow(
            number=int(row),
            name=_name(subject.row_names[row]),
            score=-float(subject.scores[row]),
            is_flagged=bool(subject.is_flagged[row]),
            label=None if subject.y is None else _label(subject, row),
            p_value=None if subject.p_values is None else float(subject.p_values[row]),
            features=row_features,
            images=row_images,
        )
        for row, row_features, row_images in zip(top, features, images, strict=True)
    ]


def _name(row: Any) -> str:
    return f"row {row}" if isinstance(row, Integral) else str(row)


def _label(subject: Subject, row: int) -> str:
    if subject.is_anomaly is None:
        return str(subject.y[row])  # type: ignore[index]
    return "anomaly" if subject.is_anomaly[row] else "normal"


def _features(subject: Subject, top: NDArray, contributions: NDArray) -> list[list[Feature]]:
    """Return the features with the largest contributions, in the units of ``X`` if possible."""
    values = subject.rows[top]
    restored = subject.ask("reconstruct", values)
    if subject.way is not None:
        values, restored = subject.given[top][:, subject.way.sources], subject.way.undo(restored)
    totals = contributions.sum(axis=1)
    return [
        [
            Feature(subject.names[i], row[i], expected[i], float(part[i] / total))
            for i in np.argsort(-part, kind="stable")[:N_FEATURES]
            if part[i] > 0
        ]
        for row, expected, part, total in zip(values, restored, contributions, totals, strict=True)
    ]


def _images(
    subject: Subject, top: NDArray, contributions: NDArray, image_shape: tuple[int, ...]
) -> list[list[Image]]:
    """Return each row, its reconstruction and its heat map, which has its own scale."""
    rows = subject.rows[top]
    originals = as_images(rows, image_shape)
    restored = as_images(subject.ask("reconstruct", rows), image_shape)
    heat = as_heat_maps(contributions, image_shape)
    low, high = originals.min(), originals.max()
    return [
        [
            Image("row", data_address(original, low, high, "gray_r")),
            Image("reconstruction", data_address(copy, low, high, "gray_r")),
            Image("heat map", data_address(hot, 0, hot.max(), HEAT_COLORS)),
        ]
        for original, copy, hot in zip(originals, restored, heat, strict=True)
    ]
