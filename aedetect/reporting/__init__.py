"""The report: one HTML page on the anomalies that a detector finds, with explanations."""

from aedetect.reporting.page import report

__all__ = ["report"]
