"""Labels of known rows, and training rows without the known anomalies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length, column_or_1d

from aedetect.estimators.tables import Table
from aedetect.places import PlaceError, rows_of
from aedetect.rows import Reader
from aedetect.scoring import Labels

MOST_NORMAL = 500  # known normal rows that are kept: more of them are like the others

Numbers = NDArray[np.int64]


class Known(NamedTuple):
    """Known rows among training rows, and the numbers of the rows to train on."""

    labels: Labels
    trained: NDArray[np.intp]

    @classmethod
    def take_from(cls, table: Table, y: Any) -> tuple[Table, Self]:
        """Return the table without its known anomalies, and the known rows."""
        labels = check_known(y, table.X)
        if isinstance(table.X, Reader):
            raise TypeError(
                "labels='use' takes an array or a frame, but X holds rows on disk. Fit without"
                " labels, and pass the known rows to feedback."
            )
        anomalies, normal = np.flatnonzero(labels == -1), np.flatnonzero(labels == 1)
        if not len(anomalies):
            raise ValueError(
                "labels='use' needs a known anomaly, -1 in y, but there is none. Set"
                " labels='ignore' where no anomaly is known."
            )
        trained = np.flatnonzero(labels != -1)
        if len(trained) < 2:
            raise ValueError(
                "labels='use' leaves known anomalies out of training, which needs two other rows,"
                f" but y marks all but {len(trained)} of {len(labels)} rows as anomalies."
            )
        every = -(-len(normal) // MOST_NORMAL) or 1
        kept = np.concatenate([anomalies, normal[::every]])
        known = cls((table.X[kept], labels[kept]), trained)
        return table._replace(X=table.X[trained]), known

    @contextmanager
    def naming_rows(self) -> Iterator[None]:
        """Let errors about rows that are trained on name their numbers in the whole of X."""
        with rows_of(self.trained):
            yield


def check_known(y: Any, X: Any) -> Numbers:
    """Return the labels of the rows of X: +1 normal, -1 anomaly, 0 unknown.

    Raises
    ------
    ValueError
        If there are none, not one a row, or others than these.
    """
    if y is None:
        raise ValueError(
            "labels='use' needs y, with +1 for rows that are known to be normal, -1 for known"
            " anomalies and 0 for all others, but y is None."
        )
    labels = column_or_1d(y)
    check_consistent_length(X, labels)
    is_allowed = np.array([label in (-1, 0, 1) for label in labels.tolist()], dtype=bool)
    if not is_allowed.all():
        row = int(is_allowed.argmin())
        raise PlaceError(
            "Labels must be +1 for rows that are known to be normal, -1 for known anomalies and 0"
            f" for all others, but row {{row}} has {labels[row]!s:.80}. Where 1 marks anomalies and"
            " 0 all others, use -y.",
            row=row,
        )
    return labels.astype(np.int64)
