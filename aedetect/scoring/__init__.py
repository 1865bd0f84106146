"""From networks to scores, and from scores to decisions."""

from aedetect.scoring.evidence import EVIDENCE_SCORES, Evidence
from aedetect.scoring.measures import SCORES, Measure, fit_measure
from aedetect.scoring.missing import ObservedCells, contribute
from aedetect.scoring.thresholds import (
    FloatArray,
    alarm_rank,
    alarm_threshold,
    chi_squared_limit,
    labelled_threshold,
    rows_needed,
    threshold,
)

__all__ = [
    "EVIDENCE_SCORES",
    "SCORES",
    "Evidence",
    "FloatArray",
    "Measure",
    "ObservedCells",
    "alarm_rank",
    "alarm_threshold",
    "chi_squared_limit",
    "contribute",
    "fit_measure",
    "labelled_threshold",
    "rows_needed",
    "threshold",
]
