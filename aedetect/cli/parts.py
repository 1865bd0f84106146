"""Score a table in parts on the disk, which a later call goes on with."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from aedetect.cli.features import levels_of, model_columns, text_columns
from aedetect.cli.tables import first_row_of, read_chunks
from aedetect.rows import Rows, Selection, files_source, open_source, parse_memory
from aedetect.scale import score

UNUSED = parse_memory("256MB")  # scoring reads parts of a fixed size


def score_in_parts(model: Any, arguments: Namespace) -> tuple[int, int]:
    """Write the scores of all rows; parts that an earlier call has written are kept.

    Returns
    -------
    n_rows, n_anomalies : int
    """
    rows = _open(model, arguments)
    hidden = not sys.stderr.isatty()
    with tqdm(total=len(rows), unit=" rows", unit_scale=True, disable=hidden) as bar:
        path = score(
            model,
            rows,
            arguments.out,
            engine=arguments.engine,
            first_row=first_row_of(arguments.table),
            progress=bar.update,
        )
    return len(rows), int(pd.read_parquet(path, columns=["anomaly"])["anomaly"].sum())


def _open(model: Any, arguments: Namespace) -> Rows:
    """Return the rows of the table as the model takes them."""

    def frames(path: Path, selection: Selection) -> Iterator[pd.DataFrame]:
        for chunk in read_chunks(path, sep=arguments.sep, as_text=text_columns(model)):
            frame = model_columns(model, chunk, arguments)
            selection.categorical = [frame.columns[column] for column in levels]
            selection.choose(frame.columns.tolist(), str(path))
            yield frame

    levels = levels_of(model)
    names = list(map(str, getattr(model, "feature_names_in_", ())))
    chosen = [names, list(levels.items()), arguments.drop, arguments.sep]
    source = files_source([arguments.table], frames)
    return open_source(source, Selection(None, ()), chosen, arguments.cache, UNUSED)
