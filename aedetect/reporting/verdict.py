"""What the page says first: how many rows are odd, and where the threshold lies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from aedetect.plotting import ScoreDistributionDisplay
from aedetect.plotting.images import as_heat_maps
from aedetect.reporting.drawing import Picture, draw
from aedetect.reporting.subject import Subject
from aedetect.reporting.text import join_words, number, percent, short

N_DRIVERS = 3  # features that the verdict names
ZONES = (("upper", "middle", "lower"), ("left", "centre", "right"))


class Figure(NamedTuple):
    """A number that the page shows large."""

    name: str
    value: str
    note: str


class Verdict(NamedTuple):
    """Sentences and numbers at the top of the page."""

    sentences: list[str]
    figures: list[Figure]


def sum_up(subject: Subject, n_rows: int) -> Verdict:
    """Return the verdict."""
    n_flagged, n = int(subject.is_flagged.sum()), len(subject.scores)
    figures = [
        Figure("rows judged", number(n), f"{number(subject.given.shape[1])} features each"),
        Figure("flagged", number(n_flagged), percent(n_flagged / n) + " of the rows"),
    ]
    if subject.offset is not None:
        figures.append(Figure("threshold", number(-subject.offset), "of the anomaly score"))
    sentences = [
        f"{number(n_flagged)} of {number(n)} rows ({percent(n_flagged / n)}) are flagged as"
        " anomalies."
    ]
    if subject.explains:
        sentences.append(_name_drivers(subject, n_rows))
    if subject.is_anomaly is not None:
        judged, more = _judge(subject, subject.is_anomaly)
        sentences.append(judged)
        figures += more
    return Verdict(sentences, figures)


def _judge(subject: Subject, is_anomaly: NDArray[np.bool_]) -> tuple[str, list[Figure]]:
    found = int((subject.is_flagged & is_anomaly).sum())
    false = int((subject.is_flagged & ~is_anomaly).sum())
    n_anomalies, n_normal = int(is_anomaly.sum()), int((~is_anomaly).sum())
    sentence = (
        f"By the labels, {number(found)} of {number(n_anomalies)} anomalies are among them, and"
        f" {number(false)} of {number(n_normal)} normal rows are flagged by mistake."
    )
    areas = [
        Figure("AUROC", f"{roc_auc_score(is_anomaly, -subject.scores):.3f}", "chance is 0.5"),
        Figure(
            "average precision",
            f"{average_precision_score(is_anomaly, -subject.scores):.3f}",
            f"chance is {is_anomaly.mean():.2g}",
        ),
    ]
    return sentence, areas


def _name_drivers(subject: Subject, n_rows: int) -> str:
    """Return a sentence on what the oddest rows have in common."""
    n_flagged = int(subject.is_flagged.sum())
    oddest = subject.oddest(min(n_rows, n_flagged or n_rows))
    contributions = subject.ask("explain", subject.rows[oddest])
    totals = contributions.sum(axis=1, keepdims=True)
    shares = (contributions / np.where(totals > 0, totals, 1)).mean(axis=0)
    kind = "image" if subject.image_shape else "row"
    these = f"the {len(oddest)} oddest {kind}s" if len(oddest) > 1 else f"the oddest {kind}"
    if subject.image_shape:
        return f"In {these}, {_name_zone(shares, subject.image_shape)}."
    top = np.argsort(-shares, kind="stable")[:N_DRIVERS]
    named = [f"{short(subject.names[i])} ({percent(shares[i])})" for i in top if shares[i] > 0]
    if not named:
        return f"No feature of {these} stands out."
    return f"What makes {these} odd is mostly {join_words(named)}."


def _name_zone(shares: NDArray, image_shape: tuple[int, ...]) -> str:
    """Return which ninth of the image holds most of the anomaly, and how few pixels half of it."""
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
        f"half of the anomaly lies in {percent(few)} of the pixels on average; of nine equal parts"
        f" of the image, the {where} holds most ({percent(zones[where] / (heat.sum() or 1))})"
    )


class Scores(NamedTuple):
    """The histogram, and how to read it."""

    reading: str
    picture: Picture


def describe_scores(subject: Subject) -> Scores:
    """Return the histogram of the scores."""
    reading = "Each bar counts rows; the further to the right, the odder."
    y = subject.y if subject.is_anomaly is not None else None
    if y is not None:
        reading = (
            "The further to the right, the odder. A good detector keeps the two shapes apart; each"
            " is drawn as shares of its own class, however rare."
        )
    if subject.offset is not None:
        reading += " Rows to the right of the dashed line are flagged."
    picture = draw(
        lambda ax: ScoreDistributionDisplay(subject.scores, y, subject.offset).plot(ax=ax),
        f"Histogram of the anomaly scores of {number(len(subject.scores))} rows.",
        legend_columns=2,
    )
    return Scores(reading, picture)
