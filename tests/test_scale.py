"""Scores of frames without any engine; the engines themselves are in tests/scale."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.ensemble import IsolationForest

from aedetect import AutoencoderTransformer, ConformalDetector, open_rows, save, scale
from aedetect.rows import score
from aedetect.scale.carried import Carried


@pytest.fixture(scope="module")
def frame():
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    return pd.DataFrame(rows, columns=list("abc"))


@pytest.fixture(scope="module")
def model(frame):
    return AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(frame)


@pytest.fixture(scope="module")
def calibrated(frame):
    return ConformalDetector(IsolationForest(n_estimators=5, random_state=0)).fit(frame)


def numbered(frame):
    """Return the frame with the numbers of its rows, in reverse order, in the second column."""
    frame = frame.copy()
    frame.insert(1, "id", range(len(frame)))
    return frame[::-1]


@pytest.mark.parametrize("kind", [lambda f: f, pl.from_pandas, pa.Table.from_pandas])
def test_scores_of_frames_are_those_of_the_model_in_any_chunks(kind, model, frame, tmp_path):
    save(model, tmp_path / "model")
    X = numbered(frame)
    chunks = (kind(X[first:last]) for first, last in [(0, 1), (1, 1), (1, 120), (120, 300)])
    scores = pd.concat(scale.score_frames(tmp_path / "model", chunks, row="id")).sort_values("id")
    assert scores.columns.tolist() == ["id", "score", "anomaly"]
    np.testing.assert_array_equal(scores["id"], np.arange(300))
    np.testing.assert_array_equal(scores["score"], model.score_samples(frame))
    np.testing.assert_array_equal(scores["anomaly"], model.predict(frame) == -1)


def test_calibrated_detectors_have_p_values_in_frames_and_in_files(calibrated, frame, tmp_path):
    (scores,) = scale.score_frames(calibrated, [numbered(frame)], row="id")
    table = pd.read_parquet(score(calibrated, open_rows(frame), tmp_path / "scores.parquet"))
    assert table.columns.tolist() == ["row", "score", "anomaly", "p_value"]
    for found in (scores[::-1], table):
        np.testing.assert_array_equal(found["p_value"], calibrated.p_values(frame))
        np.testing.assert_array_equal(found["score"], calibrated.score_samples(frame))
        np.testing.assert_array_equal(found["anomaly"], calibrated.predict(frame) == -1)


def test_a_model_of_arrays_scores_frames_by_position(frame):
    model = IsolationForest(n_estimators=5, random_state=0).fit(frame.to_numpy())
    (scores,) = scale.score_frames(model, [numbered(frame)], row="id")
    np.testing.assert_array_equal(scores["score"][::-1], model.score_samples(frame.to_numpy()))


def test_a_file_that_was_replaced_is_read_again(model, frame, tmp_path):
    other = AutoencoderTransformer(2, max_epochs=1, random_state=1).fit(frame)
    for number, detector in enumerate([model, other]):
        save(detector, tmp_path / "model")
        time = 10**18 + number
        os.utime(tmp_path / "model", ns=(time, time))
        (scores,) = scale.score_frames(tmp_path / "model", [numbered(frame)], row="id")
        np.testing.assert_array_equal(scores["score"][::-1], detector.score_samples(frame))


def test_frames_without_row_numbers_are_refused(model, frame):
    with pytest.raises(ValueError, match="must have the column 'id', which identifies rows"):
        list(scale.score_frames(model, [frame], row="id"))


def test_an_engine_that_does_not_exist_is_refused(model, frame, tmp_path):
    with pytest.raises(ValueError, match="engine='spark' must be one of 'local', 'ray', 'dask'"):
        scale.score(model, open_rows(frame), tmp_path / "x.parquet", engine="spark")
    with (
        pytest.raises(ValueError, match="engine='local' must be 'ray' or 'dask'"),
        scale.parallel_on("local"),
    ):
        pass


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_an_engine_that_is_not_installed_is_named(engine, model, frame, tmp_path, monkeypatch):
    for module in ("ray", "ray.data", "ray.util.joblib", "dask", "distributed"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"needs the extra '{engine}'"):
        scale.score(model, open_rows(frame), tmp_path / "x.parquet", engine=engine)
    with pytest.raises(ImportError, match=f"needs the extra '{engine}'"):
        getattr(scale, f"score_{engine}")(model, None, row="id")
    with (
        pytest.raises(ImportError, match=f"needs the extra '{engine}'"),
        scale.parallel_on(engine),
    ):
        pass


def test_import_of_the_room_imports_no_engine():
    program = "import sys, aedetect.scale; print({'ray', 'dask', 'distributed'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "set()"


def test_what_is_carried_is_unpickled_once(model):
    pytest.importorskip("cloudpickle")
    carried = Carried(model)
    assert carried.value is carried.value
    assert carried.value is not model
