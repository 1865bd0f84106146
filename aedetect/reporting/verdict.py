"""The summary at the top of the page, and the histogram of the scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from aedetect.plotting import ScoreDistributionDisplay
from aedetect.plotting.images import as_heat_maps
from aedetect.plotting.style import short
from aedetect.reporting.drawing import Picture, draw
from aedetect.reporting.subject import Subject
from aedetect.reporting.text import join_words, number, percent

N_DRIVERS = 3  # features named in the summary
ZONES = (("upper", "middle", "lower"), ("left", "centre", "right"))


class Figure(NamedTuple):
    """A number in large type."""

    name: str
    value: str
    note: str


class Verdict(NamedTuple):
    """Sentences and numbers at the top of the page."""

    sentences: list[str]
    figures: list[Figure]
    numbers: list[Figure]  # for readers who know them by name


def sum_up(subject: Subject, contributions: NDArray | None) -> Verdict:
    """Return the summary; ``contributions`` are those of the most anomalous rows."""
    n_flagged, n = int(subject.is_flagged.sum()), len(subject.scores)
    share = percent(n_flagged / n)
    figures = [
        Figure("rows scored", number(n), f"{number(subject.given.shape[1])} features each"),
        Figure("flagged", number(n_flagged), f"{share} of the rows"),
    ]
    numbers = []
    sentences = [f"{number(n_flagged)} of {number(n)} rows ({share}) are flagged as anomalies."]
    if subject.offset is not None:
        numbers.append(Figure("threshold", number(-subject.offset), "of the anomaly score"))
    if contributions is not None:
        sentences.append(_name_drivers(subject, contributions[: n_flagged or None]))
    if subject.is_anomaly is not None:
        auroc = float(roc_auc_score(subject.is_anomaly, -subject.scores))
        precision = float(average_precision_score(subject.is_anomaly, -subject.scores))
        chance = float(subject.is_anomaly.mean())
        sentences.append(_count_errors(subject.is_flagged, subject.is_anomaly))
        sentences.append(_rate_order(auroc, precision, chance))
        numbers.append(Figure("AUROC", f"{auroc:.3f}", "chance is 0.5"))
        numbers.append(Figure("average precision", f"{precision:.3f}", f"chance is {chance:.2g}"))
    return Verdict(sentences, figures, numbers)


def draw_scores(subject: Subject) -> Picture:
    """Return the histogram of the scores."""
    y = None if subject.is_anomaly is None else subject.y
    return draw(
        lambda ax: ScoreDistributionDisplay(subject.scores, y, subject.offset).plot(ax=ax),
        f"Histogram of the anomaly scores of {number(len(subject.scores))} rows.",
        legend_columns=2,
    )


def _count_errors(is_flagged: NDArray[np.bool_], is_anomaly: NDArray[np.bool_]) -> str:
    found, false = int((is_flagged & is_anomaly).sum()), int((is_flagged & ~is_anomaly).sum())
    return (
        f"By the labels, {number(found)} of {number(int(is_anomaly.sum()))} anomalies are flagged,"
        f" and {number(false)} of {number(int((~is_anomaly).sum()))} normal rows."
    )


def _rate_order(auroc: float, precision: float, chance: float) -> str:
    """Return AUROC and average precision in plain words."""
    return (
        "Of an anomaly and a normal row drawn at random, the anomaly has the higher score in"
        f" {percent(auroc)} of the cases (50% by chance). Checked from the highest score down,"
        f" {percent(precision)} of the rows up to an anomaly are anomalies, on average"
        f" ({percent(chance)} by chance)."
    )


def _name_drivers(subject: Subject, contributions: NDArray) -> str:
    """Return a sentence on the largest contributions to the most anomalous rows."""
    kind = "image" if subject.image_shape else "row"
    n = len(contributions)
    these = f"the {n} most anomalous {kind}s" if n > 1 else f"the most anomalous {kind}"
    if subject.image_shape:
        totals = contributions.sum(axis=1, keepdims=True)
        shares = (contributions / np.where(totals > 0, totals, 1)).mean(axis=0)
        return f"In {these}, {_name_zone(shares, subject.image_shape)}."
    oddest = contributions.argmax(axis=1)[contributions.max(axis=1) > 0]
    if not len(oddest):
        return f"No value of {these} is odd."
    if n == 1:
        return f"In {these}, the oddest value is that of {short(subject.names[oddest[0]])}."
    features, counts = np.unique(oddest, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:N_DRIVERS]
    named = [f"of {short(subject.names[features[i]])} in {counts[i]}" for i in order]
    if len(features) > len(named):
        named.append(f"of others in {len(oddest) - counts[order].sum()}")
    return f"In {these}, the oddest value is that {join_words(named)}."


def _name_zone(shares: NDArray, image_shape: tuple[int, ...]) -> str:
    """Return the ninth of the image with the largest share, and the share of pixels for half."""
    heat = as_heat_maps(shares[None], image_shape)[0]
    thirds = [np.array_split(np.arange(size), 3) for size in heat.shape]
    zones = {
        f"{vertical} {horizontal}".replace("middle centre", "centre"): heat[np.ix_(ys, xs)].sum()
        for vertical, ys in zip(ZONES[0], thirds[0], strict=True)
        for horizontal, xs in zip(ZONES[1], thirds[1], strict=True)
    }
    where = max(zones, key=zones.__getitem__)
    in_order = np.sort(heat.ravel())[::-1].cumsum()
    few = (np.searchsorted(in_order, in_order[-1] / 2) + 1) / heat.size
    return (
        f"{percent(few)} of the pixels hold half of the difference between image and"
        " reconstruction, on average. Of nine equal parts of the image, the"
        f" {where} holds most ({percent(zones[where] / (heat.sum() or 1))})"
    )
