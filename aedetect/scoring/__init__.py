"""From networks to scores, and from scores to decisions."""

from aedetect.scoring.evidence import EVIDENCE_SCORES, Evidence
from aedetect.scoring.explanations import count_usual, local_errors, surprises, without_rows
from aedetect.scoring.measures import SCORES, Measure, Reconstruction, Standardized, fit_measure
from aedetect.scoring.repair import repair
from aedetect.scoring.thresholds import FloatArray, chi_squared_limit, threshold

__all__ = [
    "EVIDENCE_SCORES",
    "SCORES",
    "Evidence",
    "FloatArray",
    "Measure",
    "Reconstruction",
    "Standardized",
    "chi_squared_limit",
    "count_usual",
    "fit_measure",
    "local_errors",
    "repair",
    "surprises",
    "threshold",
    "without_rows",
]
