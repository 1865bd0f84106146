"""From networks to scores, and from scores to decisions."""

from aedetect.scoring.evidence import EVIDENCE_SCORES, Evidence
from aedetect.scoring.explanations import N_USUAL, surprises, usual_surprises, without_rows
from aedetect.scoring.measures import SCORES, Measure, Reconstruction, Standardized, fit_measure
from aedetect.scoring.repair import repair
from aedetect.scoring.thresholds import FloatArray, chi_squared_limit, threshold

__all__ = [
    "EVIDENCE_SCORES",
    "N_USUAL",
    "SCORES",
    "Evidence",
    "FloatArray",
    "Measure",
    "Reconstruction",
    "Standardized",
    "chi_squared_limit",
    "fit_measure",
    "repair",
    "surprises",
    "threshold",
    "usual_surprises",
    "without_rows",
]
