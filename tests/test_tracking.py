from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aedetect import AutoencoderTransformer
from aedetect.tracking import TensorBoardCallback


def read_events(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: events.Scalars(name) for name in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_measure_of_every_epoch_is_written(small, table, tmp_path):
    detector = small.set_callbacks(TensorBoardCallback(tmp_path)).fit(table)
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith(type(small).__name__)
    scalars = read_events(folder)
    assert scalars.keys() == detector.history_.keys()
    for name, points in scalars.items():
        assert [point.step for point in points] == [1, 2, 3]
        np.testing.assert_allclose(
            [point.value for point in points], detector.history_[name], rtol=1e-6
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_fit_has_a_folder_and_the_callback_pickles(small, table, tmp_path):
    callback = pickle.loads(pickle.dumps(TensorBoardCallback(tmp_path)))
    scores = clone(small).fit(table).score_samples(table)
    small.set_callbacks(callback)
    for _ in range(2):
        np.testing.assert_array_equal(small.fit(table).score_samples(table), scores)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_search_writes_every_fit(table, tmp_path):
    estimator = AutoencoderTransformer(hidden_layer_sizes=(8,), max_epochs=1, random_state=0)
    estimator.set_callbacks(TensorBoardCallback(tmp_path))
    GridSearchCV(estimator, {"latent_dim": [1, 2]}, cv=2).fit(table)
    assert len(list(tmp_path.iterdir())) == 5


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    detector = AutoencoderTransformer(max_epochs=1)
    detector.set_callbacks(TensorBoardCallback(tmp_path))
    with pytest.raises(ImportError, match="needs the extra 'tensorboard'"):
        detector.fit(np.random.RandomState(0).randn(20, 3))
