"""Scores, thresholds, explanations and repairs: a fitted :class:`Detector`."""

from aedetect.scoring.detector import Detector, Labels
from aedetect.scoring.evidence import EVIDENCE_SCORES
from aedetect.scoring.registry import SCORES
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.thresholds import (
    FloatArray,
    alarm_rank,
    alarm_threshold,
    labelled_threshold,
    rows_needed,
    threshold,
)

__all__ = [
    "EVIDENCE_SCORES",
    "SCORES",
    "Detector",
    "FloatArray",
    "Labels",
    "Reference",
    "Score",
    "alarm_rank",
    "alarm_threshold",
    "labelled_threshold",
    "rows_needed",
    "threshold",
]
