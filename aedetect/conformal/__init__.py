"""Outlier decisions with a bounded share of false alarms, for any detector."""

from aedetect.conformal.detector import ConformalDetector, scores_and_p_values, with_alpha

__all__ = ["ConformalDetector", "scores_and_p_values", "with_alpha"]
