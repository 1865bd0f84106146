"""``aedetect report``: a model file and a table in, a page out."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import pandas as pd

from aedetect import load, report
from aedetect.cli.features import known_columns
from aedetect.cli.tables import check_columns, read_chunks


def run(arguments: Namespace) -> None:
    """Write a page about a model and the rows of a table."""
    model = load(arguments.model)
    frame = pd.concat(list(read_chunks(arguments.table, sep=arguments.sep)))
    label = arguments.label
    y = None
    if label is not None:
        check_columns(frame, [label], arguments.table)
        y = frame.pop(label).to_numpy()
        if not np.isin(y, [-1, 1]).all():
            raise ValueError(
                f"--label {label}: must hold +1 for normal rows and -1 for anomalies, but it holds"
                f" {sorted(set(y))[:5]}."
            )
    print(report(model, known_columns(model, frame, arguments), y, path=arguments.out))
