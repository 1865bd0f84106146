"""Whatever X is, the methods give a finite answer or an error that names the rule."""

from __future__ import annotations

import datetime
from collections import Counter

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from strategies import CONTAINERS, cases, memory_mapped, outcome_of, read_only

from aedetect import AutoencoderTransformer
from aedetect.scoring.whitening import fit_whitening

N_CASES = 140


def test_any_table_gets_a_finite_answer_or_an_error_that_names_the_rule(record_property):
    outcomes = Counter()

    @settings(
        max_examples=N_CASES,
        derandomize=True,  # the same cases every time
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def meet(case):
        outcomes[outcome_of(case)] += 1

    meet()
    counts = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.most_common())
    record_property("any_input", counts)
    assert sum(outcomes.values()) >= N_CASES
    assert outcomes["an answer"] > 30
    assert len(outcomes) > 8


# What such cases have found.


@pytest.fixture
def fitted(table):
    return AutoencoderTransformer(2, hidden_layer_sizes=(8,), max_epochs=2, random_state=0).fit(
        table
    )


SAME = ["Fortran order", "every other column", "reversed rows", "read-only", "memory-mapped"]
SAME += ["lists", "frame with numbered columns", "tensor"]


@pytest.mark.parametrize("container", SAME)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_container_changes_no_bit(fitted, table, container, dtype):
    if container == "lists" and dtype == np.float32:
        dtype = np.float64  # a list has no float32
    X = table.astype(dtype)
    held = CONTAINERS[container](X)
    np.testing.assert_array_equal(fitted.score_samples(held), fitted.score_samples(X))
    np.testing.assert_array_equal(fitted.transform(held), fitted.transform(X))
    refitted = AutoencoderTransformer(**fitted.get_params()).fit(held)
    twin = AutoencoderTransformer(**fitted.get_params()).fit(X)
    np.testing.assert_array_equal(refitted.score_samples(X), twin.score_samples(X))


@pytest.mark.parametrize("hold", [read_only, memory_mapped])
@pytest.mark.parametrize("missing", ["error", "mask"])
def test_rows_that_cannot_be_written_to_are_taken(estimator_class, table, hold, missing):
    detector = estimator_class(2, hidden_layer_sizes=(8,), max_epochs=1, missing=missing)
    X = hold(table)
    assert np.isfinite(detector.fit(X).score_samples(X)).all()
    assert np.isfinite(detector.explain(X)).all()


@pytest.fixture
def warn_always():
    """PyTorch says but once in a process that an array cannot be written to."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.mark.usefixtures("warn_always")
@pytest.mark.parametrize("score", ["robust", "sharp", "standardized", "sap"])
@pytest.mark.parametrize("missing", ["error", "mask"])
def test_an_estimator_mapped_into_memory_answers_without_a_warning(
    estimator_class, table, tmp_path, score, missing
):
    parameters = {"anomaly_score": score, "missing": missing, "contamination": 0.05}
    made = estimator_class(2, hidden_layer_sizes=(8,), max_epochs=1, random_state=0, **parameters)
    joblib.dump(made.fit(table), tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    X = read_only(table[:5].astype(np.float32))
    for method in ("score_samples", "explain", "transform", "repair", "corrupt"):
        if hasattr(made, method):
            arguments = (X, 0) if method == "corrupt" else (X,)
            answer = getattr(mapped, method)(*arguments)
            np.testing.assert_array_equal(answer, getattr(made, method)(*arguments))
    codes = read_only(made.transform(X))
    np.testing.assert_array_equal(mapped.inverse_transform(codes), made.inverse_transform(codes))
    mapped.partial_fit(read_only(table))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x.requires_grad_(), r"requires its gradient. Pass X.detach\(\)"),
        (lambda x: x.to_sparse(), r"layout torch.sparse_coo. Pass X.to_dense\(\)"),
        (lambda x: x.to("meta"), r"tensor on meta, but it must be on the CPU. Pass X.cpu\(\)"),
    ],
    ids=["gradient", "sparse", "elsewhere"],
)
def test_tensors_that_numpy_cannot_read_are_refused_with_the_remedy(fitted, table, make, message):
    X = make(torch.from_numpy(table.copy()))
    for method in ("score_samples", "fit"):
        with pytest.raises(ValueError, match=message):
            getattr(fitted, method)(X)


def test_bfloat16_which_numpy_does_not_know_is_taken(fitted, table):
    x = torch.from_numpy(table).bfloat16()
    np.testing.assert_array_equal(fitted.score_samples(x), fitted.score_samples(x.float().numpy()))


def test_what_a_mask_hides_is_missing_and_no_data(fitted, table):
    masked = np.ma.masked_array(table, mask=np.zeros(table.shape, dtype=bool))
    np.testing.assert_array_equal(fitted.score_samples(masked), fitted.score_samples(table))
    masked[4, 2] = np.ma.masked
    with pytest.raises(ValueError, match="NaN: row 4 has no value in column 2"):
        fitted.score_samples(masked)


@pytest.mark.parametrize("alone", [True, False])
def test_dates_are_refused_by_column(fitted, table, alone):
    frame = pd.DataFrame({"b": pd.date_range("2020-01-01", periods=60)})
    if not alone:
        frame.insert(0, "a", table[:, 0])
    with pytest.raises(ValueError, match="must hold numbers, but column 'b' holds datetime64"):
        fitted.fit(frame)
    with pytest.raises(ValueError, match="must hold numbers, but it holds datetime64"):
        fitted.fit(frame[["b"]].to_numpy())


DAYS = [datetime.datetime(2020, 1, 1) + datetime.timedelta(days=day) for day in range(60)]
TIMES = {
    "date and time": DAYS,
    "date": [day.date() for day in DAYS],
    "span": [day - DAYS[0] for day in DAYS],
    "time": [day.time() for day in DAYS],
    "datetime64": [np.datetime64(day) for day in DAYS],
    "timedelta64": [np.timedelta64(day - DAYS[0]) for day in DAYS],
    "Timestamp": [pd.Timestamp(day) for day in DAYS],
    "Timedelta": [pd.Timedelta(day - DAYS[0]) for day in DAYS],
}


def is_numpy(times):  # of which polars takes arrays, not lists
    return isinstance(times[0], np.generic)


DATED = {
    "pandas": lambda a, b: pd.DataFrame({"a": a, "b": b}),
    "pandas objects": lambda a, b: pd.DataFrame({"a": a, "b": pd.Series(b, dtype=object)}),
    "polars": lambda a, b: pl.DataFrame({"a": a, "b": np.array(b) if is_numpy(b) else b}),
    "arrow": lambda a, b: pa.table({"a": a, "b": pa.array(b)}),
    "arrow batch": lambda a, b: pa.RecordBatch.from_pydict({"a": a, "b": pa.array(b)}),
    "array of objects": lambda a, b: pd.DataFrame({"a": a, "b": b}, dtype=object).to_numpy(),
    "lists": lambda a, b: [list(row) for row in zip(a, b, strict=True)],
}


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("container", DATED)
def test_dates_and_times_are_refused_in_every_container(table, container, kind):
    X = DATED[container](table[:, 0], TIMES[kind])
    place = 1 if container in ("array of objects", "lists") else "'b'"
    detector = AutoencoderTransformer(2, hidden_layer_sizes=(8,), max_epochs=1)
    with pytest.raises(ValueError, match=f"hold numbers, but column {place} holds"):
        detector.fit(X)


@pytest.mark.parametrize("kind", ["datetime64", "timedelta64"])
def test_lists_of_dates_alone_are_refused(table, kind):
    detector = AutoencoderTransformer(2, hidden_layer_sizes=(8,), max_epochs=1)
    with pytest.raises(ValueError, match=f"must hold numbers, but it holds {kind}"):
        detector.fit([[time] for time in TIMES[kind]])


@pytest.mark.parametrize("library", [pl.DataFrame, pa.table, pa.RecordBatch.from_pydict])
def test_numbers_in_frames_of_other_libraries_are_taken_with_their_names(table, library):
    columns = {f"c{number}": column for number, column in enumerate(table.T)}
    detector = AutoencoderTransformer(2, hidden_layer_sizes=(8,), max_epochs=1, random_state=0)
    X = library(columns)
    scores = detector.fit(X).score_samples(X)
    assert list(detector.feature_names_in_) == list(columns)
    np.testing.assert_array_equal(scores, detector.score_samples(pd.DataFrame(columns)))


def test_a_frame_of_another_byte_order_gets_answers_of_this_one(fitted, table):
    codes = fitted.transform(pd.DataFrame(table.astype(">f8")))
    assert codes.dtype == np.float64
    np.testing.assert_array_equal(codes, fitted.transform(table))


def test_activations_whose_squares_are_beyond_float32_are_whitened(table):
    X = table / table.std(axis=0)
    X[5, 2] = 1e22  # the training loss is not
    settings = {"max_epochs": 1, "hidden_layer_sizes": (8,), "random_state": 0, "scaling": None}
    detector = AutoencoderTransformer(2, loss="huber", **settings).fit(X)
    assert detector.score_samples(X).argmin() == 5


def test_activations_beyond_float32_are_refused():
    rows = np.ones((5, 3), dtype=np.float32)
    rows[2, 1] = np.inf
    with pytest.raises(ValueError, match=r"activations of the training rows are too large.*Clip"):
        fit_whitening(rows, torch.device("cpu"))


def test_a_frame_without_columns_is_refused(fitted):
    with pytest.raises(ValueError, match=r"0 feature\(s\) \(shape=\(5, 0\)\).*minimum of 1"):
        fitted.fit(pd.DataFrame(index=range(5)))


def test_whole_numbers_beyond_float64_are_refused(fitted, table):
    X = table.astype(object)
    X[0, 0] = 10**400
    with pytest.raises(ValueError, match="whole number beyond float64"):
        fitted.fit(X)


def test_a_column_whose_variance_overflows_is_refused_by_number(estimator_class, table):
    X = table.copy()
    X[:, 3] *= 1e200
    with pytest.raises(ValueError, match="variance of column 3 of X is too large for float64"):
        estimator_class(max_epochs=1).fit(X)


def test_a_cell_beyond_float32_is_refused_by_place_where_nothing_is_scaled(estimator_class, table):
    X = table.copy()
    X[5, 2] = 1e39
    with pytest.raises(ValueError, match="row 5, column 2, that is too large for float32 even"):
        estimator_class(max_epochs=1, scaling=None).fit(X)
    assert np.isfinite(estimator_class(max_epochs=1).fit(X).score_samples(X)).all()


@pytest.mark.parametrize(
    ("method", "what"), [("transform", "code"), ("reconstruct", "reconstruction")]
)
def test_an_answer_beyond_float32_names_the_row(small, table, method, what):
    X = table.copy()
    X[3] = 1e300
    small.set_params(scaling=None).fit(table)
    with pytest.raises(ValueError, match=f"The {what} of row 3 is not finite.*Clip"):
        getattr(small, method)(X)


@pytest.mark.parametrize("method", ["transform", "score_samples", "decision_function"])
def test_scaled_rows_of_any_size_get_finite_answers(small, table, method):
    X = table.copy()
    X[3], X[4, 2] = 1e300, -1e308
    assert np.isfinite(getattr(small.fit(table), method)(X)).all()


def test_codes_that_decode_beyond_float32_are_refused(fitted):
    Z = np.full((2, 2), 3e38, dtype=np.float32)
    with pytest.raises(ValueError, match="The reconstruction of row 0 is not finite"):
        fitted.inverse_transform(Z)
