"""Scores by the workers of Ray and Dask: those of one process, whoever dies."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from killing import Deadly, kill_once

from aedetect import ConformalDetector, open_rows, save, scale
from aedetect.rows import scoring
from aedetect.scale.engines import compute_on_dask


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(scoring, "PART_ROWS", 400)


@pytest.fixture
def rows(frame):
    return open_rows(frame)


def test_the_file_is_that_of_one_process(engine, model, rows, tmp_path):
    save(model, tmp_path / "model")
    path = scale.score(tmp_path / "model", rows, tmp_path / "a.parquet", engine=engine)
    own = scale.score(model, rows, tmp_path / "b.parquet")
    assert path.read_bytes() == own.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"model", "a.parquet", "b.parquet"}


def test_every_row_is_scored_once_though_workers_are_killed(engine, model, rows, frame, tmp_path):
    deadly = Deadly(model, tmp_path, n_kills=1)
    path = scale.score(deadly, rows, tmp_path / "scores.parquet", engine=engine)
    assert len(list(tmp_path.glob("killed-*"))) == 1
    table = pd.read_parquet(path)
    np.testing.assert_array_equal(table["row"], np.arange(len(frame)))
    np.testing.assert_array_equal(table["score"], model.score_samples(frame))
    np.testing.assert_array_equal(table["anomaly"], model.predict(frame) == -1)


def test_a_task_survives_more_kills_than_dask_allows(dask, tmp_path):
    task = partial(dying, tmp_path, 3)
    assert list(compute_on_dask(task, [7])) == [(7, 14)]
    assert len(list(tmp_path.glob("killed-*"))) == 3


def dying(folder, n_kills, argument):
    kill_once(folder, n_kills)
    return 2 * argument


def test_an_error_names_the_row(engine, model, frame, tmp_path):
    holes = frame.copy()
    holes.loc[2900, "c"] = np.nan
    holes.to_parquet(tmp_path / "x.parquet")
    rows, out = open_rows(tmp_path / "x.parquet"), tmp_path / "holes.parquet"
    with pytest.raises(ValueError, match=r"row 2900 .*x.parquet.* has no value in column 'c'"):
        scale.score(model, rows, out, engine=engine)
    assert not out.exists()


def test_parts_of_a_call_are_those_of_another_engine(engine, model, rows, frame, tmp_path):
    out = tmp_path / "scores.parquet"
    with pytest.raises(KeyboardInterrupt):
        scoring.score_parts(model, rows, out, resume=True, first_row=0, compute=two_and_no_more)
    scale.score(model, rows, out, engine=engine)
    np.testing.assert_array_equal(pd.read_parquet(out)["score"], model.score_samples(frame))


def two_and_no_more(task, firsts):
    for first in firsts[:2]:
        yield first, task(first)
    raise KeyboardInterrupt


@pytest.mark.parametrize("calibrated", [False, True])
def test_datasets_of_ray_are_scored(calibrated, ray, model, frame):
    detector = ConformalDetector(random_state=0).fit(frame) if calibrated else model
    dataset = ray_dataset(ray, frame)
    scores = scale.score_ray(detector, dataset, row="id").to_pandas()
    assert_scores(scores, detector, frame)


def test_datasets_of_ray_survive_killed_workers(ray, model, frame, tmp_path):
    dataset = ray_dataset(ray, frame)
    scores = scale.score_ray(Deadly(model, tmp_path, 1), dataset, row="id").to_pandas()
    assert len(list(tmp_path.glob("killed-*"))) == 1
    assert_scores(scores, model, frame)


@pytest.mark.parametrize("calibrated", [False, True])
def test_frames_of_dask_are_scored(calibrated, dask, model, frame):
    detector = ConformalDetector(random_state=0).fit(frame) if calibrated else model
    table = dask_frame(frame)
    scores = scale.score_dask(detector, table, row="id")
    assert scores.npartitions == table.npartitions
    assert_scores(scores.compute(), detector, frame)
    assert scores.dtypes.equals(scores.compute().dtypes)


def test_frames_of_dask_survive_killed_workers(dask, model, frame, tmp_path):
    scores = scale.score_dask(Deadly(model, tmp_path, 1), dask_frame(frame), row="id").compute()
    assert len(list(tmp_path.glob("killed-*"))) == 1
    assert_scores(scores, model, frame)


def ray_dataset(ray, frame):
    numbered = frame.assign(id=range(len(frame)))
    return ray.data.from_pandas([numbered[:1000], numbered[1000:1200], numbered[1200:]])


def dask_frame(frame):
    from dask.dataframe import from_pandas

    return from_pandas(frame.assign(id=range(len(frame))), npartitions=3)


def assert_scores(scores, detector, frame):
    scores = scores.sort_values("id")
    np.testing.assert_array_equal(scores["id"], np.arange(len(frame)))
    np.testing.assert_array_equal(scores["score"], detector.score_samples(frame))
    np.testing.assert_array_equal(scores["anomaly"], detector.predict(frame) == -1)
    if isinstance(detector, ConformalDetector):
        np.testing.assert_array_equal(scores["p_value"], detector.p_values(frame))
    else:
        assert "p_value" not in scores
