"""The columns of a table that a model scores."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pandas as pd

from aedetect.cli.tables import check_columns, leave_out, numbers


def known_columns(model: Any, frame: pd.DataFrame, arguments: Namespace) -> pd.DataFrame:
    """Return the columns that a model was fitted to, as numbers.

    They are found by their names. A model that was fitted to an array knows none, and takes all
    columns that are not left out.

    Raises
    ------
    ValueError
        If columns are missing, not numeric, or too many for a model that knows no names.
    """
    frame = leave_out(frame, arguments.drop, arguments.table)
    if hasattr(model, "feature_names_in_"):
        names = list(model.feature_names_in_)
        check_columns(frame, names, arguments.table)
        return numbers(frame[names], arguments.table, remedy=_NAMED)
    if frame.shape[1] != model.n_features_in_:
        raise ValueError(
            f"{arguments.model} was fitted to {model.n_features_in_} columns without names, but"
            f" {arguments.table} has {frame.shape[1]}: {', '.join(map(str, frame.columns[:20]))}."
            " Leave the others out with --drop."
        )
    return numbers(frame, arguments.table)


_NAMED = "The model was fitted to numbers in these columns: encode them as they were then."
