"""Select the columns of a table that a model scores."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pandas as pd

from aedetect.cli.tables import as_numbers, check_columns, leave_out

_REMEDY = "The model was fitted to numbers in these columns: encode them as they were then."


def model_columns(model: Any, frame: pd.DataFrame, arguments: Namespace) -> pd.DataFrame:
    """Return the columns that a model was fitted to, as numbers.

    They are matched by name. A model that was fitted to an array has no names, and takes all
    columns except those of ``--drop``.

    Raises
    ------
    ValueError
        If columns are missing or not numeric, or if their number is wrong for a model without
        names.
    """
    frame = leave_out(frame, arguments.drop, arguments.table)
    if hasattr(model, "feature_names_in_"):
        names = list(model.feature_names_in_)
        check_columns(frame, names, arguments.table)
        return as_numbers(frame[names], arguments.table, remedy=_REMEDY)
    if frame.shape[1] != model.n_features_in_:
        raise ValueError(
            f"{arguments.model} was fitted to {model.n_features_in_} columns without names, but"
            f" {arguments.table} has {frame.shape[1]}: {', '.join(map(str, frame.columns[:20]))}."
            " Leave the others out with --drop."
        )
    return as_numbers(frame, arguments.table)
