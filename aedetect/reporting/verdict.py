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


def sum_up(subject: Subject, contributions: NDArray | None) -> Verdict:
    """Return the summary; ``contributions`` are those of the most anomalous rows."""
    n_flagged, n = int(subject.is_flagged.sum()), len(subject.scores)
    share = percent(n_flagged / n)
    figures = [
        Figure("rows scored", number(n), f"{number(subject.given.shape[1])} features each"),
        Figure("flagged", number(n_flagged), f"{share} of the rows"),
    ]
    if subject.offset is not None:
        figures.append(Figure("threshold", number(-subject.offset), "of the anomaly score"))
    sentences = [f"{number(n_flagged)} of {number(n)} rows ({share}) are flagged as anomalies."]
    if contributions is not None:
        sentences.append(_name_drivers(subject, contributions[: n_flagged or None]))
    if subject.is_anomaly is not None:
        sentences.append(_count_errors(subject.is_flagged, subject.is_anomaly))
        figures += _areas(subject.scores, subject.is_anomaly)
    return Verdict(sentences, figures)


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


def _areas(scores: NDArray, is_anomaly: NDArray[np.bool_]) -> list[Figure]:
    auroc = roc_auc_score(is_anomaly, -scores)
    precision = average_precision_score(is_anomaly, -scores)
    return [
        Figure("AUROC", f"{auroc:.3f}", "chance is 0.5"),
        Figure("average precision", f"{precision:.3f}", f"chance is {is_anomaly.mean():.2g}"),
    ]


def _name_drivers(subject: Subject, contributions: NDArray) -> str:
    """Return a sentence on the largest contributions to the most anomalous rows."""
    totals = contributions.sum(axis=1, keepdims=True)
    shares = (contributions / np.where(totals > 0, totals, 1)).mean(axis=0)
    kind = "image" if subject.image_shape else "row"
    n = len(contributions)
    these = f"the {n} most anomalous {kind}s" if n > 1 else f"the most anomalous {kind}"
    if subject.image_shape:
        return f"In {these}, {_name_zone(shares, subject.image_shape)}."
    top = np.argsort(-shares, kind="stable")[:N_DRIVERS]
    named = [f"{short(subject.names[i])} ({percent(shares[i])})" for i in top if shares[i] > 0]
    if not named:
        return f"No feature of {these} deviates."
    verb = "contributes" if len(named) == 1 else "contribute"
    return f"In {these}, {join_words(named)} {verb} most to the anomaly."


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
        f"{percent(few)} of the pixels account for half of the anomaly on average. Of nine equal"
        f" parts of the image, the {where} adds most ({percent(zones[where] / (heat.sum() or 1))})"
    )
