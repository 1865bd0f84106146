"""From networks to scores, and from scores to decisions."""

from aedetect.scoring.evidence import EVIDENCE_SCORES, Evidence
from aedetect.scoring.explanations import (
    N_USUAL,
    Question,
    local_errors,
    log_slope,
    surprises,
    usual_surprise,
)
from aedetect.scoring.leaving_out import leaving_out, of_copies, without_rows
from aedetect.scoring.measures import (
    SCORES,
    Measure,
    Reconstruction,
    Standardized,
    fit_measure,
    restore,
)
from aedetect.scoring.missing import ObservedCells, fill, of_complete_rows
from aedetect.scoring.repair import repair
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
    "N_USUAL",
    "SCORES",
    "Evidence",
    "FloatArray",
    "Measure",
    "ObservedCells",
    "Question",
    "Reconstruction",
    "Standardized",
    "alarm_rank",
    "alarm_threshold",
    "fill",
    "fit_measure",
    "labelled_threshold",
    "leaving_out",
    "local_errors",
    "log_slope",
    "of_complete_rows",
    "of_copies",
    "repair",
    "restore",
    "rows_needed",
    "surprises",
    "threshold",
    "usual_surprise",
    "without_rows",
]
