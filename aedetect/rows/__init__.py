"""Rows that are larger than memory: opened once, read in blocks."""

from aedetect.rows.opening import open_rows
from aedetect.rows.plan import Plan, count_blocks, fits_one_pool, memory_needed, pool_blocks
from aedetect.rows.row_set import RowSet
from aedetect.rows.scoring import score
from aedetect.rows.spool import Spool
from aedetect.rows.view import Reader, Rows

# For users. The other names are for the rooms below.
__all__ = ["Rows", "open_rows", "score"]
