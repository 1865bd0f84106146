"""The most anomalous rows, each with its explanation."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aedetect.plotting.images import HEAT_COLORS, as_heat_maps, as_images
from aedetect.reporting.drawing import data_address
from aedetect.reporting.subject import Repaired, Subject
from aedetect.reporting.text import apart, number

N_FEATURES = 6  # listed for a row, at most


class Feature(NamedTuple):
    """One value of a row, and why it is odd."""

    name: str
    value: str
    normal: str | None  # the value that makes the row normal; None if it may stay
    size: float  # a share of the score, or times as unusual as in normal rows
    bar: float  # length, as a share of the longest bar of the row


class Image(NamedTuple):
    """One of the images of a row."""

    name: str
    address: str


class TopRow(NamedTuple):
    """A row and its explanation."""

    number: int  # in the index of X or, without one, in X; feedback takes it
    name: str
    score: float  # higher is more anomalous
    is_flagged: bool
    label: str | None
    p_value: float | None
    n_as_odd: int | None  # calibration rows that score as high
    features: list[Feature]
    n_changed: int | None  # values that are changed to make the row normal; None if not sought
    images: list[Image]


def describe_top_rows(
    subject: Subject, top: NDArray[np.intp], contributions: NDArray | None
) -> list[TopRow]:
    """Return the rows with the numbers ``top``, explained by their contributions if given."""
    features: list[list[Feature]] = [[] for _ in top]
    images: list[list[Image]] = [[] for _ in top]
    n_changed: list[int | None] = [None for _ in top]
    if contributions is not None and subject.image_shape:
        images = _images(subject, top, contributions, subject.image_shape)
    elif contributions is not None:
        repaired = subject.repair(top)
        features = _features(subject, top, contributions, repaired)
        if repaired is not None:
            n_changed = repaired.is_changed.sum(axis=1).tolist()
    return [
        TopRow(
            number=int(subject.row_numbers[row]),
            name=_name(subject.row_names[row]),
            score=-float(subject.scores[row]),
            is_flagged=bool(subject.is_flagged[row]),
            label=None if subject.y is None else _label(subject, row),
            p_value=None if subject.p_values is None else float(subject.p_values[row]),
            n_as_odd=_count_as_odd(subject, row),
            features=features[i],
            n_changed=n_changed[i],
            images=images[i],
        )
        for i, row in enumerate(top)
    ]


def _count_as_odd(subject: Subject, row: int) -> int | None:
    """Return the number of calibration rows that score as high, None without a p-value."""
    if subject.p_values is None:
        return None
    n_rows = len(subject.conformal.calibration_scores_)
    return round(float(subject.p_values[row]) * (n_rows + 1)) - 1


def _name(row: Any) -> str:
    return f"row {row}" if isinstance(row, Integral) else str(row)


def _label(subject: Subject, row: int) -> str:
    if subject.is_anomaly is None:
        return str(subject.y[row])  # type: ignore[index]
    return "anomaly" if subject.is_anomaly[row] else "normal"


def _features(
    subject: Subject, top: NDArray, contributions: NDArray, repaired: Repaired | None
) -> list[list[Feature]]:
    """Return the oddest features and those to be changed, in the units of ``X`` if possible."""
    values = subject.rows[top]
    normal = values if repaired is None else repaired.rows
    if subject.way is not None:
        values, normal = subject.given[top][:, subject.way.sources], subject.way.undo(normal)
    is_changed = np.zeros(values.shape, bool) if repaired is None else repaired.is_changed
    sizes = _shares(contributions) if subject.is_sum else contributions
    usual = 0 if subject.is_sum else 1
    bars = sizes / np.maximum(sizes.max(axis=1, keepdims=True), np.finfo(float).tiny)
    return [
        [
            Feature(subject.names[i], *_as_text(value[i], new[i], changed[i]), size[i], bar[i])
            for i in _choose(size, changed, usual)
        ]
        for value, new, changed, size, bar in zip(
            values, normal, is_changed, sizes, bars, strict=True
        )
    ]


def _shares(contributions: NDArray) -> NDArray:
    totals = contributions.sum(axis=1, keepdims=True)
    return contributions / np.where(totals > 0, totals, 1)


def _as_text(value: Any, normal: Any, is_changed: bool) -> tuple[str, str | None]:
    """Return a value, and the one that makes its row normal if that is another."""
    return apart(value, normal) if is_changed else (number(value), None)


def _choose(sizes: NDArray, is_changed: NDArray[np.bool_], usual: float) -> NDArray[np.intp]:
    """Return the features to list, the oddest first; those to be changed come before others."""
    listed = np.flatnonzero(is_changed | (sizes > usual))
    kept = listed[np.lexsort((-sizes[listed], ~is_changed[listed]))][:N_FEATURES]
    return kept[np.argsort(-sizes[kept], kind="stable")]


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
