"""The levels of a column on disk, numbered in the order in which they first occur."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aedetect.model import CellError, Level, keys_of

MAX_STORED = 2**17  # levels of a column: all are in memory


class LevelCodes:
    """Turns cells into the numbers of their levels; a level that is new gets the next number.

    Parameters
    ----------
    levels : sequence, default=()
        Those that have a number already.
    """

    def __init__(self, levels: Sequence[Level] = ()) -> None:
        self.levels = list(levels)
        self._codes = {key: code for code, key in enumerate(keys_of(self.levels))}

    def encode(self, cells: NDArray) -> NDArray[np.float32]:
        """Return the numbers of the levels of cells; NaN for missing cells.

        Raises
        ------
        CellError
            If a cell is no level: not text, a number, true, false or missing.
        """
        # Objects are told apart by keys_of: to pandas, true is 1.
        if cells.dtype != object or pd.api.types.infer_dtype(cells, skipna=True) == "string":
            places, distinct = pd.factorize(cells)
        else:
            places, distinct = np.arange(len(cells)), cells
        try:
            keys = keys_of(distinct)
        except CellError as error:
            raise CellError(int((places == error.place).argmax()), error.cell) from error
        codes = [self._code(key, cell) for key, cell in zip(keys, distinct, strict=True)]
        return np.array([*codes, np.nan], dtype=np.float32)[places]  # -1 is missing

    def _code(self, key: Any, cell: Any) -> float:
        if key is None:
            return np.nan
        if key not in self._codes:
            self._codes[key] = len(self.levels)
            self.levels.append(cell.item() if isinstance(cell, np.generic) else cell)
        return self._codes[key]
