"""Facts on the detector and its training."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from aedetect.plotting import LearningCurveDisplay
from aedetect.reporting.drawing import Picture, draw
from aedetect.reporting.subject import Subject
from aedetect.reporting.text import number, times

WIDE_GAP = 2  # times the training loss


class Training(NamedTuple):
    """Facts on the fit; None if the detector has no layers or no history."""

    facts: list[tuple[str, str]]
    layers: list[dict[Any, Any]] | None
    picture: Picture | None
    gap: str | None  # a sentence on a held-out loss far above the training loss


def describe_training(subject: Subject) -> Training:
    """Return the facts that the fitted detector provides."""
    detector = subject.detector
    facts = _describe_fit(subject)
    layers, picture, gap = None, None, None
    if hasattr(detector, "summary"):
        summary = pd.DataFrame(detector.summary())
        facts.append(("Parameters of the network", number(int(summary["parameters"].sum()))))
        layers = summary.to_dict("records")
    if hasattr(detector, "history_"):
        facts += _describe_history(detector.history_)
        gap = _describe_gap(detector.history_)
        picture = draw(
            lambda ax: LearningCurveDisplay.from_estimator(detector, ax=ax),
            f"Loss over {len(detector.history_['loss'])} epochs.",
        )
    return Training(facts, layers, picture, gap)


def _describe_fit(subject: Subject) -> list[tuple[str, str]]:
    detector = subject.detector
    facts = [("Detector", subject.name)]
    folds = getattr(subject.conformal, "estimators_", [])
    if len(folds) > 1:
        facts.append(("Detectors", f"{len(folds)}, one per fold; the first is shown here"))
    if subject.steps is not None:
        names = ", ".join(type(step).__name__ for _, step in subject.steps.steps)
        facts.append(("Steps before it", names))
    if subject.train_numbers is not None:
        facts.append(("Training rows", number(len(subject.train_numbers))))
    if hasattr(detector, "n_features_in_"):
        facts.append(("Features", number(int(detector.n_features_in_))))
    if hasattr(detector, "latent_dim_"):
        facts.append(("Values in the code", number(int(detector.latent_dim_))))
    return facts


def _describe_history(history: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    facts = [("Epochs", number(len(history["loss"])))]
    held_out = history["val_loss"]
    if np.isfinite(held_out).all():
        best = int(held_out.argmin())
        facts.append(("Lowest held-out loss", f"{held_out[best]:.4g} in epoch {best + 1}"))
    facts.append(("Seconds of training", f"{history['seconds'].sum():.3g}"))
    return facts


def _describe_gap(history: dict[str, np.ndarray]) -> str | None:
    """Return a sentence if the held-out loss lies far above the training loss."""
    held_out = history["val_loss"]
    if not np.isfinite(held_out).all():
        return None
    best = int(held_out.argmin())
    loss, lowest = float(history["loss"][best]), float(held_out[best])
    if loss <= 0 or lowest < WIDE_GAP * loss:
        return None
    return (
        f"The held-out loss is {times(lowest / loss)} the training loss: the network fits new rows"
        " much worse than those it was trained on. More training rows, a smaller network or more"
        " regularisation narrow the gap."
    )
