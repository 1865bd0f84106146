"""Columns of text, booleans and categories on disk: as in frames, bit for bit."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from test_categories import customers
from test_fit_rows import assert_same

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, open_rows
from aedetect.rows import cells, levels, plan, score, sources


def table(n=3000, seed=0):
    """Return customers whose numbers are those of float32, with missing cells of every kind."""
    frame = customers(n, seed).astype({"price": "float32", "member": object, "kind": object})
    frame.iloc[[5, -3], [1, 2]] = None
    frame.iloc[7, 3] = None
    return frame


@pytest.fixture(scope="module")
def frame():
    return table()


@pytest.fixture(scope="module")
def new():
    rows = table(100, seed=1)
    rows.loc[3, "city"] = "Paris"
    return rows


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(sources, "CHUNK_ROWS", 700)


@pytest.fixture
def estimator():
    return DenoisingAutoencoder(2, hidden_layer_sizes=(8,), max_epochs=2, random_state=0)


def write(frame, path):
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "convert",
    [
        lambda frame, folder: frame,
        lambda frame, folder: write(frame, folder / "x.parquet"),
        lambda frame, folder: write(frame, folder / "x.csv"),
        lambda frame, folder: pa.Table.from_pandas(frame),
        lambda frame, folder: pl.from_pandas(frame),
        lambda frame, folder: frame.astype({"city": "category", "member": "boolean"}),
        lambda frame, folder: lambda: (frame[i : i + 450] for i in range(0, 3000, 450)),
    ],
)
def test_levels_are_read_from_every_source(frame, tmp_path, convert):
    rows = open_rows(convert(frame, tmp_path))
    read = rows.to_pandas()
    assert list(rows.levels) == [1, 2, 3]
    assert rows.levels[2] == [False, True] or rows.levels[2] == [True, False]
    assert rows.digest == open_rows(frame).digest
    for name in frame:
        missing = frame[name].isna()
        assert (read[name].isna() == missing).all()
        assert (read[name].astype(object) == frame[name])[~missing].all()
    assert rows.to_numpy().dtype == object
    assert rows[::7].to_numpy()[2, 1] == frame["city"][14]


OPTIONS = [
    {},
    {"contamination": 0.1},
    {"missing": "mask"},
    {"categorical_features": ["city", "member", "kind", "visits"]},
    {"categorical_features": [True, True, True, True, False], "scaling": "standard"},
]


@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
def test_a_fit_to_levels_on_disk_is_that_to_a_frame(frame, new, estimator, options):
    estimator.set_params(**options)
    first, second = clone(estimator).fit(frame), clone(estimator).fit(open_rows(frame))
    assert_same(first, second, new)
    coding = [e.detector_.model.columns.coding for e in (first, second)]
    assert coding[0].columns == coding[1].columns
    for column in coding[0].columns:
        one, other = (c.categories[column] for c in coding)
        assert one.levels == other.levels
        np.testing.assert_array_equal(one.counts, other.counts)
    view = slice(2500, 50, -2)
    assert_same(
        clone(estimator).fit(frame[view]), clone(estimator).fit(open_rows(frame)[view]), new
    )


def test_rows_are_scored_as_frames(frame, new, estimator):
    fitted = estimator.fit(frame)
    for given in (open_rows(new), open_rows(new[list(new)[::-1]])):  # columns are found by name
        np.testing.assert_array_equal(fitted.score_samples(given), fitted.score_samples(new))
        np.testing.assert_array_equal(fitted.transform(given), fitted.transform(new))
    odd = fitted.score_samples(open_rows(new.assign(city="Rome")))  # a level that fit never saw
    np.testing.assert_array_equal(odd, fitted.score_samples(new.assign(city="Rome")))
    assert (odd < fitted.score_samples(new)).mean() > 0.8
    pd.testing.assert_frame_equal(fitted.reconstruct(open_rows(new)), fitted.reconstruct(new))
    with pytest.raises(ValueError, match="X lacks the column 'city'"):
        fitted.predict(open_rows(new.rename(columns={"city": "town"})))


def test_levels_are_fitted_in_pools(frame, new, estimator, monkeypatch):
    monkeypatch.setattr(plan, "MIN_BLOCKS", 2)
    monkeypatch.setattr("aedetect.estimators.pooled.MIN_BLOCKS", 2)
    width = estimator.fit(frame).detector_.model.spec.n_features
    assert width > frame.shape[1]
    memory = plan.memory_needed(100, width, 1)
    estimator.set_params(contamination=0.1)
    rows = open_rows(frame, memory=memory)
    fits = [clone(estimator).fit(rows) for _ in range(2)]
    assert_same(*fits, new)
    whole = clone(estimator).fit(frame)
    assert (whole.score_samples(new) != fits[0].score_samples(new)).any()
    assert (fits[0].predict(rows) == -1).mean() == pytest.approx(0.1, abs=0.001)
    with pytest.raises(ValueError, match="memory='1MB' or more"):
        clone(estimator).fit(open_rows(frame, memory=memory - 1))


def test_training_goes_on_with_levels_on_disk(frame, new, estimator):
    first, second = clone(estimator), clone(estimator)
    for part in (slice(0, 2000), slice(2000, None)):
        first.partial_fit(frame[part])
        second.partial_fit(open_rows(frame)[part])
    assert_same(first, second, new)
    other = frame.copy()
    other.loc[2345, "city"] = "Paris"
    with pytest.raises(ValueError, match=r"'city' has a level in row 2345 \(row 2345 of the table"):
        second.partial_fit(open_rows(other))


def test_booleans_may_be_numbers(new, estimator):
    frame = customers(600)[["price", "member"]].astype({"price": "float32"})
    estimator.set_params(categorical_features=None)
    assert_same(
        clone(estimator).fit(frame),
        clone(estimator).fit(open_rows(frame)),
        customers(50, 1)[["price", "member"]],
    )


# Errors.


def message_of(call):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # compared
        call()
    return str(caught.value)


def with_cell(frame, name, row, cell):
    changed = frame.astype({name: object})
    changed.loc[row, name] = cell
    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(id=[f"id {n}" for n in range(len(frame))]),
        lambda frame: frame.assign(
            day=pd.date_range("2020-01-01", periods=len(frame)).strftime("%Y-%m-%d")
        ),
        lambda frame: frame.assign(price="text"),
    ],
)
def test_columns_are_refused_as_in_a_frame(frame, estimator, change):
    given = change(frame[:300].drop(columns="visits"))
    if given["price"][0] == "text":
        estimator.set_params(categorical_features=["city"])
    on_disk = message_of(lambda: clone(estimator).fit(open_rows(given)))
    in_memory = message_of(lambda: clone(estimator).fit(given))
    assert re.sub(r" \(row \d+ of the table\)", "", on_disk) == in_memory


def test_text_in_a_column_of_numbers_names_file_and_row(frame, estimator, tmp_path):
    fitted = estimator.fit(frame)
    path = write(new := frame[100:400].astype({"visits": str}), tmp_path / "x.parquet")
    np.testing.assert_array_equal(
        fitted.score_samples(open_rows(path)), fitted.score_samples(frame[100:400])
    )
    write(with_cell(new, "visits", 300, "many"), path)
    with pytest.raises(ValueError, match=r"'many' in row 200 \(row 200 of .*x.parquet\). fit was"):
        fitted.predict(open_rows(path))
    np.testing.assert_array_equal(
        fitted.predict(open_rows(path)[:200]), fitted.predict(frame[100:300])
    )


def test_a_column_that_changes_its_kind_is_named_and_may_be_categorical(frame, tmp_path):
    path = write(with_cell(frame, "visits", 2345, "many"), tmp_path / "x.csv")
    with pytest.raises(ValueError, match=r"x.csv holds 'many' in row 2345, column 'visits', below"):
        open_rows(path)
    rows = open_rows(path, categorical=["visits"])
    assert set(rows.levels[4]) == {"0", "1", "2", "3", "4", "many"}
    booleans = write(with_cell(frame, "member", 2345, "maybe"), tmp_path / "y.csv")
    with pytest.raises(ValueError, match="in row 2345, column 'member', below true and false"):
        open_rows(booleans)
    mixed = write(with_cell(frame, "visits", 3, "many"), tmp_path / "z.csv")
    assert set(open_rows(mixed).levels[4]) == {"0", "1", "2", "3", "4", "many"}


def test_a_column_that_is_empty_at_first_may_hold_text_or_numbers(tmp_path):
    for cell, levels_of_column in (("text", {0: ["text"]}), (2.5, {})):
        frame = pd.DataFrame({"a": [None] * 1500 + [cell], "b": 1.0})
        rows = open_rows(write(frame, tmp_path / "x.csv"))
        assert rows.levels == levels_of_column
        assert rows[1500:].to_pandas()["a"].tolist() == [cell]


def test_codes_keep_their_digits_where_they_are_categories(estimator):
    codes = pd.DataFrame({"x": np.arange(400.0), "code": np.arange(400) % 3 + 2**30})
    estimator.set_params(categorical_features=["code"])
    with pytest.raises(ValueError, match=r"float32.* in row 0 .*categorical=\['code'\]"):
        clone(estimator).fit(open_rows(codes))
    rows = open_rows(codes, categorical=["code"])
    assert rows.levels == {1: [2**30, 2**30 + 1, 2**30 + 2]}
    assert_same(clone(estimator).fit(codes), clone(estimator).fit(rows), codes)
    with pytest.raises(ValueError, match=r"float32.* in row 0 .*categorical=\['code'\]"):
        clone(estimator).fit(codes).predict(open_rows(codes))


def test_too_many_levels_are_refused_with_file_and_row(tmp_path, monkeypatch):
    for module in (levels, cells):
        monkeypatch.setattr(module, "MAX_STORED", 1000)
    frame = pd.DataFrame({"id": [f"id {n}" for n in range(2000)], "x": 1.0})
    path = write(frame, tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"'id' has more than 1,000 levels.*row 1399 of .*x.parq"):
        open_rows(path, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert open_rows(path, drop=["id"]).shape == (2000, 1)


@pytest.mark.parametrize("cell", [(1, 2), b"bytes", 1j])
def test_cells_that_are_no_levels_are_named(frame, cell):
    with pytest.raises(ValueError, match=r"the table holds .* in row 2345, column 'city'"):
        open_rows(with_cell(frame, "city", 2345, cell))


def test_a_callable_must_give_equal_levels_every_time(frame, tmp_path):
    given = [frame]

    def frames():
        yield from given

    open_rows(frames, cache=tmp_path)
    open_rows(frames, cache=tmp_path)
    given[0] = frame.replace({"city": {"Munich": "Bonn"}})
    first = int((frame["city"] == "Munich").argmax())
    with pytest.raises(ValueError, match=f"row {first} is another"):
        open_rows(frames, cache=tmp_path)


def test_true_and_one_stay_apart_on_disk():
    mixed = pd.DataFrame({"a": [True, 1, "x", None] * 30, "b": np.arange(120.0)})
    rows = open_rows(mixed)
    assert rows.to_pandas()["a"][:3].tolist() == [True, 1, "x"]
    assert list(map(type, rows.to_pandas()["a"][:3])) == [bool, int, str]
    estimator = AutoencoderTransformer(max_epochs=1, random_state=0)
    assert_same(clone(estimator).fit(mixed), clone(estimator).fit(rows), mixed)


def test_scores_of_levels_are_written_to_a_file(frame, new, estimator, tmp_path):
    fitted = estimator.fit(frame)
    path = score(fitted, open_rows(new), tmp_path / "scores.parquet")
    np.testing.assert_array_equal(pd.read_parquet(path)["score"], fitted.score_samples(new))
