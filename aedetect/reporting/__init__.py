"""The report: one page of HTML that says what a detector found and why."""

from aedetect.reporting.page import report

__all__ = ["report"]
