"""From networks to scores, and from scores to decisions."""

from aedetect.scoring.evidence import EVIDENCE_SCORES, Evidence
from aedetect.scoring.measures import SCORES, Measure, fit_measure
from aedetect.scoring.missing import ObservedCells, contribute, fill
from aedetect.scoring.thresholds import FloatArray, chi_squared_limit, threshold

__all__ = [
    "EVIDENCE_SCORES",
    "SCORES",
    "Evidence",
    "FloatArray",
    "Measure",
    "ObservedCells",
    "chi_squared_limit",
    "contribute",
    "fill",
    "fit_measure",
    "threshold",
]
