"""Trained networks, their scaling, and the one inference loop."""

from aedetect.model.coding import (
    Categories,
    CellError,
    Coding,
    Level,
    count_categories,
    fit_categories,
    keys_of,
)
from aedetect.model.columns import Columns, fit_columns
from aedetect.model.inference import Fitted, infer
from aedetect.model.model import Model, check_finite, make_model
from aedetect.model.scaling import MAPPED_VALUES, bend, row_blocks
from aedetect.model.spec import NetworkSpec
from aedetect.model.stored import (
    StateError,
    require,
    require_floats,
    require_keys,
    require_number,
    writable,
)
from aedetect.model.view import View, mean_of_members

__all__ = [
    "MAPPED_VALUES",
    "Categories",
    "CellError",
    "Coding",
    "Columns",
    "Fitted",
    "Level",
    "Model",
    "NetworkSpec",
    "StateError",
    "View",
    "bend",
    "check_finite",
    "count_categories",
    "fit_categories",
    "fit_columns",
    "infer",
    "keys_of",
    "make_model",
    "mean_of_members",
    "require",
    "require_floats",
    "require_keys",
    "require_number",
    "row_blocks",
    "writable",
]
