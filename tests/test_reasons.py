"""Explanations and repairs through the steps before a detector."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from aedetect import AutoencoderTransformer, ConformalDetector, explain, repair


def detector(**settings):
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 40, "random_state": 0, **settings}
    return AutoencoderTransformer(2, **settings)


@pytest.fixture(scope="module")
def frame(normal):
    units = np.array([1, 10, 100, 1000, 0.1, 0.01])
    return pd.DataFrame(normal * units + units, columns=list("abcdef"))


def falsify(frame, column="c"):
    """Return 20 rows; the first has a wrong value in ``column``."""
    rows = frame[-20:].copy()
    rows.iloc[0, list(frame.columns).index(column)] += 8 * frame[column].std()
    return rows


def reordering(*, remainder="drop"):
    """Return a transformer that reorders columns and applies ``remainder`` to ``f``."""
    return ColumnTransformer(
        [("power", make_pipeline(PowerTransformer(), MinMaxScaler()), ["e", "c"]),
         ("plain", "passthrough", ["d"]),
         ("robust", RobustScaler(), slice("a", "b"))],
        remainder=remainder,
    )  # fmt: skip


INVERTIBLE = {
    "scaler": StandardScaler,
    "nested": lambda: make_pipeline(RobustScaler(), make_pipeline(StandardScaler())),
    "reordered": reordering,
    "remainder": lambda: reordering(remainder="passthrough"),
    "remainder scaled": lambda: reordering(remainder=StandardScaler()),
    "after columns": lambda: make_pipeline(reordering(), StandardScaler()),
    "selected": lambda: make_pipeline(StandardScaler(), VarianceThreshold(0.5), MinMaxScaler()),
    "frozen": lambda: FrozenEstimator(StandardScaler()),
    "function": lambda: FunctionTransformer(
        np.arcsinh, inverse_func=np.sinh, feature_names_out="one-to-one"
    ),
}


@pytest.fixture(scope="module", params=INVERTIBLE)
def invertible(request, frame):
    """Return a fitted Pipeline whose steps can be undone."""
    steps = INVERTIBLE[request.param]()
    if isinstance(steps, FrozenEstimator):
        steps.estimator.fit(frame[:-20])
    return make_pipeline(steps, detector()).fit(frame[:-20])


@pytest.fixture(scope="module")
def scaled(frame):
    """Return a fitted Pipeline of a scaler and a detector."""
    return make_pipeline(StandardScaler(), detector()).fit(frame[:-20])


def test_contributions_have_the_columns_of_X(invertible, frame):  # noqa: N802
    model, rows = invertible, falsify(frame)
    contributions = explain(model, rows)
    pd.testing.assert_index_equal(contributions.index, rows.index)
    assert contributions.columns.tolist() == list("abcdef")
    assert contributions.iloc[0].idxmax() == "c"
    inner = np.asarray(model[-1].explain(model[:-1].transform(rows)))
    np.testing.assert_allclose(np.sort(contributions.sum(axis=1)), np.sort(inner.sum(axis=1)))
    if "f" not in "".join(model[:-1].get_feature_names_out()):
        assert (contributions["f"] == 0).all()


def test_repairs_have_the_units_of_X(invertible, frame):  # noqa: N802
    model, rows = invertible, falsify(frame)
    assert model.predict(rows)[0] == -1
    repaired = repair(model, rows)
    assert (model.predict(repaired) == 1).all()
    pd.testing.assert_index_equal(repaired.index, rows.index)
    assert repaired.dtypes.tolist() == rows.dtypes.tolist()
    changed = repaired != rows
    inner = model[-1].repair(model[:-1].transform(rows)) != model[:-1].transform(rows)
    np.testing.assert_array_equal(changed.sum(axis=1), np.asarray(inner).sum(axis=1))
    assert changed["c"].iloc[0]
    assert repaired["c"].iloc[0] < rows["c"].iloc[0]


def test_arrays_come_back_as_arrays(frame):
    X, rows = frame.to_numpy()[:-20], falsify(frame).to_numpy()
    steps = make_column_transformer((StandardScaler(), [3, 2]), (MinMaxScaler(), [0]))
    model = make_pipeline(steps, detector()).fit(X)
    contributions, repaired = explain(model, rows), repair(model, rows)
    assert isinstance(contributions, np.ndarray)
    assert contributions[0].argmax() == 2
    assert (contributions[:, [1, 4, 5]] == 0).all()
    np.testing.assert_array_equal(repaired[:, [1, 4, 5]], rows[:, [1, 4, 5]])
    assert (model.predict(repaired) == 1).all()
    assert (repaired != rows)[0].any()


def test_columns_that_are_not_numeric_stay_as_they_are(frame):
    table = frame.assign(name="n", when=pd.Timestamp("2026-01-01"), whole=np.arange(len(frame)) % 7)
    numbers = [*"abc", "whole"]
    steps = ColumnTransformer([("numbers", StandardScaler(), numbers)])
    model = make_pipeline(steps, detector()).fit(table[:-20])
    rows = falsify(table)
    contributions, repaired = explain(model, rows), repair(model, rows)
    assert (contributions.drop(columns=numbers) == 0).all(axis=None)
    assert contributions.iloc[0].idxmax() == "c"
    others = [column for column in table if column not in numbers]
    pd.testing.assert_frame_equal(repaired[others], rows[others])
    assert (model.predict(repaired) == 1).all()


def test_imputed_cells_stay_missing(frame):
    holed = frame.mask(np.random.RandomState(0).rand(*frame.shape) < 0.05)
    model = make_pipeline(SimpleImputer(), StandardScaler(), detector()).fit(holed[:-20])
    rows = falsify(holed)
    rows.iloc[0, 2] = 1e4
    repaired = repair(model, rows)
    kept = (repaired == rows) | (repaired.isna() & rows.isna())
    assert not kept.iloc[0]["c"]
    assert repaired.isna().to_numpy().sum() >= rows.isna().to_numpy().sum() - len(rows)
    assert explain(model, rows).iloc[0].idxmax() == "c"
    assert (model.predict(repaired) == 1).all()


MIXING = {
    "PCA": lambda: PCA(4),
    "one-hot": lambda: ColumnTransformer(
        [("kind", OneHotEncoder(sparse_output=False), ["kind"]), ("rest", "passthrough", [*"abc"])]
    ),
    "twice": lambda: ColumnTransformer(
        [("scaled", StandardScaler(), ["a", "b"]), ("plain", "passthrough", ["b", "c"])]
    ),
}


@pytest.mark.parametrize("name", MIXING)
def test_behind_steps_that_cannot_be_undone_reasons_have_the_columns_of_the_detector(name, frame):
    table = frame if name == "PCA" else frame.assign(kind=np.arange(len(frame)) % 3)
    model = make_pipeline(MIXING[name](), detector()).fit(table[:-20])
    rows, names = falsify(table), model[:-1].get_feature_names_out().tolist()
    for reason in (explain, repair):
        with pytest.warns(UserWarning, match="cannot be undone") as caught:
            values = reason(model, rows)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert values.columns.tolist() == names
        pd.testing.assert_index_equal(values.index, rows.index)
    quick = make_pipeline(MIXING[name](), detector(max_epochs=1))
    calibrated = ConformalDetector(quick, cv=2, alpha=0.2, random_state=0).fit(table[:-20])
    with pytest.warns(UserWarning, match="cannot be undone") as caught:
        explain(calibrated, rows)
    assert len(caught) == 1


def test_a_step_that_rounds_is_reported(frame):
    table = frame.assign(kind=np.arange(len(frame)) % 3)[["kind", "a", "b"]]
    table["a"] = table["b"] = table["kind"] * 1.0 + 0.01 * frame["a"]
    steps = ColumnTransformer([("kind", OrdinalEncoder(), ["kind"])], remainder="passthrough")
    model = make_pipeline(steps, detector()).fit(table[:-20])
    rows = table[-20:].copy()
    rows["kind"] = (rows["kind"] + 1) % 3
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        repaired = repair(model, rows)
    again = (model.predict(repaired) == -1).any()
    assert again == any("anomalies again" in str(w.message) for w in caught)


def test_a_calibrated_detector_explains_and_repairs_at_its_own_threshold(frame):
    rows = falsify(frame)
    model = make_pipeline(StandardScaler(), detector(contamination=0.4))
    calibrated = ConformalDetector(model, alpha=0.05, random_state=0).fit(frame[:-20])
    pd.testing.assert_frame_equal(explain(calibrated, rows), explain(calibrated.estimator_, rows))
    pd.testing.assert_frame_equal(explain(calibrated, rows), calibrated.explain(rows))
    repaired = repair(calibrated, rows)
    pd.testing.assert_frame_equal(repaired, calibrated.repair(rows))
    odd = calibrated.predict(rows) == -1
    assert odd[0]
    assert (calibrated.predict(repaired) == 1).all()
    np.testing.assert_array_equal((repaired != rows).any(axis=1), odd)
    # The inner detector flags more rows at its own threshold.
    assert (calibrated.estimator_.predict(rows) == -1).sum() > odd.sum()


def test_a_calibrated_detector_at_the_end_of_a_pipeline_gives_reasons(frame):
    rows = falsify(frame)
    inner = make_pipeline(MinMaxScaler(), detector())
    model = make_pipeline(reordering(), ConformalDetector(inner, random_state=0)).fit(frame[:-20])
    assert explain(model, rows).iloc[0].idxmax() == "c"
    assert (model.predict(repair(model, rows)) == 1).all()


def test_folds_explain_by_their_mean_and_are_not_repaired(frame):
    rows = falsify(frame)
    model = ConformalDetector(
        make_pipeline(StandardScaler(), detector(max_epochs=2)), cv=2, random_state=0
    ).fit(frame[:-20])
    first, second = (explain(inner, rows) for inner in model.estimators_)
    pd.testing.assert_frame_equal(explain(model, rows), (first + second) / 2)
    with pytest.raises(ValueError, match="repair needs one inner detector, but with cv=2"):
        repair(model, rows)


def test_the_best_of_a_search_is_explained(frame):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), detector(max_epochs=2)),
        {"autoencodertransformer__activation": ["relu", "tanh"]},
        cv=2,
    ).fit(frame[:-20])
    rows = falsify(frame)
    pd.testing.assert_frame_equal(explain(search, rows), explain(search.best_estimator_, rows))


def test_a_bare_detector_gives_the_results_of_its_methods(scaled, frame):
    rows = falsify(frame)
    rows, model = pd.DataFrame(scaled[0].transform(rows), index=rows.index), scaled[-1]
    pd.testing.assert_frame_equal(explain(model, rows), model.explain(rows))
    pd.testing.assert_frame_equal(repair(model, rows), model.repair(rows))


@pytest.mark.parametrize("reason", [explain, repair])
def test_other_detectors_have_no_reasons(reason, frame):
    forest = IsolationForest(n_estimators=5, random_state=0)
    calibrated = ConformalDetector(forest, random_state=0)
    for model in (forest, make_pipeline(StandardScaler(), forest), calibrated):
        with pytest.raises(TypeError, match="the detector here is IsolationForest"):
            reason(model.fit(frame), frame)
    assert not hasattr(calibrated, reason.__name__)
    assert hasattr(ConformalDetector(make_pipeline(StandardScaler(), detector())), "repair")


@pytest.mark.parametrize("reason", [explain, repair])
def test_reasons_need_a_fit(reason, frame):
    model = make_pipeline(StandardScaler(), detector())
    for unfitted in (model, detector(), ConformalDetector(model)):
        with pytest.raises(NotFittedError):
            reason(unfitted, frame)


@pytest.mark.parametrize("reason", [explain, repair])
def test_reasons_change_neither_rows_nor_thresholds(reason, scaled, frame):
    model = ConformalDetector(scaled, prefit=True).calibrate(frame[-40:])
    rows = falsify(frame)
    before, offsets = rows.copy(), (scaled[-1].offset_, model.offset_)
    reason(model, rows)
    pd.testing.assert_frame_equal(rows, before)
    assert (scaled[-1].offset_, model.offset_) == offsets
