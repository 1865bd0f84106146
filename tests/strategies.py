"""Tables of every kind, and what estimators may make of them: an answer or a rule."""

from __future__ import annotations

import functools
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st
from scipy import sparse

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector

# What a table holds, given a generator and the shape.
VALUES: dict[str, Callable] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "counts": lambda rng, shape: rng.integers(0, 4, shape).astype(float),
    "unit": lambda rng, shape: rng.random(shape),
    "equal": lambda rng, shape: np.full(shape, rng.choice([0.0, 1.0, -3.7, 1e10])),
    "equal rows": lambda rng, shape: rng.standard_normal((1, shape[1])).repeat(shape[0], axis=0),
    "duplicates": lambda rng, shape: rng.standard_normal((2, shape[1]))[np.arange(shape[0]) % 2],
    "large": lambda rng, shape: 1e38 * rng.standard_normal(shape),
    "huge": lambda rng, shape: 1e300 * rng.standard_normal(shape),
    "denormal": lambda rng, shape: 1e-310 * rng.standard_normal(shape),
    "tiny": lambda rng, shape: 1e-38 * rng.standard_normal(shape),
    "unlike units": lambda rng, shape: (
        rng.standard_normal(shape) * 10.0 ** rng.integers(-30, 30, shape[1])
    ),
    "far from zero": lambda rng, shape: 1e8 + rng.standard_normal(shape),
}
# What is put into one cell: nothing, or one of these.
CELLS = [None, None, None, 1e30, -1e30, 1e38, 1e300, 1e-310, np.nan, np.inf, -np.inf]
DTYPES = ["float64", "float64", "float32", "float16", "int64", "int8", "uint16", "bool", "object"]
DTYPES += ["longdouble", "complex128", ">f8", "str"]


def memory_mapped(X):
    """Return the table as a file that is mapped into memory and cannot be written to."""
    path = Path(tempfile.mkdtemp(prefix="aedetect-")) / "X.npy"
    np.save(path, X, allow_pickle=True)
    mapped = np.load(path, mmap_mode="r")
    path.unlink()  # the mapping stays until it is closed
    path.parent.rmdir()
    return mapped


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def frame(X, **options):
    return pd.DataFrame(X, columns=[f"c{column}" for column in range(X.shape[1])], **options)


def twice_named(X):
    return pd.DataFrame(X, columns=["c"] * X.shape[1], index=["same"] * len(X))


def mixed_frame(X):
    """Return a frame whose columns take turns in being float, nullable and categorical."""
    table = frame(X)
    for turn, name in enumerate(table.columns):
        if turn % 3:
            table[name] = table[name].astype("Float64" if turn % 3 == 1 else "category")
    return table


def with_dates(X):
    return frame(X).assign(c0=pd.Timestamp("2020-01-01")) if X.shape[1] else frame(X)


CONTAINERS: dict[str, Callable] = {
    "array": lambda X: X,
    "Fortran order": np.asfortranarray,
    "every other column": lambda X: X.repeat(2, axis=1)[:, ::2],
    "reversed rows": lambda X: X[::-1].copy()[::-1],
    "read-only": read_only,
    "memory-mapped": memory_mapped,
    "lists": lambda X: X.tolist(),
    "frame": frame,
    "frame with numbered columns": pd.DataFrame,
    "frame with a name twice": twice_named,
    "nullable frame": lambda X: frame(X).convert_dtypes(),
    "mixed frame": mixed_frame,
    "frame with dates": with_dates,
    "masked array": lambda X: np.ma.masked_array(X, mask=np.eye(*X.shape, dtype=bool)),
    "tensor": lambda X: torch.from_numpy(np.ascontiguousarray(X)),
    "tensor in half": lambda X: torch.from_numpy(np.ascontiguousarray(X)).bfloat16(),
    "tensor with gradient": lambda X: torch.from_numpy(X.astype(float)).requires_grad_(),
    "sparse": sparse.csr_matrix,
    "sparse tensor": lambda X: torch.from_numpy(X.astype(float)).to_sparse(),
    "column": lambda X: X[:, 0],
    "images": lambda X: X[:, :, None],
}
SHAPES = [(2, 1), (2, 3), (3, 2), (12, 1), (3, 20), (33, 4), (40, 6), (1, 4), (0, 3), (5, 0)]
SMALL = {"latent_dim": 2, "hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"scaling": None},
    {"scaling": "standard", "anomaly_score": "reconstruction"},
    {"scaling": "common", "anomaly_score": "standardized"},
    {"loss": "huber", "anomaly_score": "sap"},
    {"loss": "bce", "anomaly_score": "nap"},
    {"batch_norm": True, "anomaly_score": "latent_neighbors", "contamination": 0.1},
    {"network": "residual", "anomaly_score": "mahalanobis", "max_epochs": 2},
]
ESTIMATORS = {cls.__name__: cls for cls in (AutoencoderTransformer, DenoisingAutoencoder)} | {
    "VAEDetector": VAEDetector
}
METHODS = ["score_samples", "predict", "transform", "reconstruct", "explain"]

ROW = r"\d+( \(index 'same'\))?"
COLUMN = r"(\d+|'c\d*')"
# Every error that a table may meet: what it is about, and how it says so.
RULES = {
    "no NaN": rf"NaN: row {ROW} has no value in column {COLUMN}.*missing='mask'.*SimpleImputer",
    "no infinity": rf"contains infinity: row {ROW} has -?inf in column {COLUMN} .*Clip",
    "a value in every row": rf"Row {ROW} of X holds NaN alone.*leave it out",
    "a value in every column": rf"Column {COLUMN} of X holds NaN alone.*leave it out",
    "variance within float64": rf"variance of column {COLUMN} of X is too large for float64.*Clip",
    "scaled values within float32": rf"row {ROW}, column {COLUMN}, that is too large.*Clip",
    "answers within float32": rf"The \w+ of row {ROW} is not finite.*too far from the.*Clip",
    "covariances within float32": r"activations of the training rows are too large.*Clip",
    "a finite training loss": r"The loss is .* diverged.*look for extreme values in X",
    "the unit interval for bce": r"loss='bce' needs values in \[0, 1\], but X runs from",
    "enough rows": r"Found array with \d+ sample\(s\).*minimum of \d is required",
    "enough columns": r"0 feature\(s\).*minimum of 1 is required",
    "two dimensions": r"Expected 2D array, got 1D array|X must be a table of two dimensions",
    "numbers": rf"X must hold numbers, but column {COLUMN} holds",
    "real numbers": r"Complex data not supported|must be a string or a real number, not 'complex'",
    "a name for each column": r"Expected unique column names",
    "dense rows": r"Sparse data was passed|Pass X.to_dense\(\)",
    "no gradient": r"requires its gradient\. Pass X\.detach\(\)",
}


def make_estimator(name: str, settings: int, missing: str):
    # Text is refused here; tests/test_categories.py takes it.
    options = {"missing": missing, "categorical_features": None}
    return ESTIMATORS[name](**{**SMALL, **SETTINGS[settings], **options})


@functools.cache
def fitted_to_plain_rows(name: str, settings: int, missing: str, n_features: int, columns: tuple):
    """Return an estimator that all cases may ask: scoring changes no state."""
    X = np.random.default_rng(0).random((30, n_features))
    detector = make_estimator(name, settings, missing)
    return detector.fit(pd.DataFrame(X, columns=list(columns)) if columns else X)


@dataclass(frozen=True)
class Case:
    """A table, and the estimator that is fitted to it or asked about it."""

    values: str
    shape: tuple[int, int]
    cell: float | None
    dtype: str
    container: str
    estimator: str
    settings: int
    missing: str
    fitted: bool  # whether the estimator is fitted to the table, or to a plain one
    seed: int

    def make_array(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        X = VALUES[self.values](rng, self.shape)
        if self.cell is not None and X.size:
            X[rng.integers(len(X)), rng.integers(X.shape[1])] = self.cell
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return X.astype(self.dtype)

    def make_estimator(self):
        return make_estimator(self.estimator, self.settings, self.missing)


CHOICES = {
    "values": list(VALUES),
    "shape": SHAPES,
    "cell": CELLS,
    "dtype": DTYPES,
    "container": list(CONTAINERS),
    "estimator": list(ESTIMATORS),
    "settings": list(range(len(SETTINGS))),
    "missing": ["error", "mask"],
    "fitted": [True, False],
    "seed": list(range(10_000)),
}
assert list(CHOICES) == [field.name for field in fields(Case)]
# The plain choice comes first in each list, so hypothesis shrinks towards it.
cases = st.builds(Case, **{name: st.sampled_from(choices) for name, choices in CHOICES.items()})


def draw_case(rng: np.random.Generator) -> Case:
    """Return a case; half of the time a choice of its container and type is the plain one."""
    drawn = {name: choices[rng.integers(len(choices))] for name, choices in CHOICES.items()}
    for name in ("dtype", "container"):
        if rng.random() < 0.5:
            drawn[name] = CHOICES[name][0]
    if rng.random() < 0.7:
        drawn["shape"] = SHAPES[rng.integers(7)]
    return Case(**drawn)


def outcome_of(case: Case) -> str:
    """Return "an answer" or the rule that the table breaks; fail for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            X = CONTAINERS[case.container](case.make_array())
    except (
        TypeError,
        ValueError,
        IndexError,
        NotImplementedError,
    ):  # not every type of number goes into every container
        return "no such table"
    before = frozen(X)
    try:
        outcome = _answer(case, X)
    except (ValueError, TypeError) as error:
        outcome = rule_of(error, case)
    assert frozen(X) == before, f"X was written to: {asdict(case)}"
    return outcome


def frozen(X: Any) -> bytes:
    """Return the bytes of a table, to compare."""
    if isinstance(X, torch.Tensor):
        return X.detach().to_dense().view(torch.uint8).numpy().tobytes() if X.numel() else b""
    if sparse.issparse(X):
        return X.data.tobytes()
    if isinstance(X, pd.DataFrame):
        return X.to_csv().encode()
    return repr(X).encode() if isinstance(X, list) else np.asarray(X).tobytes()


def rule_of(error: Exception, case: Case) -> str:
    for rule, pattern in RULES.items():
        if re.search(pattern, str(error), re.DOTALL):
            return rule
    raise AssertionError(f"No rule covers {error!r}: {asdict(case)}") from error


def _answer(case: Case, X: Any) -> str:
    if case.fitted:
        detector = case.make_estimator().fit(X)
    else:
        columns = tuple(X.columns) if isinstance(X, pd.DataFrame) else ()
        choice = (case.estimator, case.settings, case.missing)
        detector = fitted_to_plain_rows(*choice, max(1, case.shape[1]), columns)
    n_rows, n_features = case.shape
    float32 = getattr(X, "dtype", None) in (np.float32, torch.float32, torch.bfloat16)
    dtypes = [np.float32 if float32 else np.float64]
    if isinstance(X, pd.DataFrame):  # has a type for each column
        dtypes = [np.float32, np.float64]
    shapes = {"transform": (n_rows, detector.latent_dim_), "score_samples": (n_rows,)}
    shapes |= {"predict": (n_rows,)}
    for method in METHODS:
        answer = np.asarray(getattr(detector, method)(X))
        assert answer.shape == shapes.get(method, case.shape), (method, asdict(case))
        assert np.isfinite(answer).all(), (method, asdict(case))
        if method in ("transform", "reconstruct"):
            assert answer.dtype in dtypes, (method, asdict(case))
        if method in ("score_samples", "explain"):
            assert answer.dtype == np.float64, (method, asdict(case))
    restored = detector.inverse_transform(detector.transform(X))
    assert restored.shape == (n_rows, n_features), asdict(case)
    assert np.isfinite(restored).all(), asdict(case)
    return "an answer"
