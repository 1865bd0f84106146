"""Random frames of mixed columns, and what estimators may make of them: an answer or a rule."""

from __future__ import annotations

import datetime
import decimal
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
from strategies import RULES as RULES_OF_NUMBERS

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector, load, save
from aedetect.model import keys_of

ODD_TEXT = [
    *(
        "",
        " ",
        "\n",
        "\t",
        "\0",
        "a\0b",
        "é",
        "日本",
        "🙂",
        "{row}",
        "{column}",
        "%s",
        "\\",
        "'",
        '"',
    ),
    *("None", "nan", "<NA>", "True", "1", "1.0", "x" * 2000, "\u202e", "e\u0301", "\ud800"),
]
DAY = datetime.datetime(2020, 1, 1)
MIXED = ["a", 1, 2.5, True, False, None, np.nan, "1", 0, -1.0, 10**30, np.float32(0.1), np.inf]
NOT_LEVELS = [b"bytes", (1, 2), [3], {"a": 1}, 1j, decimal.Decimal("1.5"), object(), 10**400]
NOT_LEVELS += [pd.Interval(0, 1), np.datetime64("2020-01-01"), frozenset({1}), np.str_("text")]
ODD_NAMES = ["", " ", "{column}", "{row}", "a b", "é", "label", "x0", "c\n", "None", "%d", "'q'"]

Random = np.random.Generator


def chosen(rng: Random, values: list, n: int) -> list:
    return [values[place] for place in rng.integers(len(values), size=n)]


def with_holes(cells: list, rng: Random) -> list:
    hidden = rng.random(len(cells)) < 0.2
    return [None if is_hidden else cell for is_hidden, cell in zip(hidden, cells, strict=True)]


# Cells of a column, given a generator and the number of rows.
COLUMNS: dict[str, Callable[[Random, int], list]] = {
    "numbers": lambda rng, n: rng.standard_normal(n).tolist(),
    "more numbers": lambda rng, n: (1e6 + rng.standard_normal(n)).tolist(),
    "whole numbers": lambda rng, n: rng.integers(0, 9, n).tolist(),
    "numbers with holes": lambda rng, n: with_holes(rng.standard_normal(n).tolist(), rng),
    "numbers and infinity": lambda rng, n: chosen(rng, [1.0, 2.0, 3.0, np.inf], n),
    "words": lambda rng, n: chosen(rng, ["red", "green", "blue"], n),
    "words with holes": lambda rng, n: with_holes(chosen(rng, ["red", "blue"], n), rng),
    "odd text": lambda rng, n: chosen(rng, ODD_TEXT, n),
    "booleans": lambda rng, n: chosen(rng, [True, False], n),
    "booleans with holes": lambda rng, n: with_holes(chosen(rng, [True, False], n), rng),
    "mixed levels": lambda rng, n: chosen(rng, MIXED, n),
    "words and numbers": lambda rng, n: chosen(rng, ["a", "b", 1, 2.5], n),
    "one level": lambda rng, n: ["only"] * n,
    "one number": lambda rng, n: [7.0] * n,
    "all missing": lambda rng, n: [None] * n,
    "all NaN": lambda rng, n: [np.nan] * n,
    "identifier": lambda rng, n: [f"id {number}" for number in rng.permutation(n)],
    "very many levels": lambda rng, n: [f"v{number}" for number in rng.integers(0, 2 * n, n)],
    "rare levels": lambda rng, n: [f"r{number}" for number in rng.zipf(1.5, n) % 1000],
    "numbers as text": lambda rng, n: [str(number) for number in rng.integers(0, 5, n)],
    "dates": lambda rng, n: [
        DAY + datetime.timedelta(days=int(day)) for day in rng.integers(9, size=n)
    ],
    "days": lambda rng, n: [DAY.date() for _ in range(n)],
    "spans": lambda rng, n: [datetime.timedelta(hours=int(h)) for h in rng.integers(9, size=n)],
    "dates as text": lambda rng, n: [str(DAY + datetime.timedelta(int(d))) for d in range(n)],
    "no levels": lambda rng, n: chosen(rng, ["a", *chosen(rng, NOT_LEVELS, 2)], n),
}
PLAIN = ["numbers", "more numbers", "whole numbers", "words", "words with holes", "booleans"]


def text_of(column: pd.Series) -> pd.Series:
    return column.map(lambda cell: cell if pd.isna(cell) is True else str(cell)).astype(object)


# How the type of a column may be another when rows are scored, or in fit.
TYPES: dict[str, Callable[[pd.Series], pd.Series]] = {
    "object": lambda column: column.astype(object),
    "category": lambda column: column.astype("category"),
    "text": text_of,
    "string": lambda column: text_of(column).astype("string"),
    "nullable": lambda column: column.convert_dtypes(),
    "float": lambda column: column.astype(float),
    "float32": lambda column: column.astype("float32"),
    "boolean": lambda column: column.astype("boolean"),
}
CHANGES = [
    *("none", "none", "new levels", "missing cells", "order", "one column less", "one more"),
    *("type", "type", "library", "other column", "one row", "text in a number"),
]
SMALL = {"latent_dim": 2, "hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}
SETTINGS: list[dict[str, Any]] = [
    *({}, {}, {"contamination": 0}, {"contamination": 0.1, "n_members": 2}),
    *({"anomaly_score": "reconstruction"}, {"anomaly_score": "standardized", "loss": "huber"}),
    *({"anomaly_score": "latent_neighbors", "batch_norm": True}, {"anomaly_score": "mahalanobis"}),
    *({"scaling": None}, {"loss": "bce"}, {"batch_size": 7}),
]
ESTIMATORS = [AutoencoderTransformer, DenoisingAutoencoder, VAEDetector]
ROWS = [2, 3, 12, 25, 40, 40, 60]

ROW = r"\d+( \(index .*\))?"
COLUMN = r"(\d+|'.*'|\".*\")"
# Every error that a frame may meet besides those of numbers: what it is about, and how it says so.
RULES = {
    "a category is a level": rf"Column {COLUMN} holds .* in row {ROW}\. A category is.*astype\(str",
    "no identifier": rf"Column {COLUMN} has \d+ levels in \d+ rows.*Leave it out.*--drop",
    "no dates as text": rf"Column {COLUMN} holds dates such as .*Turn dates into numbers",
    "no dates": rf"X must hold numbers, but column {COLUMN} holds .*Turn dates into numbers",
    "numbers of text": rf"X must hold numbers, but column {COLUMN} holds .* in row {ROW}.*(Convert"
    r" it|Turn it|Or leave the column out)",
    "all columns": rf"X lacks the column {COLUMN}, which fit was given",
    "as many columns": r"X has \d+ features, but \w+ is expecting \d+ features as input",
    "no more columns": r"X has columns that fit was not given: .*Leave them out",
    "no new levels": rf"Column {COLUMN} has a level in row {ROW} that the first fit.*fit anew",
    "whole numbers within float64": r"whole number beyond float64",
    "no NaN": rf"NaN: row {ROW} has no value in column {COLUMN}.*missing='mask'.*SimpleImputer",
    "no infinity": rf"contains infinity: row {ROW} has -?inf in column {COLUMN} .*Clip",
    "a value in every row": rf"Row {ROW} of X holds NaN alone.*leave it out",
    "a value in every column": rf"Column {COLUMN} of X holds NaN alone.*leave it out",
    "names of one type": r"Feature names are only supported if all .* names.*convert them all",
    "names of numbers": r"The feature names should match those that were passed during fit",
}
RULES = {**RULES_OF_NUMBERS, **RULES}
del RULES["numbers"]  # without a row


class Case(NamedTuple):
    """Columns of a frame, the estimator, and how the frame that it scores differs."""

    n_rows: int
    columns: list[str]  # their kinds
    names: list[Any]
    types: list[str | None]  # that columns are converted to
    library: str  # "pandas" or "polars"
    change: str
    estimator: type
    settings: dict[str, Any]
    features: str  # how categorical_features is given
    seed: int


def draw_case(rng: Random) -> Case:
    """Return a case whose columns are plain ones for the most part."""
    n_columns = int(rng.integers(1, 7))
    kinds = [*PLAIN * 4, *COLUMNS]
    names: list[Any] = [f"c{number}" for number in range(n_columns)]
    if rng.random() < 0.3:
        names = [ODD_NAMES[place] for place in rng.permutation(len(ODD_NAMES))[:n_columns]]
    elif rng.random() < 0.1:
        names = list(range(n_columns))
    elif rng.random() < 0.03:
        names = ["twice"] * n_columns
    settings = SETTINGS[rng.integers(len(SETTINGS))]
    return Case(
        n_rows=3000 if rng.random() < 0.01 else ROWS[rng.integers(len(ROWS))],
        columns=chosen(rng, kinds, n_columns),
        names=names,
        types=[str(rng.choice(list(TYPES))) if rng.random() < 0.15 else None for _ in names],
        library="polars" if rng.random() < 0.35 else "pandas",
        change=CHANGES[rng.integers(len(CHANGES))],
        estimator=ESTIMATORS[rng.integers(3)],
        settings={**SMALL, **settings, "missing": str(rng.choice(["error", "mask"]))},
        features=str(rng.choice(["from_dtype"] * 6 + ["None", "names", "numbers", "mask"])),
        seed=int(rng.integers(10_000)),
    )


class NoSuchFrameError(Exception):
    """The library cannot hold these cells in this type."""


def frames_of(case: Case) -> tuple[Any, Any]:
    """Return the frame to fit and the frame to score."""
    rng = np.random.default_rng(case.seed)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            train = make_frame(case, rng)
            other = changed(make_frame(case, rng), case.change, rng)
            library = {"pandas": "polars", "polars": "pandas"}[case.library]
            library = library if case.change == "library" else case.library
            return in_library(train, case.library), in_library(other, library)
    except Exception as error:  # of pandas or polars
        raise NoSuchFrameError from error


def make_frame(case: Case, rng: Random) -> pd.DataFrame:
    columns = []
    for kind, dtype in zip(case.columns, case.types, strict=True):
        cells = COLUMNS[kind](rng, case.n_rows)
        as_objects = kind in ("mixed levels", "words and numbers", "no levels", "odd text")
        column = pd.Series(cells, dtype=object if as_objects else None)
        columns.append(column if dtype is None else TYPES[dtype](column))
    frame = pd.concat(columns, axis=1)
    frame.columns = pd.Index(case.names)
    if rng.random() < 0.3:
        frame.index = pd.Index(chosen(rng, ["a", "b", "{row}"], len(frame)))
    return frame


def changed(frame: pd.DataFrame, change: str, rng: Random) -> pd.DataFrame:
    column, row = int(rng.integers(frame.shape[1])), int(rng.integers(len(frame)))
    cells = frame.iloc[:, column]
    match change:
        case "new levels":
            return replaced(frame, column, with_cell(cells, row, "never seen"))
        case "text in a number":
            return replaced(frame, column, with_cell(cells, row, "12 kg"))
        case "missing cells":
            return replaced(frame, column, with_cell(cells, row, None))
        case "type":
            dtype = list(TYPES)[rng.integers(len(TYPES))]
            return replaced(frame, column, TYPES[dtype](cells))
        case "other column":
            kind = list(COLUMNS)[rng.integers(len(COLUMNS))]
            new = pd.Series(COLUMNS[kind](rng, len(frame)), index=frame.index)
            return replaced(frame, column, new)
        case "order":  # does not count for columns with names
            return frame.iloc[:, rng.permutation(frame.shape[1])]
        case "one column less":
            return frame.drop(columns=frame.columns[column])
        case "one more":
            return frame.assign(more=1.0)
        case "one row":
            return frame.iloc[[row]]
    return frame


def with_cell(cells: pd.Series, row: int, cell: object) -> pd.Series:
    cells = cells.astype(object)
    cells.iloc[row] = cell
    return cells


def replaced(frame: pd.DataFrame, place: int, cells: pd.Series) -> pd.DataFrame:
    columns = [cells if at == place else frame.iloc[:, at] for at in range(frame.shape[1])]
    new = pd.concat([column.reset_index(drop=True) for column in columns], axis=1)
    new.columns, new.index = frame.columns, frame.index
    return new


def in_library(frame: pd.DataFrame, library: str) -> Any:
    if library == "pandas":
        return frame
    if not frame.columns.is_unique:
        raise NoSuchFrameError
    return pl.DataFrame({str(name): polars_cells(cells) for name, cells in frame.items()})


def polars_cells(column: pd.Series) -> Any:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return pl.Series(list(column.astype(object).map(as_missing))).cast(pl.Categorical)
    return [as_missing(cell) for cell in column]


def as_missing(cell: Any) -> Any:
    return None if cell is pd.NA or cell is pd.NaT else cell


def outcome_of(case: Case) -> str:
    """Return "an answer" or the rule that the frame breaks; fail for anything else."""
    try:
        train, other = frames_of(case)
    except NoSuchFrameError:
        return "no such frame"
    before = frozen(train), frozen(other)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\d+ anomalies could not be made normal")
            warnings.filterwarnings("ignore", "X has feature names, but .* was fitted without")
            outcome = answer(case, train, other)
    except (ValueError, TypeError) as error:
        outcome = rule_of(error)
    assert (frozen(train), frozen(other)) == before, "X was written to"
    return outcome


def frozen(frame: Any) -> tuple:
    """Return the types and cells of a frame, to compare."""
    columns = [
        frame[:, at] if isinstance(frame, pl.DataFrame) else frame.iloc[:, at]
        for at in range(frame.shape[1])
    ]
    return tuple((str(column.dtype), repr(list(column))) for column in columns)


def rule_of(error: Exception) -> str:
    for rule, pattern in RULES.items():
        if re.search(pattern, str(error), re.DOTALL):
            return rule
    raise AssertionError(f"No rule covers {type(error).__name__}: {error}") from error


def answer(case: Case, train: Any, other: Any) -> str:
    features = features_of(case, train)
    detector = case.estimator(categorical_features=features, **case.settings).fit(train)
    rng = np.random.default_rng(case.seed)
    check_numbers(detector, other)
    names = [str(name) for name in case.names]
    explained = detector.explain(other)
    if hasattr(detector, "feature_names_in_"):  # numbers are no names
        assert [str(name) for name in explained.columns] == names
    assert explained.shape == (len(other), len(names))
    assert type(explained) is type(other)
    contributions = np.asarray(explained)
    assert np.isfinite(contributions).all()
    assert (contributions >= 0).all()
    if detector.detector_.model.columns.coding is not None:
        check_levels(detector, detector.reconstruct(other), len(other))
        check_levels(detector, detector.inverse_transform(detector.transform(other)), len(other))
        if rng.random() < 0.3:
            assert detector.repair(other).shape == other.shape
        if isinstance(detector, VAEDetector):
            check_levels(detector, detector.sample(5), 5)
    if rng.random() < 0.2:
        check_file(detector, other)
    if rng.random() < 0.2:
        detector.partial_fit(other)
        check_numbers(detector, other)
    return "an answer"


def features_of(case: Case, train: Any) -> Any:
    numbers = [n for n, kind in enumerate(case.columns) if "number" not in kind]
    match case.features:
        case "from_dtype":
            return "from_dtype"
        case "None":
            return None
        case "names":
            return [list(train.columns)[number] for number in numbers]
        case "numbers":
            return numbers
    return [number in numbers for number in range(len(case.columns))]


def check_numbers(detector: Any, frame: Any) -> None:
    scores = detector.score_samples(frame)
    assert scores.shape == (len(frame),)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert set(detector.predict(frame)) <= {1, -1}
    codes = np.asarray(detector.transform(frame))
    assert codes.shape == (len(frame), detector.latent_dim_)
    assert np.isfinite(codes).all()


def check_levels(detector: Any, frame: Any, n_rows: int) -> None:
    """Check that a frame has levels of fit in its categories, and finite numbers elsewhere."""
    coding = detector.detector_.model.columns.coding
    assert frame.shape == (n_rows, coding.n_features)
    native = nw.from_native(frame, eager_only=True)
    for number in range(coding.n_features):
        cells = native[:, number].to_numpy()
        if number in coding.categories:
            assert set(keys_of(cells)) <= set(keys_of(coding.categories[number].levels))
        else:
            assert np.isfinite(cells.astype(float)).all()


def check_file(detector: Any, frame: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.safetensors"
        save(detector, path)
        scores = load(path).score_samples(frame)
    np.testing.assert_array_equal(scores, detector.score_samples(frame))
