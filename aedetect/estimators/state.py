"""Fitted values as plain Python, and back: what a file or another process is given."""

from __future__ import annotations

from dataclasses import fields as fields_of
from typing import Any

import numpy as np

from aedetect.estimators.scaling import Scaling
from aedetect.scoring import Evidence, ObservedCells, measures
from aedetect.scoring.neighbors import Neighbors
from aedetect.scoring.recognition import Marks
from aedetect.scoring.whitening import Whitening

# What a fitted estimator may hold beside arrays and plain Python: these named tuples, by name.
RECORDS: dict[str, Any] = {
    record.__name__: record
    for record in (
        *(Scaling, Neighbors, Whitening, Marks, Evidence, ObservedCells),
        *(measures.Reconstruction, measures.Standardized, measures.Layerwise, measures.Whitened),
        *(measures.RowNeighbors, measures.CodeNeighbors, measures.Product),
    )
}
NAME = "$record"  # the key of a record's name


def to_plain(value: Any) -> Any:
    """Return ``value`` with a dictionary in place of every record; the rest stays as it is."""
    if RECORDS.get(type(value).__name__) is type(value):
        fields = getattr(value, "_fields", None) or [field.name for field in fields_of(value)]
        entries = {field: to_plain(getattr(value, field)) for field in fields}
        return {NAME: type(value).__name__, **entries}
    if type(value) is dict:
        return {key: to_plain(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(to_plain(entry) for entry in value)
    return value


def from_plain(value: Any) -> Any:
    """Return what :func:`to_plain` was given, and copies of arrays that cannot be written to.

    joblib maps large arrays into memory, read-only. They become tensors, of which PyTorch has none
    that are read-only.

    Raises
    ------
    KeyError, TypeError
        If a record is not known, or its fields are not those of its class.
    """
    if type(value) is dict:
        fields = {key: from_plain(entry) for key, entry in value.items()}
        return RECORDS[fields.pop(NAME)](**fields) if NAME in fields else fields
    if type(value) in (list, tuple):
        return type(value)(from_plain(entry) for entry in value)
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        return np.array(value)
    return value
