"""The report: one HTML page on the anomalies that a detector finds, with explanations."""

from aedetect.extras import require

require("plot", "report")  # first, for the page imports it

from aedetect.reporting.page import report  # noqa: E402

__all__ = ["report"]
