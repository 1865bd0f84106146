"""Rows that are larger than memory: opened once, read in blocks."""

from aedetect.rows.opening import open_rows
from aedetect.rows.view import Reader, Rows

__all__ = ["Reader", "Rows", "open_rows"]
