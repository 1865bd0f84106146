"""Comparison of the detector with PCA and IsolationForest."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import (
    PrecisionRecallDisplay,
    RocCurveDisplay,
    average_precision_score,
    roc_auc_score,
)

from aedetect.plotting.rows import fit_scaler
from aedetect.plotting.style import COLORS, LINE_STYLES, plain
from aedetect.reporting.drawing import Picture, draw
from aedetect.reporting.subject import SEED, Subject, sample_rows
from aedetect.reporting.text import join_words, percent

N_FITTED = 10_000  # rows that a peer is fitted to, at most
N_COMPARED = 20_000  # rows that the detectors are compared on, at most
MARGIN = 0.03  # above and below the curves, as a share of their height
N_COMPONENTS = 16  # of PCA for a detector without latent_dim_
CURVES = (
    ("ROC", RocCurveDisplay, "normal rows flagged (FPR)", "anomalies flagged (TPR)"),
    ("Precision-recall", PrecisionRecallDisplay, "anomalies flagged (recall)", "precision"),
)


class Peer(NamedTuple):
    """One detector of the comparison."""

    name: str
    auroc: float | None
    average_precision: float | None
    correlation: float | None  # of its ranks with those of the reported detector; None for itself
    n_shared: int | None  # of the most anomalous rows


class Comparison(NamedTuple):
    """All detectors on one set of rows."""

    peers: list[Peer]
    fitted_to: str
    n_fitted: int
    n_compared: int
    is_sample: bool
    n_top: int
    pictures: list[Picture]

    @property
    def sentence(self) -> str:
        """The comparison in plain words."""
        own, *others = self.peers
        if own.auroc is None:
            shared = [f"{peer.n_shared} with {peer.name}" for peer in others]
            return (
                f"Of its {self.n_top} most anomalous rows, {own.name} shares {join_words(shared)}."
            )
        shares = [f"{percent(peer.auroc or 0)} with {peer.name}" for peer in self.peers]
        return (
            "Of an anomaly and a normal row drawn at random, the anomaly has the higher score in"
            f" {join_words(shares)}."
        )


def compare(subject: Subject, n_rows: int) -> Comparison | None:
    """Return the comparison, None for rows that the peers cannot be fitted to."""
    reference = subject.numbers if subject.train_numbers is None else subject.train_numbers
    fitted = reference[sample_rows(len(reference), N_FITTED)]
    chosen = sample_rows(len(subject.numbers), N_COMPARED)
    rows = subject.numbers[chosen]
    if not _is_finite(fitted) or not _is_finite(rows) or not np.ptp(fitted, axis=0).any():
        return None
    scores = {subject.name: subject.scores[chosen], **_peer_scores(subject.detector, fitted, rows)}
    is_anomaly = None if subject.is_anomaly is None else subject.is_anomaly[chosen]
    if is_anomaly is not None and not 0 < is_anomaly.sum() < len(is_anomaly):
        is_anomaly = None  # the sample lacks a class
    n_top = min(n_rows, len(rows))
    own = scores[subject.name]
    return Comparison(
        peers=[_describe(name, other, own, is_anomaly, n_top) for name, other in scores.items()],
        fitted_to="the scored rows" if subject.train_numbers is None else "the training rows",
        n_fitted=len(fitted),
        n_compared=len(rows),
        is_sample=len(rows) < len(subject.numbers),
        n_top=n_top,
        pictures=[] if is_anomaly is None else _curves(scores, is_anomaly),
    )


def _is_finite(rows: NDArray) -> bool:
    return np.issubdtype(rows.dtype, np.number) and bool(np.isfinite(rows).all())


def _peer_scores(detector: Any, fitted: NDArray, rows: NDArray) -> dict[str, NDArray]:
    """Return the scores of the peers; higher is more normal."""
    width = getattr(detector, "latent_dim_", N_COMPONENTS)
    n_components = max(1, min(width, fitted.shape[1] - 1, len(fitted) - 1))
    scale = fit_scaler(detector, fitted)
    pca = PCA(n_components, random_state=SEED).fit(scale(fitted))
    scaled = scale(rows)
    residuals = scaled - pca.inverse_transform(pca.transform(scaled))
    forest = IsolationForest(random_state=SEED).fit(fitted)
    plural = "s" if n_components > 1 else ""
    return {
        f"PCA ({n_components} component{plural})": -(residuals.astype(np.float64) ** 2).sum(axis=1),
        "Isolation forest": forest.score_samples(rows),
    }


def _describe(
    name: str, scores: NDArray, own: NDArray, is_anomaly: NDArray | None, n_top: int
) -> Peer:
    auroc, precision = None, None
    if is_anomaly is not None:
        auroc = float(roc_auc_score(is_anomaly, -scores))
        precision = float(average_precision_score(is_anomaly, -scores))
    if scores is own:
        return Peer(name, auroc, precision, None, None)
    top, own_top = (set(np.argsort(s, kind="stable")[:n_top].tolist()) for s in (scores, own))
    return Peer(name, auroc, precision, _rank_correlation(scores, own), len(top & own_top))


def _rank_correlation(a: NDArray, b: NDArray) -> float | None:
    """Return Spearman's correlation, None if all scores of one detector are equal."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def _curves(scores: dict[str, NDArray], is_anomaly: NDArray) -> list[Picture]:
    return [
        draw(
            partial(_draw_curves, display, scores, is_anomaly, {"xlabel": right, "ylabel": up}),
            f"{name} curves of {', '.join(scores)}.",
            size=(4.0, 4.6),
            legend_columns=1,
        )
        for name, display, right, up in CURVES
    ]


def _draw_curves(
    display: Any, scores: dict[str, NDArray], is_anomaly: NDArray, labels: dict[str, str], ax: Axes
) -> None:
    for index, (name, values) in enumerate(scores.items()):
        style = {"color": COLORS[index], "linestyle": LINE_STYLES[index], "linewidth": 1.8}
        display.from_predictions(
            is_anomaly,
            -values,
            name=plain(name),
            ax=ax,
            curve_kwargs=style,
            plot_chance_level=index == len(scores) - 1,
            chance_level_kw={"color": "gray", "linestyle": ":"},
        )
    ax.set(**labels, aspect="auto")
    lowest = min(float(np.min(line.get_ydata())) for line in ax.get_lines())
    margin = MARGIN * (1 - lowest)
    ax.set_ylim(lowest - margin, 1 + margin)  # where precision is high, only the top is of interest
    ax.legend(fontsize="small")
