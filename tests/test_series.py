"""Windows of a series, scores of its rows, and the contract of scikit-learn."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import aedetect
from aedetect import AutoencoderTransformer, DenoisingAutoencoder
from aedetect.persistence import SKOPS_TRUSTED
from aedetect.series import WindowTransformer, score_timestamps

QUICK = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
SHAPES = [(30, 5, 1), (30, 5, 2), (31, 7, 3), (12, 12, 12), (9, 1, 1), (23, 6, 6)]


@pytest.fixture(scope="module")
def frame():
    """Return two columns over 120 hours."""
    rng, hours = np.random.RandomState(0), np.arange(120)
    columns = {"heat": np.sin(hours / 4) + 0.1 * rng.randn(120), "load": rng.randn(120)}
    return pd.DataFrame(columns, index=pd.date_range("2026-01-01", periods=120, freq="h"))


@pytest.mark.parametrize(("n_rows", "width", "stride"), SHAPES)
def test_windows_are_rows_that_follow_each_other_and_cover_all_rows(n_rows, width, stride):
    X = np.arange(2.0 * n_rows).reshape(n_rows, 2)
    windows = WindowTransformer(width, stride).fit_transform(X)
    assert windows.shape[1] == 2 * width
    first, second = windows[:, :width], windows[:, width:]  # one column after the other
    np.testing.assert_array_equal(second, first + 1)
    np.testing.assert_array_equal(np.diff(first, axis=1), 2)
    np.testing.assert_array_equal(first[:-1, 0] % (2 * stride), 0)
    np.testing.assert_array_equal(np.unique(first), X[:, 0])


def test_windows_of_stride_1_are_those_of_numpy():
    X = np.random.RandomState(0).randn(20, 3)
    expected = sliding_window_view(X, 4, axis=0).reshape(17, 12)
    np.testing.assert_array_equal(WindowTransformer(4).fit_transform(X), expected)


@pytest.mark.parametrize(("n_rows", "width", "stride"), SHAPES)
def test_the_inverse_returns_the_rows(n_rows, width, stride):
    X = np.random.RandomState(0).randn(n_rows, 2)
    X[3, 1] = np.nan
    transformer = WindowTransformer(width, stride).fit(X)
    rows = transformer.inverse_transform(transformer.transform(X), n_rows)
    np.testing.assert_allclose(rows, X)
    if stride == 1:
        np.testing.assert_array_equal(transformer.inverse_transform(transformer.transform(X)), rows)


def test_the_inverse_is_the_mean_over_windows():
    transformer = WindowTransformer(2).fit(np.zeros((3, 1)))
    np.testing.assert_array_equal(
        transformer.inverse_transform([[1, 2], [4, np.nan]]).ravel(), [1, 3, np.nan]
    )
    with pytest.raises(ValueError, match="9 rows has 8 windows of 2 cells, but X has 2 of 2"):
        transformer.inverse_transform([[1, 2], [4, 5]], n_rows=9)


def test_names_say_how_far_a_cell_lies_before_the_last_row(frame):
    transformer = WindowTransformer(3).set_output(transform="pandas").fit(frame)
    windows = transformer.transform(frame)
    assert list(windows) == ["heat_t-2", "heat_t-1", "heat_t", "load_t-2", "load_t-1", "load_t"]
    assert windows.index.equals(frame.index[2:])  # when the window is complete
    np.testing.assert_array_equal(windows["load_t"], frame["load"].iloc[2:])
    np.testing.assert_array_equal(windows["heat_t-2"], frame["heat"].iloc[:-2])
    assert (transformer.n_features_in_, list(transformer.feature_names_in_)) == (2, list(frame))
    transformer.fit(frame.to_numpy())
    assert not hasattr(transformer, "feature_names_in_")


@pytest.mark.filterwarnings("ignore")  # the checks feed bad data on purpose
def test_scikit_learn_finds_no_fault_but_that_windows_are_no_rows():
    failed = {
        width: {
            r["check_name"]
            for r in check_estimator(WindowTransformer(width), on_fail=None)
            if r["status"] == "failed"
        }
        for width in (1, 3)
    }
    assert failed[1] == set()
    # These compare the result with X row by row, or give rows in another order, or one alone.
    assert failed[3] == {
        *("check_transformer_general", "check_transformer_data_not_an_array"),
        *("check_methods_sample_order_invariance", "check_methods_subset_invariance"),
    }


def test_parameters_act_at_the_next_fit(frame):
    transformer = WindowTransformer(4).fit(frame)
    before = transformer.transform(frame)
    transformer.set_params(width=6, stride=3)
    np.testing.assert_array_equal(transformer.transform(frame), before)
    assert transformer.fit(frame).transform(frame).shape == (39, 12)
    assert not hasattr(clone(transformer), "width_")
    with pytest.raises(NotFittedError):
        clone(transformer).transform(frame)


def test_float32_stays_float32_and_missing_cells_stay_missing():
    X = np.ones((9, 1), np.float32)
    X[4] = np.nan
    windows = WindowTransformer(3).fit_transform(X)
    assert windows.dtype == np.float32
    assert np.isnan(windows).sum() == 3
    model = make_pipeline(WindowTransformer(3), AutoencoderTransformer(2, missing="mask", **QUICK))
    assert np.isfinite(score_timestamps(model.fit(X), X)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.iloc[:5], "at least width=6 rows, .* n_samples=5. Give more rows"),
        (lambda frame: frame.iloc[::-1], r"row 1 \(index 2026-01-05 22:00:00\) comes before"),
        (lambda frame: frame.replace(frame.iloc[7, 1], np.inf), r"row 7 .* has inf in .*'load'"),
        (lambda frame: frame.assign(load="high"), "column 'load' holds 'high' in row 0"),
    ],
)
def test_bad_rows_are_refused_by_fit_and_transform(frame, change, message):
    transformer = WindowTransformer(6).fit(frame)
    before = vars(transformer).copy()
    for method in (transformer.fit, transformer.transform):
        with pytest.raises(ValueError, match=message):
            method(change(frame))
    assert vars(transformer) == before


@pytest.mark.parametrize(
    ("width", "stride", "message"),
    [(0, 1, "'width' parameter"), (2, 0, "'stride' parameter"), (2, 3, "stride=3 must be at most")],
)
def test_parameters_out_of_range_are_refused(frame, width, stride, message):
    with pytest.raises(ValueError, match=message):
        WindowTransformer(width, stride).fit(frame)


class Given(IsolationForest):
    """Gives each window the score in its first cell."""

    def score_samples(self, X):
        return np.asarray(X)[:, 0]


@pytest.mark.parametrize(("n_rows", "width", "stride"), SHAPES)
def test_a_timestamp_has_the_mean_or_the_oddest_score_of_its_windows(n_rows, width, stride):
    X = np.random.RandomState(0).randn(n_rows, 1)
    model = make_pipeline(WindowTransformer(width, stride), Given(n_estimators=1)).fit(X)
    scores, starts = model.score_samples(X), range(n_rows)
    starts = [start for start in starts if X[start, 0] in scores]
    means, oddest = score_timestamps(model, X), score_timestamps(model, X, reduce="max")
    for row in range(n_rows):
        covering = [s for s, start in zip(scores, starts, strict=True) if 0 <= row - start < width]
        assert means[row] == pytest.approx(np.mean(covering))
        assert oddest[row] == min(covering)


def test_scores_of_a_frame_keep_its_index_and_find_the_odd_hours(frame):
    odd = frame.copy()
    odd.iloc[90:93, 0] = 3
    network = DenoisingAutoencoder(4, random_state=0, max_epochs=60, hidden_layer_sizes=(16,))
    model = make_pipeline(StandardScaler(), WindowTransformer(8), network).fit(frame.iloc[:80])
    for reduce in ("mean", "max"):
        scores = score_timestamps(model, odd, reduce=reduce)
        assert scores.index.equals(frame.index)
        assert frame.index[84] <= scores.idxmin() <= frame.index[98]


def test_searches_and_pickles_of_series_score_timestamps(frame):
    model = make_pipeline(WindowTransformer(8), PCA(2))
    search = GridSearchCV(model, {"windowtransformer__width": [4, 8]}, cv=2).fit(frame)
    scores = score_timestamps(search, frame)
    np.testing.assert_array_equal(
        score_timestamps(pickle.loads(pickle.dumps(search)), frame), scores
    )


def test_models_without_windows_or_scores_are_refused(frame):
    forest = IsolationForest(n_estimators=2)
    with pytest.raises(TypeError, match="one WindowTransformer, but this IsolationForest has 0"):
        score_timestamps(forest.fit(frame), frame)
    twice = make_pipeline(WindowTransformer(2), WindowTransformer(2), forest).fit(frame)
    with pytest.raises(TypeError, match="this Pipeline has 2"):
        score_timestamps(twice, frame)
    labels_alone = make_pipeline(WindowTransformer(2), LocalOutlierFactor()).fit(frame)
    with pytest.raises(TypeError, match="needs score_samples, which LocalOutlierFactor lacks"):
        score_timestamps(labels_alone, frame)
    with pytest.raises(ValueError, match="reduce must be 'mean' or 'max', but it is 'min'"):
        score_timestamps(make_pipeline(WindowTransformer(2), forest), frame, reduce="min")


def test_a_network_of_convolutions_takes_columns_as_channels(frame):
    network = AutoencoderTransformer(
        2, network="conv", image_shape=(2, 1, 8), **{**QUICK, "hidden_layer_sizes": (4, 4)}
    )
    model = make_pipeline(WindowTransformer(8), network).fit(frame)
    assert len(score_timestamps(model, frame)) == len(frame)


def test_reasons_are_those_of_windows(frame):
    model = make_pipeline(WindowTransformer(4), DenoisingAutoencoder(2, **QUICK)).fit(frame)
    for reasons in (aedetect.explain, aedetect.repair):
        with pytest.warns(UserWarning, match="columns that the detector sees"):
            result = reasons(model, frame)
        assert result.shape == (117, 8)
        assert list(result)[3] == "heat_t"


def test_series_go_into_skops_files_and_other_files_refuse_them(frame, tmp_path):
    skops = pytest.importorskip("skops.io")
    model = make_pipeline(WindowTransformer(4), DenoisingAutoencoder(2, **QUICK)).fit(frame)
    skops.dump(model, tmp_path / "model.skops")
    loaded = skops.load(tmp_path / "model.skops", trusted=SKOPS_TRUSTED)
    np.testing.assert_array_equal(score_timestamps(loaded, frame), score_timestamps(model, frame))
    with pytest.raises(TypeError, match=r"cannot write.*Use skops.io.dump"):
        aedetect.save(model, tmp_path / "model")


def test_windows_have_no_graph(frame, tmp_path):
    pytest.importorskip("skl2onnx")
    model = make_pipeline(WindowTransformer(4), DenoisingAutoencoder(2, **QUICK)).fit(frame)
    with pytest.raises(ValueError, match=r"(?s)WindowTransformer.*that step before the graph"):
        aedetect.to_onnx(model, tmp_path / "model.onnx")
