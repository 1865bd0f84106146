"""The detector beside PCA and IsolationForest."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

from aedetect.model.scaling import fit_scaling
from aedetect.plotting import DetectionCurveDisplay
from aedetect.reporting.drawing import Picture, draw
from aedetect.reporting.subject import SEED, Subject

N_FITTED = 10_000  # rows at most that a peer is fitted to
N_COMPARED = 20_000  # rows at most that the detectors are compared on
N_COMPONENTS = 16  # of PCA beside a detector without a code


class Peer(NamedTuple):
    """How one detector compares."""

    name: str
    auroc: float | None
    average_precision: float | None
    correlation: float | None  # of its ranks with those of the detector; None for itself
    n_shared: int | None  # of the oddest rows


class Comparison(NamedTuple):
    """All detectors on the same rows."""

    peers: list[Peer]
    fitted_to: str
    n_fitted: int
    n_compared: int
    is_sample: bool
    n_top: int
    pictures: list[Picture]


def compare(subject: Subject, n_rows: int) -> Comparison | None:
    """Return the comparison, or None where the peers cannot be fitted to such rows."""
    reference = subject.rows if subject.train_rows is None else subject.train_rows
    chosen = subject.sample(N_COMPARED)
    rows = subject.rows[chosen]
    fitted = _draw_rows(reference)
    if not _is_finite(fitted) or not _is_finite(rows) or not np.ptp(fitted, axis=0).any():
        return None
    scores = {subject.name: subject.scores[chosen], **_peer_scores(subject.detector, fitted, rows)}
    is_anomaly = None if subject.is_anomaly is None else subject.is_anomaly[chosen]
    if is_anomaly is not None and not 0 < is_anomaly.sum() < len(is_anomaly):
        is_anomaly = None  # the sample missed a class
    n_top = min(n_rows, len(rows))
    own = next(iter(scores.values()))
    return Comparison(
        peers=[_describe(name, other, own, is_anomaly, n_top) for name, other in scores.items()],
        fitted_to="the rows judged here" if subject.train_rows is None else "the training rows",
        n_fitted=len(fitted),
        n_compared=len(rows),
        is_sample=len(rows) < len(subject.rows),
        n_top=n_top,
        pictures=[] if is_anomaly is None else _curves(scores, is_anomaly),
    )


def _is_finite(rows: NDArray) -> bool:
    return np.issubdtype(rows.dtype, np.number) and bool(np.isfinite(rows).all())


def _draw_rows(reference: NDArray) -> NDArray:
    if len(reference) <= N_FITTED:
        return reference
    return reference[np.random.RandomState(SEED).choice(len(reference), N_FITTED, replace=False)]


def _peer_scores(detector: Any, fitted: NDArray, rows: NDArray) -> dict[str, NDArray]:
    """Return the scores of the peers; higher is more normal."""
    width = getattr(detector, "latent_dim_", N_COMPONENTS)
    n_components = max(1, min(width, fitted.shape[1] - 1, len(fitted) - 1))
    scaling = fit_scaling(fitted, "auto", "mse")
    pca = PCA(n_components, random_state=SEED).fit(scaling.apply(fitted))
    scaled = scaling.apply(rows)
    residuals = scaled - pca.inverse_transform(pca.transform(scaled))
    forest = IsolationForest(random_state=SEED).fit(fitted)
    plural = "s" if n_components > 1 else ""
    return {
        f"PCA, {n_components} component{plural}": -(residuals.astype(np.float64) ** 2).sum(axis=1),
        "Isolation forest": forest.score_samples(rows),
    }


def _describe(
    name: str, scores: NDArray, own: NDArray, is_anomaly: NDArray | None, n_top: int
) -> Peer:
    top, own_top = (set(np.argsort(s, kind="stable")[:n_top].tolist()) for s in (scores, own))
    return Peer(
        name=name,
        auroc=None if is_anomaly is None else float(roc_auc_score(is_anomaly, -scores)),
        average_precision=(
            None if is_anomaly is None else float(average_precision_score(is_anomaly, -scores))
        ),
        correlation=None if scores is own else _rank_correlation(scores, own),
        n_shared=None if scores is own else len(top & own_top),
    )


def _rank_correlation(a: NDArray, b: NDArray) -> float | None:
    """Return Spearman's correlation; None where one gives all rows the same score."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def _curves(scores: dict[str, NDArray], is_anomaly: NDArray) -> list[Picture]:
    y = np.where(is_anomaly, -1, 1)
    names = {"roc": "ROC curves", "precision_recall": "Precision-recall curves"}
    return [
        draw(
            lambda ax, kind=kind: DetectionCurveDisplay(scores, y, kind).plot(ax=ax),  # type: ignore[misc]
            f"{name} of {', '.join(scores)}.",
            size=(4.0, 4.6),
            legend_columns=1,
        )
        for kind, name in names.items()
    ]
