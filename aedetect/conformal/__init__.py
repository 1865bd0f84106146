"""Outlier decisions with a bounded share of false alarms, for any detector."""

from aedetect.conformal.detector import (
    ConformalDetector,
    block_size_of,
    scores_and_p_values,
    with_alpha,
)

__all__ = ["ConformalDetector", "block_size_of", "scores_and_p_values", "with_alpha"]
