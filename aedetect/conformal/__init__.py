"""Decisions with a guarantee, around any outlier detector."""

from aedetect.conformal.detector import ConformalDetector

__all__ = ["ConformalDetector"]
