"""Pipelines, calibration, reports and displays of frames with categories."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, RobustScaler, StandardScaler

import aedetect
from aedetect import ConformalDetector, DenoisingAutoencoder, VAEDetector, explain, repair, report
from aedetect.plotting import (
    ContributionsDisplay,
    LatentMapDisplay,
    LearningCurveDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
    ScoreDistributionDisplay,
)

mpl.use("agg")
NUMBERS = ["age", "load"]


def detector(**settings):
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 40, "random_state": 0, **settings}
    return DenoisingAutoencoder(**settings)


@pytest.fixture(scope="module")
def frame():
    """Return rows whose kind, grade and load follow from the city."""
    rng = np.random.RandomState(0)
    city = rng.choice(["Berlin", "Paris", "Rome"], 300, p=[0.5, 0.3, 0.2])
    in_berlin = city == "Berlin"
    return pd.DataFrame(
        {
            "age": rng.randint(20, 60, 300),
            "city": city,
            "vip": in_berlin ^ (rng.rand(300) < 0.02),
            "load": 100 * in_berlin + 5 * rng.randn(300),
            "kind": pd.Categorical(np.where(in_berlin, "a", "b"), ["b", "a", "unused"]),
            "grade": pd.Categorical(np.where(in_berlin, 1, 2)),
        },
        index=[f"r{i}" for i in range(300)],
    )


@pytest.fixture(scope="module")
def rows(frame):
    """Return 20 rows; the first has the wrong kind."""
    rows = frame[:20].copy()
    rows.iloc[0, 4] = "b" if rows["city"].iloc[0] == "Berlin" else "a"
    return rows


@pytest.fixture(scope="module")
def bare(frame):
    return detector().fit(frame)


def scaling(**settings):
    steps = ColumnTransformer([("s", StandardScaler(), NUMBERS)], remainder="passthrough")
    return steps.set_output(transform="pandas")


STEPS = {
    "scaled": scaling,
    "reordered": lambda: ColumnTransformer(
        [("levels", "passthrough", ["kind", "city"]), ("numbers", RobustScaler(), ["load"]),
         ("more", "passthrough", ["vip", "grade"])],
    ).set_output(transform="pandas"),
    "nested": lambda: make_pipeline(
        scaling(),
        ColumnTransformer(
            [("f", FunctionTransformer(
                np.arcsinh, inverse_func=np.sinh, feature_names_out="one-to-one"
            ), ["s__age"])],
            remainder="passthrough",
            verbose_feature_names_out=False,
        ).set_output(transform="pandas"),
    ),
    "nothing": lambda: FunctionTransformer(),
}  # fmt: skip


@pytest.fixture(scope="module", params=STEPS)
def pipeline(request, frame):
    return make_pipeline(STEPS[request.param](), detector()).fit(frame)


def test_contributions_have_the_columns_of_the_frame(pipeline, rows):
    contributions = explain(pipeline, rows)
    assert contributions.columns.tolist() == rows.columns.tolist()
    pd.testing.assert_index_equal(contributions.index, rows.index)
    assert contributions.iloc[0].idxmax() == "kind"
    assert (contributions.to_numpy() >= 0).all()


def test_repairs_put_levels_in_the_columns_of_the_frame(pipeline, frame, rows):
    assert pipeline.predict(rows)[0] == -1
    repaired = repair(pipeline, rows)
    assert (pipeline.predict(repaired) == 1).all()
    normal = pipeline.predict(rows) == 1
    pd.testing.assert_frame_equal(repaired[normal].astype(rows.dtypes), rows[normal])
    levels = [name for name in rows if name not in NUMBERS]
    pd.testing.assert_series_equal(repaired[levels].dtypes, rows[levels].dtypes)
    assert repaired["kind"].iloc[0] == frame["kind"].iloc[0]


def test_a_repair_changes_the_wrong_level_alone(frame, rows):
    model = make_pipeline(scaling(), detector()).fit(frame)
    changed = (repair(model, rows) != rows).iloc[0]
    assert changed[changed].index.tolist() == ["kind"]


def test_a_repair_may_be_a_level_that_the_column_of_the_row_has_not(frame, rows):
    one = rows[:1].copy()
    one["kind"] = one["kind"].cat.remove_unused_categories()
    for model in (detector(), make_pipeline(scaling(), detector())):
        repaired = repair(model.fit(frame), one)
        assert repaired["kind"].tolist() == frame["kind"].iloc[:1].tolist()


def test_missing_levels_are_explained_and_repaired(frame, rows):
    frame, rows = frame.astype({"kind": object}), rows.astype({"kind": object})
    rows.iloc[0, 4] = None
    model = make_pipeline(scaling(), detector()).fit(frame)
    assert explain(model, rows).iloc[0].idxmax() == "kind"
    repaired = repair(model, rows)
    assert repaired["kind"].iloc[0] == frame["kind"].iloc[0]
    normal = model.predict(rows) == 1
    pd.testing.assert_frame_equal(repaired[normal].astype(rows.dtypes), rows[normal])


def test_missing_numbers_stay_missing_behind_steps(frame, rows):
    holed = frame.assign(load=frame["load"].mask(np.arange(300) % 10 == 3))
    given = rows.assign(load=holed["load"])
    model = make_pipeline(scaling(), detector(missing="mask")).fit(holed)
    repaired = repair(model, given)
    pd.testing.assert_series_equal(repaired["load"].isna(), given["load"].isna())
    assert repaired["kind"].iloc[0] == frame["kind"].iloc[0]


def test_steps_without_frames_are_refused_with_the_remedy(frame):
    steps = scaling().set_output(transform="default")
    with pytest.raises(ValueError, match=r'pass a DataFrame.*set_output\(transform="pandas"\)'):
        make_pipeline(steps, detector()).fit(frame)


def test_behind_a_coding_of_ones_own_reasons_have_its_columns(frame, rows):
    levels = ["city", "vip", "kind", "grade"]
    steps = ColumnTransformer(
        [("h", OneHotEncoder(sparse_output=False, handle_unknown="ignore"), levels)],
        remainder="passthrough",
    )
    model = make_pipeline(steps, detector()).fit(frame)
    for reason in (explain, repair):
        with pytest.warns(UserWarning, match="cannot be undone"):
            assert "h__city_Berlin" in reason(model, rows)


def test_frames_of_polars_behind_steps(frame, rows):
    steps = ColumnTransformer([("s", StandardScaler(), NUMBERS)], remainder="passthrough")
    model = make_pipeline(steps.set_output(transform="polars"), detector())
    model.fit(pl.from_pandas(frame.astype({"kind": str, "grade": str})))
    given = pl.from_pandas(rows.astype({"kind": str, "grade": str}))
    contributions = explain(model, given)
    assert contributions.columns == given.columns
    assert contributions.to_numpy()[0].argmax() == 4
    repaired = repair(model, given)
    assert repaired["kind"][0] == frame["kind"].iloc[0]
    assert repaired.schema["vip"] == pl.Boolean
    assert (model.predict(repaired) == 1).all()


@pytest.mark.parametrize("cv", [None, 5])
def test_a_calibrated_detector_of_frames(cv, frame, rows, tmp_path):
    model = ConformalDetector(detector(), cv=cv, alpha=0.1, random_state=0).fit(frame)
    new = rows.copy()
    new.loc["r1", "city"] = "Atlantis"
    assert model.predict(new)[0] == model.predict(new)[1] == -1
    p = model.p_values(new)
    assert p.shape == (20,)
    assert model.select(new[:2], fdr=0.5).all()
    np.testing.assert_array_equal(model.p_values(new[new.columns[::-1]]), p)
    contributions = model.explain(new)
    assert contributions.columns.tolist() == frame.columns.tolist()
    assert contributions.idxmax(axis=1).tolist()[:2] == ["kind", "city"]
    aedetect.save(model, tmp_path / "m")
    loaded = aedetect.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.p_values(new), p)
    if cv is None:
        repaired = loaded.repair(new)
        assert (loaded.predict(repaired) == 1).all()
        assert repaired["kind"].iloc[0] == frame["kind"].iloc[0]
        assert repaired["city"].iloc[1] in {"Berlin", "Paris", "Rome"}
    else:
        with pytest.raises(ValueError, match="repair needs one inner detector"):
            loaded.repair(new)


def test_errors_in_calibration_name_the_row_and_column_of_the_frame(frame):
    bad = frame.astype({"kind": object})
    bad.iloc[200, 4] = (1, 2)
    for cv in (None, 3):
        with pytest.raises(ValueError, match=r"'kind' holds \(1, 2\) in row 200 \(index 'r200'\)"):
            ConformalDetector(detector(max_epochs=2), cv=cv, random_state=0).fit(bad)


def test_levels_of_the_calibration_rows_may_be_new(frame):
    rare = frame.astype({"city": object})
    rare.iloc[:3, 1] = ["Oslo", "Lima", "Pune"]
    model = ConformalDetector(detector(max_epochs=5), cv=3, random_state=0).fit(rare)
    assert np.isfinite(model.score_samples(rare)).all()


def written(*arguments, tmp_path, **settings):
    path = tmp_path / "page.html"
    report(*arguments, path=path, **settings)
    return path.read_text()


def test_a_report_shows_levels(bare, frame, rows, tmp_path):
    new = rows.copy()
    new.loc["r1", "city"] = "Atlantis"
    page = written(bare, new, tmp_path=tmp_path, X_train=frame, n_rows=5)
    wrong, right = rows["kind"].iloc[0], frame["kind"].iloc[0]
    assert f"{wrong}, normal with {right}" in page
    assert "Atlantis, normal with " in page
    assert "PCA (" in page
    assert page.count('class="drawing"') == 4  # scores, two maps, training


def test_a_report_does_not_depend_on_the_order_of_columns(bare, rows, tmp_path):
    y = np.where(np.arange(20) == 0, -1, 1)
    page = written(bare, rows, y, tmp_path=tmp_path)
    turned = written(bare, rows[rows.columns[::-1]], y, tmp_path=tmp_path)
    assert page[page.index("<article") : page.index("</article>")] in turned
    assert "AUROC" in turned


def test_reports_of_pipelines_and_calibrated_detectors_show_levels(frame, rows, tmp_path):
    wrong, right = rows["kind"].iloc[0], frame["kind"].iloc[0]
    pipeline = make_pipeline(scaling(), detector()).fit(frame)
    calibrated = ConformalDetector(detector(), random_state=0).fit(frame)
    for model in (pipeline, calibrated):
        page = written(model, rows, tmp_path=tmp_path, X_train=frame)
        assert f"{wrong}, normal with {right}" in page
        assert "Isolation forest" in page


def test_a_report_calls_missing_cells_missing(frame, rows, tmp_path):
    rows = rows.astype({"kind": object})
    rows.iloc[0, 4] = None
    for settings in ({}, {"missing": "mask"}):
        model = detector(max_epochs=10, **settings).fit(frame.astype({"kind": object}))
        page = written(model, rows, tmp_path=tmp_path)
        assert "missing, normal with " in page or settings
        assert ">nan," not in page


def test_a_report_of_polars_frames(frame, rows, tmp_path):
    given = [pl.from_pandas(part.astype({"kind": str, "grade": str})) for part in (frame, rows)]
    page = written(detector().fit(given[0]), given[1], tmp_path=tmp_path, X_train=given[0])
    assert f"{rows['kind'].iloc[0]}, normal with {frame['kind'].iloc[0]}" in page
    assert "Isolation forest" in page


def test_the_bars_of_a_row_show_its_levels(bare, rows):
    for given in (rows, rows[rows.columns[::-1]]):
        display = ContributionsDisplay.from_estimator(bare, given[:1])
        labels = [text.get_text() for text in display.ax_.get_yticklabels()]
        assert labels[0].startswith(f"kind = {rows['kind'].iloc[0]} (reconstruction ")
        assert any(label.startswith(f"vip = {rows['vip'].iloc[0]} ") for label in labels)
        age = next(label for label in labels if label.startswith("age"))
        assert age.startswith(f"age = {rows['age'].iloc[0]} (reconstruction ")


def test_maps_of_frames_are_those_of_the_rows_that_the_network_sees(frame, bare):
    pipeline = make_pipeline(scaling(), detector(max_epochs=5)).fit(frame)
    for model in (bare, pipeline):
        display = LatentMapDisplay.from_estimator(model, frame, beside_pca=True)
        assert np.isfinite(display.beside.positions).all()
    turned = LatentMapDisplay.from_estimator(bare, frame[frame.columns[::-1]], beside_pca=True)
    straight = LatentMapDisplay.from_estimator(bare, frame, beside_pca=True)
    np.testing.assert_array_equal(turned.beside.positions, straight.beside.positions)


def test_maps_behind_a_coding_of_ones_own_are_those_of_its_numbers(frame):
    coding = OneHotEncoder(sparse_output=False)
    levels = ["city", "vip", "kind", "grade"]
    steps = ColumnTransformer([("h", coding, levels)], remainder="passthrough")
    model = make_pipeline(steps, detector(max_epochs=5)).fit(frame)
    display = LatentMapDisplay.from_estimator(model, frame, beside_pca=True)
    assert np.isfinite(display.beside.positions).all()


def test_scores_and_losses_of_frames_are_drawn(bare, frame):
    y = np.where(frame["city"] == "Rome", -1, 1)
    assert ScoreDistributionDisplay.from_estimator(bare, frame, y).ax_.has_data()
    assert LearningCurveDisplay.from_estimator(bare).ax_.has_data()


def test_displays_of_images_refuse_categories(bare, frame):
    message = "draws rows as images, but 4 of 6 columns are categories. Use Contributions"
    with pytest.raises(ValueError, match=f"ReconstructionDisplay {message}"):
        ReconstructionDisplay.from_estimator(bare, frame[:4])
    sampler = VAEDetector(hidden_layer_sizes=(8,), max_epochs=2, random_state=0).fit(frame)
    with pytest.raises(ValueError, match=f"SamplesDisplay {message}"):
        SamplesDisplay.from_estimator(sampler)
    assert set(sampler.sample(30, random_state=0)["city"]) <= {"Berlin", "Paris", "Rome"}


def test_a_calibrated_pipeline_gives_reasons_in_the_columns_of_the_frame(frame, rows):
    model = ConformalDetector(make_pipeline(scaling(), detector()), random_state=0).fit(frame)
    assert model.predict(rows)[0] == -1
    assert explain(model, rows).iloc[0].idxmax() == "kind"
    repaired = model.repair(rows)
    assert (model.predict(repaired) == 1).all()
    assert repaired["kind"].iloc[0] == frame["kind"].iloc[0]
    outer = make_pipeline(scaling(), ConformalDetector(detector(), random_state=0)).fit(frame)
    repaired = repair(outer, rows)
    assert (outer.predict(repaired) == 1).all()
    assert repaired["kind"].iloc[0] == frame["kind"].iloc[0]
    pd.testing.assert_series_equal(repaired.dtypes[2:], rows.dtypes[2:])


def test_summaries_of_frames_count_the_columns_of_levels(bare):
    table = bare.summary()
    assert table["parameters"].sum() == sum(p.numel() for p in bare.network_.parameters())


def test_repairs_of_polars_frames_with_whole_numbers(frame):
    """A repaired number stands among whole numbers."""
    given = pl.from_pandas(frame.astype({"kind": str, "grade": str}))
    model = detector().fit(given)
    far = given[:5].with_columns(pl.Series("age", [900, 30, 40, 50, 55]))
    repaired = model.repair(far)
    assert repaired["age"][0] < 900
    assert repaired["age"][1:].to_list() == [30.0, 40.0, 50.0, 55.0]


def test_repairs_of_columns_with_numbers_for_names(frame, rows):
    names = dict(zip(frame, range(6), strict=True))
    repaired = detector().fit(frame.rename(columns=names)).repair(rows.rename(columns=names))
    assert repaired.columns.tolist() == list(range(6))
    assert repaired[4].iloc[0] == frame["kind"].iloc[0]
