"""Rows on disk: what is read is what was there, and bad input leaves no cache."""

from __future__ import annotations

import gc
import gzip
import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from aedetect import open_rows
from aedetect.rows import Rows, sources

NAMES = list("abcde")


@pytest.fixture
def cells():
    """Return 3,000 rows of five columns with a missing cell."""
    rows = np.random.default_rng(0).normal(size=(3000, 5)).astype(np.float32)
    rows[1700, 2] = np.nan
    return rows


@pytest.fixture
def frame(cells):
    return pd.DataFrame(cells, columns=NAMES)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Have files read in chunks of 200 rows."""
    monkeypatch.setattr(sources, "CHUNK_ROWS", 200)


class Dataset:
    """Answers as a dataset of Hugging Face does."""

    def __init__(self, frame):
        self.frame, self.column_names = frame, list(frame.columns)

    def with_format(self, kind):
        assert kind == "arrow"
        return self

    def iter(self, batch_size):
        for first in range(0, len(self.frame), batch_size):
            yield pa.Table.from_pandas(self.frame[first : first + batch_size])


def write(frame, folder, kind):
    path = folder / f"table.{kind}"
    if kind == "parquet":
        frame.to_parquet(path, row_group_size=700)
    elif kind == "npy":
        np.save(path, np.ascontiguousarray(frame))
    else:
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "tsv", "npy"])
def test_a_file_is_read_bit_for_bit(frame, cells, tmp_path, kind):
    rows = open_rows(write(frame, tmp_path, kind))
    assert (rows.shape, len(rows), rows.ndim) == ((3000, 5), 3000, 2)
    assert rows.column_names == (None if kind == "npy" else NAMES)
    np.testing.assert_array_equal(rows.to_numpy(), cells)


@pytest.mark.parametrize(
    "convert",
    [
        lambda frame: frame,
        pa.Table.from_pandas,
        pl.from_pandas,
        Dataset,
        lambda frame: lambda: (frame[i : i + 450] for i in range(0, 3000, 450)),
        lambda frame: lambda: [pa.RecordBatch.from_pandas(frame)],
        lambda frame: lambda: iter([pl.from_pandas(frame)]),
    ],
)
def test_a_source_in_memory_is_read_bit_for_bit(frame, cells, convert):
    rows = open_rows(convert(frame))
    assert rows.column_names == NAMES
    np.testing.assert_array_equal(rows.to_numpy(), cells)


def test_types_of_numbers_become_float32():
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "wide": [2**40, 0, -1],
            "object": pd.Series([1, 2.5, None], dtype=object),
        }
    )
    expected = [[1, 2**40, 1], [np.nan, 0, 2.5], [3, -1, np.nan]]
    for given in (frame, pa.Table.from_pandas(frame)):
        np.testing.assert_array_equal(open_rows(given).to_numpy(), expected)


def test_several_files_follow_each_other_and_columns_are_found_by_name(frame, cells, tmp_path):
    frame[:1000].to_csv(tmp_path / "one.csv", index=False)
    frame[NAMES[::-1]][1000:].to_parquet(tmp_path / "two.parquet")
    rows = open_rows([tmp_path / "one.csv", tmp_path / "two.parquet"])
    np.testing.assert_array_equal(rows.to_numpy(), cells)
    assert rows.locate(999) == f"row 999 of {tmp_path / 'one.csv'}"
    assert rows[::-1].locate(0) == f"row 1999 of {tmp_path / 'two.parquet'}"


def test_columns_are_chosen_or_left_out(frame, cells, tmp_path):
    path = write(frame.assign(id="text"), tmp_path, "parquet")
    rows = open_rows(path, columns=["d", "a"])
    assert rows.column_names == ["d", "a"]
    np.testing.assert_array_equal(rows.to_numpy(), cells[:, [3, 0]])
    np.testing.assert_array_equal(
        open_rows(path, drop=["id", "b"]).to_numpy(), cells[:, [0, 2, 3, 4]]
    )
    np.save(tmp_path / "x.npy", cells)
    np.testing.assert_array_equal(
        open_rows(tmp_path / "x.npy", drop=[1]).to_numpy(), cells[:, [0, 2, 3, 4]]
    )
    with pytest.raises(ValueError, match=r"has no column 'z'; it has 'a', 'b'"):
        open_rows(path, drop=["z"])
    with pytest.raises(ValueError, match=r"is left\. Drop fewer"):
        open_rows(path, columns=[])
    with pytest.raises(TypeError, match="Put a name into brackets"):
        open_rows(path, drop="id")


def test_images_in_an_array_become_rows(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", images)
    np.testing.assert_array_equal(open_rows(tmp_path / "x.npy").to_numpy(), images.reshape(2, 12))


# Views.


@pytest.mark.parametrize(
    "key",
    [
        slice(10, 2500, 3),
        slice(None, None, -1),
        slice(-5, None),
        slice(2, 2),
        np.random.default_rng(1).permutation(3000)[:1000],
        [5, 5, -1, 0],
        np.arange(3000) % 7 == 0,
        (np.arange(40, 90), Ellipsis),
    ],
)
def test_a_view_has_the_rows_that_an_array_has(frame, cells, key):
    rows = open_rows(frame)
    view, expected = rows[key], cells[key]
    assert isinstance(view, Rows)
    assert view.shape == expected.shape
    np.testing.assert_array_equal(view.to_numpy(), expected)
    np.testing.assert_array_equal(view.to_pandas().to_numpy(), expected)
    for inner in (slice(1, 30, 2), slice(None, None, -1), np.arange(len(expected))[::3]):
        np.testing.assert_array_equal(view[inner].to_numpy(), expected[inner])
        np.testing.assert_array_equal(view.reader()[inner], expected[inner])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ([3000], "there are 3000 rows"),
        ([True], "has 1 entries for 3000"),
        ("a", "slices, masks and arrays"),
        ([0.5], "slices, masks and arrays"),
        ((slice(None), 2), "indexed by rows alone"),
    ],
)
def test_other_indices_are_refused(frame, key, message):
    with pytest.raises(IndexError, match=message):
        open_rows(frame)[key]


def test_rows_refuse_to_become_an_array(frame):
    rows = open_rows(frame)
    for convert in (np.asarray, list, pd.DataFrame, lambda r: np.isnan(r.reader())):
        with pytest.raises(TypeError, match=r"rows\[:1000\].to_numpy\(\)"):
            convert(rows)


def test_digests_tell_rows_and_their_order(frame, tmp_path):
    rows = open_rows(frame)
    assert rows.digest == open_rows(write(frame, tmp_path, "parquet")).digest
    others = [rows[1:], rows[::-1], rows[np.arange(3000) % 2 == 0], open_rows(frame + 1)]
    assert len({rows.digest, *(other.digest for other in others)}) == 5


def test_the_description_has_ranges_and_missing_cells(frame, cells):
    rows = open_rows(frame)
    np.testing.assert_array_equal(rows.low, np.nanmin(cells, axis=0))
    np.testing.assert_array_equal(rows.high, np.nanmax(cells, axis=0))
    np.testing.assert_array_equal(rows.n_missing, [0, 0, 1, 0, 0])


# The cache.


def test_a_cache_is_used_again_until_the_file_changes(frame, cells, tmp_path, monkeypatch):
    path, folder = write(frame, tmp_path, "parquet"), tmp_path / "cache"
    first = open_rows(path, cache=folder)
    reads = []
    read = sources._read_parquet
    monkeypatch.setitem(sources.READERS, ".parquet", lambda *a: (reads.append(1), read(*a))[1])
    np.testing.assert_array_equal(open_rows(path, cache=folder).to_numpy(), cells)
    assert reads == []
    assert open_rows(path, cache=folder, drop=["a"]).shape == (3000, 4)
    write(frame * 2, tmp_path, "parquet")
    np.testing.assert_array_equal(open_rows(path, cache=folder).to_numpy(), cells * 2)
    assert len(reads) == 2
    assert len(list(folder.iterdir())) == 2  # the cache of the former file is gone
    np.testing.assert_array_equal(first.to_numpy(), cells)  # still open


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:100] + content[120:],
        lambda content: content.replace(b'"format": 2', b'"format": 1'),
        lambda content: content.replace(b'"width"', b'"wodth"'),
    ],
)
def test_a_damaged_cache_is_written_again(frame, cells, tmp_path, damage):
    path = write(frame, tmp_path, "parquet")
    open_rows(path, cache=tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    good = cache.read_bytes()
    cache.write_bytes(damage(good))
    np.testing.assert_array_equal(open_rows(path, cache=tmp_path / "cache").to_numpy(), cells)
    assert cache.read_bytes() == good


def test_a_cache_that_is_cut_short_in_use_is_an_error(frame, tmp_path):
    rows = open_rows(write(frame, tmp_path, "parquet"), cache=tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    os.truncate(cache, 30_000)
    with pytest.raises(OSError, match=r"was cut short\. Open the rows again"):
        rows.to_numpy()


def test_a_temporary_cache_goes_with_the_rows(frame, cells, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = open_rows(frame)
    view = rows[10:]
    del rows
    gc.collect()
    np.testing.assert_array_equal(view.to_numpy(), cells[10:])
    del view
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_rows_are_pickled_without_their_cells(frame, cells):
    rows = open_rows(frame)[np.arange(0, 3000, 5)]
    pickled = pickle.dumps(rows)
    assert len(pickled) < 8000
    np.testing.assert_array_equal(pickle.loads(pickled).to_numpy(), cells[::5])
    del rows
    gc.collect()
    with pytest.raises(ValueError, match="is gone, or that of other rows"):
        pickle.loads(pickled)


# Bad input: one clear error each, and no cache.


def refused(paths, tmp_path, match, kind=ValueError, **options):
    folder = tmp_path / "cache"
    with pytest.raises(kind, match=match):
        open_rows(paths, cache=folder, **options)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_files_of_other_columns_are_refused(frame, tmp_path):
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    frame.to_parquet(one)
    frame.rename(columns={"b": "B"}).to_parquet(two)
    refused([one, two], tmp_path, r"two.parquet lacks 'b' and also has 'B'")
    frame.assign(c="no").to_parquet(two)
    refused(
        [one, two],
        tmp_path,
        r"two.parquet holds 'no' in row 0, column 'c', below numbers.* drop=\['c'\]",
    )
    np.save(tmp_path / "x.npy", np.ascontiguousarray(frame))
    refused([one, tmp_path / "x.npy"], tmp_path, "x.npy lacks 'a', .* also has 0")


def test_a_csv_column_may_turn_from_whole_numbers_to_halves(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 1000 + "0.5,\n" + "3,4\n" * 10)
    rows = open_rows(path).to_numpy()
    np.testing.assert_array_equal(rows[[999, 1000, 1001]], [[1, 2], [0.5, np.nan], [3, 4]])


def test_a_csv_column_that_turns_to_text_is_named(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 1000 + "1,later\n" + "3,4\n" * 10)
    refused(path, tmp_path, r"x.csv holds 'later' in row 1000, column 'b', .*drop=\['b'\]")
    np.testing.assert_array_equal(open_rows(path, drop=["b"]).to_numpy()[1000], [1])


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("x.csv", b"", "x.csv has no rows"),
        ("x.csv", b"a,b\n", "x.csv has no rows"),
        ("x.csv", b"a,b\n1,2\n1,2,3\n", "x.csv cannot be read"),
        ("x.csv", b"a,b\n1,2,3\n4,5,6\n", "x.csv cannot be read"),
        ("x.csv", b"a,b\n1,\xff\xfe\n", "x.csv cannot be read"),
        ("x.parquet", b"no parquet at all", "x.parquet cannot be read"),
        ("x.npy", b"\x93NUMPY", "x.npy cannot be read"),
        ("x.npy", b"\x93NUMPY\x01\x00\x02\x00(\n", "x.npy cannot be read"),
        ("x.csv.gz", gzip.compress(b"a\n1\n" * 99, mtime=0)[:-9], "x.csv.gz cannot be read"),
        (
            "x.csv.gz",
            gzip.compress(b"a\n1\n", mtime=0)[:12] + b"\xff" * 9,
            "x.csv.gz cannot be read",
        ),
        ("x.xlsx", b"", r"must end in .parquet, .csv, .tsv, .npy or .csv.gz"),
    ],
)
def test_empty_and_broken_files_are_named(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, tmp_path, match)


def test_empty_files_among_others_are_named(frame, tmp_path):
    one, two = write(frame, tmp_path, "parquet"), tmp_path / "two.parquet"
    frame[:0].to_parquet(two)
    refused([one, two], tmp_path, "two.parquet has no rows. Leave it out")
    refused([], tmp_path, "needs one path or more")
    refused([one, one], tmp_path, "is given twice")
    refused(tmp_path / "none.csv", tmp_path, "none.csv", FileNotFoundError)
    refused(lambda: [], tmp_path, "There are no rows in the callable's result")


def test_arrays_that_cannot_be_read_in_rows_are_refused(cells, tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(cells))
    refused(tmp_path / "x.npy", tmp_path, r"column by column. Save np.ascontiguousarray")
    np.save(tmp_path / "x.npy", np.array([[None, 1]]), allow_pickle=True)
    refused(tmp_path / "x.npy", tmp_path, "holds object of shape")
    np.save(tmp_path / "x.npy", cells)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-10])
    refused(tmp_path / "x.npy", tmp_path, "it ends in row 2999 of 3000")


@pytest.mark.parametrize("change", [lambda p: p.write_bytes(b""), lambda p: p.unlink(), os.utime])
@pytest.mark.parametrize("kind", ["parquet", "csv", "npy"])
def test_a_file_that_changes_in_the_midst_is_refused(frame, tmp_path, monkeypatch, kind, change):
    path = write(frame, tmp_path, kind)
    read = sources.READERS[f".{kind}"]

    def changing(*args):
        for number, chunk in enumerate(read(*args)):
            if number == 3:
                change(path)
            yield chunk

    monkeypatch.setitem(sources.READERS, f".{kind}", changing)
    refused(path, tmp_path, "changed or removed while it was read, after row [1-9]")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([1.0, np.inf], "holds inf in row 201, column 'a'. Clip or divide"),
        ([1.0, 1e300], r"holds 1e\+300 in row 201, column 'a'. Clip or divide"),
        ([1.0, 1 + 2j], "holds .1.0j. in row 200, column 'a'"),
        (
            pd.to_datetime(["2020-01-01", "2020-01-02"]),
            "holds datetime.datetime.2020, 1, 1, 0, 0. in row 200",
        ),
        (pd.Categorical(["x", "y"]), "holds 'x' in row 200, column 'a', below numbers"),
        ([1, "x"], r"holds 'x' in row 201, .* categorical=\['a'\]"),
        ([b"x", None], "holds b'x' in row 200, column 'a'"),
    ],
)
def test_cells_that_are_no_finite_numbers_are_named(tmp_path, values, match):
    frames = [pd.DataFrame({"a": np.arange(200.0)}), pd.DataFrame({"a": values})]
    refused(lambda: iter(frames), tmp_path, match)


def test_a_callable_must_give_equal_rows_every_time(frame, cells, tmp_path):
    given = [frame]
    options = {"cache": tmp_path / "cache"}

    def frames():
        yield from given

    open_rows(frames, **options)
    np.testing.assert_array_equal(open_rows(frames, **options).to_numpy(), cells)
    for other, match in [
        ([frame, frame[:5]], "row 3000 is another"),
        ([frame[:-1]], "there are 2999 rows and not 3000"),
        ([frame.assign(a=frame["a"].where(frame.index != 2345, 0))], "row 2345 is another"),
        ([frame[NAMES[::-1]]], "the columns are"),
    ]:
        given[:] = other
        with pytest.raises(ValueError, match=match):
            open_rows(frames, **options)


def test_sources_of_other_kinds_are_refused(frame):
    with pytest.raises(TypeError, match="Pass the function that makes it"):
        open_rows(iter([frame]))
    with pytest.raises(TypeError, match="number 0 of the callable's result is str"):
        open_rows(lambda: "text")
    with pytest.raises(TypeError, match="returned int"):
        open_rows(lambda: 3)
    with pytest.raises(TypeError, match="it was given int"):
        open_rows(3)
    for memory in ("much", 0, -5, "0MB", True):
        with pytest.raises(ValueError, match="must be a number of bytes above 0"):
            open_rows(frame, memory=memory)
    assert open_rows(frame, memory="1.5GB").memory == 1_500_000_000


def test_a_column_that_float32_holds_badly_is_warned_of():
    times = pd.DataFrame({"x": [1.0, 2.0], "time": [1.7e9, 1.7e9 + 3600]})
    with pytest.warns(UserWarning, match=r"'time' runs from 1.7e\+09 .* Subtract its mean"):
        open_rows(times)


def test_a_full_disk_leaves_no_cache(frame, tmp_path):
    path = write(frame, tmp_path, "parquet")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        refused(path, tmp_path, "could not be written", OSError)
        with pytest.raises(OSError, match="could not be written"):
            open_rows(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_a_file_that_is_damaged_in_the_midst_names_the_row(frame, tmp_path):
    path = tmp_path / "x.parquet"
    frame.to_parquet(path, row_group_size=1000, compression="gzip")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    refused(path, tmp_path, r"x.parquet cannot be read after row [1-9]\d+: ")


def test_what_a_killed_process_left_is_removed(frame, cells, tmp_path):
    path, folder = write(frame, tmp_path, "csv"), tmp_path / "cache"
    program = f"""
        import os, signal
        from aedetect import open_rows
        from aedetect.rows import sources
        sources.CHUNK_ROWS = 200
        read = sources.READERS[".csv"]

        def dying(*args):
            for number, chunk in enumerate(read(*args)):
                if number == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield chunk

        sources.READERS[".csv"] = dying
        open_rows({str(path)!r}, cache={str(folder)!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = folder.iterdir()
    assert left.suffix == ".partial"
    np.testing.assert_array_equal(open_rows(path, cache=folder).to_numpy(), cells)
    assert [entry.suffix for entry in folder.iterdir()] == [".rows"]
