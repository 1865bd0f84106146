"""Rows in order of time: windows of them, and scores of their timestamps."""

from aedetect.series.timestamps import score_timestamps
from aedetect.series.windows import WindowTransformer

__all__ = ["WindowTransformer", "score_timestamps"]
