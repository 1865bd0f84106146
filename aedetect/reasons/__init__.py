"""Explain and repair anomalies in the columns and units of X, through the steps of a Pipeline."""

from aedetect.reasons.columns import Way, trace
from aedetect.reasons.explaining import explain, explain_traced, gives_reasons, warn_of_columns
from aedetect.reasons.pipelines import join, split
from aedetect.reasons.repairing import differs, repair, repair_traced

__all__ = [
    "Way",
    "differs",
    "explain",
    "explain_traced",
    "gives_reasons",
    "join",
    "repair",
    "repair_traced",
    "split",
    "trace",
    "warn_of_columns",
]
