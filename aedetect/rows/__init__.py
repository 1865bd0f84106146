"""Rows that are larger than memory: opened once, read in blocks."""

from aedetect.rows.columns import ColumnError, Selection
from aedetect.rows.levels import MAX_STORED
from aedetect.rows.opening import open_rows, open_source, parse_memory
from aedetect.rows.plan import Plan, count_blocks, fits_one_pool, memory_needed, pool_blocks
from aedetect.rows.row_set import RowSet
from aedetect.rows.score_columns import compute_scores, offset_of, score_columns, takes_names
from aedetect.rows.scoring import score, score_parts
from aedetect.rows.sources import files_source
from aedetect.rows.spool import Spool
from aedetect.rows.view import Conversion, Reader, Rows

# For users. The other names are for the rooms below.
__all__ = ["Rows", "open_rows", "score"]
