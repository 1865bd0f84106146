"""Scores of rows on disk: every row once, however often the process is killed."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aedetect import AutoencoderTransformer, ConformalDetector, open_rows, save
from aedetect.rows import score, scoring


@pytest.fixture(scope="module")
def frame():
    rows = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    return pd.DataFrame(rows, columns=list("abcd"))


@pytest.fixture(scope="module")
def model(frame):
    return AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(frame)


@pytest.fixture
def rows(frame):
    return open_rows(frame)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(scoring, "PART_ROWS", 400)


class Dying:
    """Scores as another model does, some times."""

    def __init__(self, model, n_calls):
        self.model, self.n_calls = model, n_calls
        self.feature_names_in_, self.offset_ = model.feature_names_in_, model.offset_

    def score_samples(self, X):
        self.n_calls -= 1
        if self.n_calls < 0:
            raise KeyboardInterrupt
        return self.model.score_samples(X)


def assert_whole(path, model, frame):
    table = pd.read_parquet(path)
    np.testing.assert_array_equal(table["row"], np.arange(len(frame)))
    np.testing.assert_array_equal(table["score"], model.score_samples(frame))
    np.testing.assert_array_equal(table["anomaly"], model.predict(frame) == -1)


def test_scores_of_all_rows_are_written(model, rows, frame, tmp_path):
    path = score(model, rows, tmp_path / "scores.parquet")
    assert_whole(path, model, frame)
    assert list(tmp_path.iterdir()) == [path]
    view = score(model, rows[::-3], tmp_path / "view.parquet")
    assert_whole(view, model, frame[::-3])


def test_scoring_goes_on_where_it_ended(model, rows, frame, tmp_path):
    path = tmp_path / "scores.parquet"
    dying = Dying(model, 4)
    with pytest.raises(KeyboardInterrupt):
        score(dying, rows, path)
    assert not path.exists()
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("*.npy"))) == 3  # after a probe
    dying.n_calls = 100
    score(dying, rows, path)
    assert dying.n_calls == 100 - 1 - 5  # a probe and the parts that were missing
    assert_whole(path, model, frame)
    written = path.stat().st_mtime_ns
    score(dying, rows, path)
    assert path.stat().st_mtime_ns == written
    score(dying, rows, path, resume=False)
    assert path.stat().st_mtime_ns > written
    assert_whole(path, model, frame)


def test_parts_of_others_are_not_used(model, rows, frame, tmp_path):
    path = tmp_path / "scores.parquet"
    other = AutoencoderTransformer(2, max_epochs=1, random_state=1).fit(frame)
    for n_calls in (4, 100):  # parts, and then a file
        dying = Dying(model, n_calls)
        if n_calls == 4:
            with pytest.raises(KeyboardInterrupt):
                score(dying, rows, path)
        else:
            score(dying, rows, path)
        with pytest.raises(ValueError, match="of another model or of other rows: model was Dying"):
            score(other, rows, path)
        dying.n_calls = 100
        with pytest.raises(ValueError, match=r"rows was 3000 rows, .* now 2999 rows"):
            score(dying, rows[:-1], path)
        moved = Dying(model, 100)
        moved.offset_ -= 1
        with pytest.raises(ValueError, match="offset was"):
            score(moved, rows, path)
    score(other, rows, path, resume=False)
    assert_whole(path, other, frame)


def test_other_files_and_arguments_are_refused(model, rows, frame, tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(ValueError, match="has no scores by aedetect"):
        score(model, rows, tmp_path / "mine.parquet")
    with pytest.raises(ValueError, match=r"must end in .parquet"):
        score(model, rows, tmp_path / "scores.csv")
    with pytest.raises(TypeError, match=r"takes Rows, .* given DataFrame"):
        score(model, frame, tmp_path / "scores.parquet")
    with pytest.raises(ValueError, match="There are no rows"):
        score(model, rows[:0], tmp_path / "scores.parquet")


def test_a_bad_row_is_named_and_parts_before_it_stay(model, frame, tmp_path):
    holes = frame.copy()
    holes.loc[1234, "c"] = np.nan
    holes.to_parquet(tmp_path / "x.parquet")
    rows = open_rows(tmp_path / "x.parquet")[1000:]
    place = r"row 234 \(index 1234\) \(row 1234 of .*x.parquet\) has no value in column 'c'"
    with pytest.raises(ValueError, match=place):
        score(model, rows, tmp_path / "scores.parquet")
    assert not (tmp_path / "scores.parquet").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda: IsolationForest(n_estimators=20, random_state=0),
        lambda: make_pipeline(StandardScaler(), IsolationForest(n_estimators=20, random_state=0)),
        lambda: ConformalDetector(IsolationForest(n_estimators=20, random_state=0), random_state=0),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_other_detectors_are_scored(make, named, rows, frame, tmp_path):
    detector = make().fit(frame if named else frame.to_numpy())
    path = score(detector, rows, tmp_path / "scores.parquet")
    assert_whole(path, detector, frame if named else frame.to_numpy())


def test_a_full_disk_leaves_no_file_and_the_parts_that_are_whole(model, rows, frame, tmp_path):
    path = tmp_path / "scores.parquet"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))  # holds a part, not all of them
    try:
        with pytest.raises(OSError, match="could not be written"):
            score(model, rows, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert not path.exists()
    (folder,) = tmp_path.iterdir()
    assert all(np.load(part).shape[1] in (400, 200) for part in folder.glob("*.npy"))
    assert_whole(score(model, rows, path), model, frame)
    assert list(tmp_path.iterdir()) == [path]


# Forks a process that scores, and kills it after a moment, again and again.
PROGRAM = """
    import os, random, signal, time
    from aedetect import load, open_rows
    from aedetect.rows import score, scoring

    scoring.PART_ROWS = 200
    rows, model = open_rows({table!r}, cache={cache!r}), load({model!r})
    moments, n_killed = random.Random(0), 0
    for number in range(15):
        child = os.fork()
        if not child:
            score(model, rows, {out!r})
            os._exit(0)
        if not number:  # the first shows how long scoring takes
            started = time.monotonic()
            os.waitpid(child, 0)
            seconds = time.monotonic() - started
            os.remove({out!r})
            continue
        time.sleep(moments.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        n_killed += os.waitpid(child, 0)[1] == signal.SIGKILL
        if number < 11 and os.path.exists({out!r}):
            os.remove({out!r})
    score(model, rows, {out!r})
    print(n_killed)
"""


def test_scoring_that_is_killed_at_any_moment_is_finished(model, frame, tmp_path):
    paths = {name: tmp_path / name for name in ("table", "cache", "model", "out")}
    paths |= {"table": tmp_path / "x.parquet", "out": tmp_path / "scores.parquet"}
    frame.to_parquet(paths["table"])
    save(model, paths["model"])
    program = PROGRAM.format(**{name: str(path) for name, path in paths.items()})
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], check=True, stdout=subprocess.PIPE
    )
    assert int(done.stdout) > 2
    assert_whole(paths["out"], model, frame)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths.values()}
