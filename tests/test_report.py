"""The report: its content, the detectors it accepts, and the escaping of data."""

from __future__ import annotations

import copy
import re
from html import unescape
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import OneClassSVM

import aedetect
import aedetect.reporting
from aedetect import (
    AutoencoderTransformer,
    ConformalDetector,
    DenoisingAutoencoder,
    VAEDetector,
    explain,
    repair,
    report,
)
from aedetect.reporting.comparison import compare
from aedetect.reporting.drawing import INK
from aedetect.reporting.subject import examine
from aedetect.reporting.text import apart, number, times
from aedetect.reporting.top_rows import describe_top_rows

HOSTILE = "<script>alert(1)</script>"


def calibrated_on(rows, detector, **settings):
    """Return a conformal detector around a fitted one."""
    return ConformalDetector(detector, prefit=True, **settings).fit(rows)


@pytest.fixture(scope="module")
def frame(table):
    anomalies = table[:6] + 5 * table.std(axis=0) * np.array([0, 0, 1, 0, 0])
    rows = np.vstack([table, anomalies])
    return pd.DataFrame(rows, columns=list("abcde"), index=[f"row-{i}" for i in range(66)])


@pytest.fixture(scope="module")
def y():
    return np.repeat([1, -1], [60, 6])


@pytest.fixture(scope="module")
def detector(frame):
    return AutoencoderTransformer(2, max_epochs=100, random_state=0).fit(frame[:60])


@pytest.fixture(scope="module")
def plain_page(detector, frame, tmp_path_factory):
    """Return the page without labels."""
    return written(detector, frame, path=tmp_path_factory.mktemp("plain") / "report.html")


@pytest.fixture(scope="module")
def labelled_page(detector, frame, y, tmp_path_factory):
    """Return the page with labels and training rows."""
    path = tmp_path_factory.mktemp("labelled") / "report.html"
    return written(detector, frame, y, path, X_train=frame[:60])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


@pytest.fixture
def blank_drawings(monkeypatch):
    """Save empty drawings, for tests of text: drawing takes most of the time of a report."""
    empty = b'<svg width="1" height="1"/>'
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda figure, file, **settings: file.write(empty)
    )


def written(*arguments, **settings):
    return report(*arguments, **settings).read_text()


def text_of(page):
    """Return the visible text outside the drawings."""
    body = re.sub(r"<(svg|style|title).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def sections_of(page):
    return re.findall(r'<section id="(\w+)"', page)


# The name and the file.


def test_the_report_is_a_function_in_any_order_of_imports():
    assert callable(aedetect.report)
    assert aedetect.report is aedetect.reporting.report
    assert "report" in aedetect.__all__


@pytest.mark.usefixtures("blank_drawings")
def test_the_page_appears_whole_or_not_at_all(detector, frame, path, monkeypatch):
    path.write_text("old")
    assert report(detector, frame, path=str(path), peers=False) == path
    whole = path.read_text()
    assert whole.endswith("</html>")

    def fail(self, target):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report(detector, frame, path=path, peers=False)
    assert path.read_text() == whole
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_page_loads_nothing_and_runs_no_script(labelled_page):
    assert "http:" not in labelled_page
    assert "https:" not in labelled_page
    assert "<script" not in labelled_page
    addresses = re.findall(r'(?:src|href)="([^#"]+)"', labelled_page)
    assert {address.split(",")[0] for address in addresses} <= {
        "data:image/png;base64",
        "data:",
    }


def test_every_id_on_the_page_is_used_once(labelled_page):
    ids = re.findall(r'\sid="([^"]+)"', labelled_page)
    references = set(re.findall(r'(?:url\(|href=")#([^)"]+)', labelled_page))
    assert len(ids) == len(set(ids))
    assert references
    assert references <= set(ids)


def test_drawings_take_the_text_colour_and_the_styles_of_the_page(labelled_page):
    drawings = re.findall(r"<svg.*?</svg>", labelled_page, flags=re.DOTALL)
    assert len(drawings) == 6
    for drawing in drawings:
        assert "fill: currentColor" in drawing
        assert INK not in drawing
        assert "<style" not in drawing
        assert "<text" in drawing


# Content.


def test_the_verdict_counts_flagged_rows_and_names_the_largest_contributions(
    detector, frame, plain_page
):
    text = text_of(plain_page)
    n_flagged = (detector.predict(frame) == -1).sum()
    assert f"{n_flagged} of 66 rows" in text
    assert f"{-detector.offset_:.4g}" in text
    top = detector.score_samples(frame).argsort()[: min(n_flagged, 20)]
    oddest = np.asarray(detector.explain(frame.iloc[top])).argmax(axis=1)
    counts = np.bincount(oddest)
    driver, n = frame.columns[counts.argmax()], counts.max()
    assert f"most anomalous rows, the oddest value is that of {driver} in {n}" in text


def test_labels_add_an_evaluation(detector, frame, y, plain_page, labelled_page):
    text = text_of(labelled_page)
    scores, flagged = detector.score_samples(frame), detector.predict(frame) == -1
    assert f"AUROC {roc_auc_score(y, scores):.3f}" in text
    assert f"average precision {average_precision_score(y == -1, -scores):.3f}" in text
    assert f"{(flagged & (y == -1)).sum()} of 6 anomalies" in text
    assert f"{(flagged & (y == 1)).sum()} of 60 normal rows" in text
    assert "AUROC" not in text_of(plain_page)


@pytest.mark.parametrize("kinds", [["cat", "dog"], [0, 1, 2], [3, 8]])
def test_names_and_numbers_of_classes_are_no_labels_of_anomalies(detector, frame, kinds):
    subject = examine(detector, frame, np.resize(kinds, len(frame)))
    assert subject.is_anomaly is None
    assert set(subject.y) == set(kinds)


def test_classes_colour_the_map_without_an_evaluation(detector, frame, path):
    page = written(detector, frame, np.resize(["cat", "dog"], len(frame)), path, peers=False)
    assert "Classes differ in colour and marker" in text_of(page)
    assert "AUROC" not in text_of(page)


def test_a_missing_label_is_an_error_with_its_row(detector, frame, y, path):
    with pytest.raises(ValueError, match="y holds NaN, for row 3 first"):
        written(detector, frame, np.where(np.arange(len(y)) == 3, np.nan, y), path)


@pytest.mark.usefixtures("blank_drawings")
def test_the_most_anomalous_rows_come_first_each_with_its_features(detector, frame, path):
    page = written(detector, frame, path=path, n_rows=4, peers=False)
    names = re.findall(r"<h3>(row-\d+)</h3>", page)
    order = detector.score_samples(frame).argsort()[:4]
    assert names == list(frame.index[order])
    worst = frame.iloc[[order[0]]]
    contributions = np.asarray(detector.explain(worst))[0]
    top = contributions.argmax()
    card = text_of(page[page.index("<article") : page.index("</article>")])
    assert f"{frame.columns[top]} {contributions[top]:.0f} times" in card
    repaired = detector.repair(worst).iloc[0]
    changed = frame.columns[repaired != worst.iloc[0]]
    assert len(changed)
    for name in changed:
        assert f"{worst[name].item():.4g}, normal with {repaired[name]:.4g}" in card
    assert card.count("normal with") == len(changed)


def test_a_row_is_normal_once_its_values_are_those_of_its_card(detector, frame):
    calibrated = calibrated_on(frame[:60], detector, alpha=0.1)
    subject = examine(calibrated, frame, row_names=[f"pump {i}" for i in range(66)])
    top = subject.top_rows(5)
    rows = describe_top_rows(subject, top, subject.explain(top))
    assert [row.name for row in rows] == [f"pump {i}" for i in top]
    for place, row in zip(top, rows, strict=True):
        assert row.is_flagged
        changes = {part.name: float(part.normal) for part in row.features if part.normal}
        assert len(changes) == row.n_changed > 0
        # Four digits are shown, which may lie just beyond the threshold.
        repaired = frame.iloc[[place]].assign(**changes)
        assert calibrated.score_samples(repaired) > 1.05 * calibrated.offset_


@pytest.mark.usefixtures("blank_drawings")
def test_shares_are_shown_of_a_score_that_is_a_sum_and_times_of_others(frame, path):
    detector = AutoencoderTransformer(
        2, max_epochs=20, anomaly_score="reconstruction", random_state=0
    ).fit(frame)
    page = written(detector, frame, path=path, peers=False)
    worst = frame.iloc[[detector.score_samples(frame).argmin()]]
    contributions = np.asarray(detector.explain(worst))[0]
    share = contributions / contributions.sum()
    card = text_of(page[page.index("<article") : page.index("</article>")])
    assert f"{frame.columns[share.argmax()]} {100 * share.max():.2g}%" in card
    assert "times" not in card
    assert "share of one value in the score" in text_of(page)


@pytest.mark.usefixtures("blank_drawings")
def test_nothing_is_repaired_where_no_single_detector_decides_or_rows_are_wide(
    detector, frame, path, monkeypatch
):
    folds = ConformalDetector(clone(detector), cv=2, alpha=0.1, random_state=0).fit(frame[:60])
    assert "ormal with" not in text_of(written(folds, frame, path=path, peers=False))
    assert "ormal with" in text_of(written(detector, frame, path=path, peers=False))
    monkeypatch.setattr("aedetect.reporting.subject.WIDEST", 4)
    assert "ormal with" not in text_of(written(detector, frame, path=path, peers=False))


@pytest.mark.usefixtures("blank_drawings")
@pytest.mark.parametrize("factor", [1.5, 7.0])
def test_a_held_out_loss_far_above_the_training_loss_has_a_sentence(detector, frame, path, factor):
    other = copy.copy(detector)
    other.history_ = {**detector.history_, "val_loss": factor * detector.history_["loss"]}
    text = text_of(written(other, frame, path=path, peers=False))
    assert ("held-out loss is 7.0 times the training loss" in text) == (factor == 7)


@pytest.mark.usefixtures("blank_drawings")
def test_a_pipeline_is_explained_in_the_units_that_were_passed(frame, path):
    pipeline = make_pipeline(
        StandardScaler(), AutoencoderTransformer(2, max_epochs=20, random_state=0)
    ).fit(frame)
    page = written(pipeline, frame, path=path, peers=False)
    order = pipeline.score_samples(frame).argsort()
    repaired = repair(pipeline, frame.iloc[[order[0]]]).iloc[0]
    card = text_of(page[page.index("<article") : page.index("</article>")])
    for name in frame.columns[repaired != frame.iloc[order[0]]]:
        value = frame[name].iloc[order[0]]
        assert f"{value:.4g}, normal with {repaired[name]:.4g}" in card
    assert "StandardScaler" in text_of(page)


@pytest.mark.usefixtures("blank_drawings")
def test_steps_that_mix_columns_or_cannot_be_undone_leave_the_detectors_own_units(frame, path):
    missing = frame.copy()
    missing.iloc[0, 0] = np.nan
    one_way = FunctionTransformer(np.arcsinh, feature_names_out="one-to-one")
    for step, X in ((PCA(), frame), (SimpleImputer(), missing), (one_way, frame)):
        pipeline = make_pipeline(step, AutoencoderTransformer(2, max_epochs=20, random_state=0))
        pipeline.fit(X)
        page = written(pipeline, X, path=path, peers=False)
        assert "units of the detector's input" in text_of(page)
        card = text_of(page[page.index("<article") : page.index("</article>")])
        assert ("pca" in card) == isinstance(step, PCA)
        worst = pipeline.score_samples(X).argsort()[0]
        row = pipeline[0].transform(X.iloc[[worst]])
        top = np.asarray(pipeline[1].explain(row)).argmax()
        assert f"{np.asarray(row)[0, top]:.4g}" in card


@pytest.mark.usefixtures("blank_drawings")
def test_columns_in_another_order_are_explained_in_the_units_that_were_passed(frame, path):
    names = list(reversed(frame.columns[1:]))
    steps = ColumnTransformer([("scaled", StandardScaler(), names)])
    pipeline = make_pipeline(steps, AutoencoderTransformer(2, max_epochs=20, random_state=0))
    page = written(pipeline.fit(frame), frame, path=path, peers=False)
    worst = frame.iloc[[pipeline.score_samples(frame).argmin()]]
    top = explain(pipeline, worst).iloc[0].idxmax()
    card = text_of(page[page.index("<article") : page.index("</article>")])
    assert re.search(rf"{re.escape(top)} [over\d,. ]+ times {worst[top].item():.4g}", card)
    assert "units of the detector's input" not in text_of(page)


@pytest.mark.usefixtures("blank_drawings")
@pytest.mark.parametrize("image_shape", [(1, 8, 8), (8, 8), None])
def test_images_are_shown_as_images(digits, path, image_shape):
    X = digits[0][:60]
    detector = AutoencoderTransformer(4, max_epochs=3, random_state=0).fit(X)
    page = written(detector, X, path=path, image_shape=image_shape, n_rows=5, peers=False)
    n_cards = 5 if image_shape else 0
    for name in ("row", "reconstruction", "heat map"):
        assert page.count(f"<figcaption>{name}</figcaption>") == n_cards
    assert ("pixels" in text_of(page)) == bool(image_shape)


@pytest.mark.usefixtures("blank_drawings")
def test_colour_images_and_large_ones_are_small_on_the_page(path):
    X = np.random.RandomState(0).rand(10, 3 * 120 * 120).astype(np.float32)
    detector = AutoencoderTransformer(
        2, hidden_layer_sizes=(4,), image_shape=(3, 120, 120), max_epochs=1, random_state=0
    ).fit(X)
    page = written(detector, X, path=path, peers=False)
    assert page.count("<figcaption>heat map</figcaption>") == 10
    assert len(page) < 2e6


def test_the_page_states_the_rows_that_peers_are_fitted_to(
    detector, frame, path, plain_page, labelled_page
):
    text = text_of(plain_page)
    assert "fitted to the scored rows (66; anomalies may be among them)" in text
    assert "rank agreement" in text
    text = text_of(labelled_page)
    assert "fitted to the training rows (60)" in text
    assert "Isolation forest" in text
    assert "comparison" not in sections_of(written(detector, frame, path=path, peers=False))


def test_peers_scores_are_those_of_scikit_learn(frame, y):
    X = frame.to_numpy()
    forest = IsolationForest(random_state=0).fit(X)
    comparison = compare(examine(forest, X, y), 20)
    own, _, same = comparison.peers
    assert same.correlation == pytest.approx(1)
    assert same.n_shared == 20
    assert own.auroc == same.auroc == pytest.approx(roc_auc_score(y, forest.score_samples(X)))
    fitted_elsewhere = compare(examine(forest, X, y, X_train=X[:60]), 20)
    assert fitted_elsewhere.peers[2].correlation < 1


def test_changed_parameters_come_before_defaults_and_versions_are_named(plain_page):
    text = text_of(plain_page)
    assert text.index("max_epochs 100") < text.index("left at their defaults")
    assert text.index("left at their defaults") < text.index("learning_rate 0.001")
    assert f"torch {version('torch')}" in text
    assert f"aedetect {aedetect.__version__}" in text


@pytest.mark.usefixtures("blank_drawings")
def test_title_and_number_of_rows_can_be_set(detector, frame, path, plain_page):
    page = written(detector, frame, path=path, title="Pumps", n_rows=3, peers=False)
    assert "<title>Pumps</title>" in page
    assert "The 3 most anomalous rows" in page
    assert page.count("<article") == 3
    assert "<h1>Anomalies found by AutoencoderTransformer</h1>" in plain_page


@pytest.mark.usefixtures("blank_drawings")
def test_a_calibrated_detector_has_its_section(detector, frame, path, plain_page):
    calibrated = calibrated_on(frame[:60], detector, alpha=0.1)
    page = written(calibrated, frame, path=path, peers=False)
    text = text_of(page)
    assert "Calibrated on 60 rows to flag 10% of the normal rows" in text
    assert "With 95% confidence" in text
    low, high = calibrated.fpr_interval(0.95)
    assert f"between {100 * low:.3g}% and {100 * high:.3g}% of the normal rows" in text
    assert f"{(calibrated.predict(frame) == -1).sum()} of 66 rows" in text
    worst = frame.iloc[[calibrated.score_samples(frame).argmin()]]
    n_as_odd = round(calibrated.p_values(worst).item() * 61) - 1
    card = text_of(page[page.index("<article") : page.index("</article>")])
    assert f"reached by {n_as_odd} of 60 normal rows" in card
    assert f"row score p-value {worst.index[0]}" in text
    assert "calibration" not in sections_of(plain_page)


@pytest.mark.usefixtures("blank_drawings")
def test_a_detector_of_folds_has_no_interval_and_one_without_alarms_no_threshold(
    detector, frame, path
):
    folds = ConformalDetector(clone(detector), cv=2, alpha=0.1, random_state=0).fit(frame[:60])
    text = text_of(written(folds, frame, path=path, peers=False))
    assert "2, one per fold" in text
    assert "With 95% confidence" not in text
    with pytest.warns(UserWarning, match="too few for any alarm"):
        silent = calibrated_on(frame[:60], FrozenEstimator(detector), alpha=0.01)
    text = text_of(written(silent, frame, path=path, peers=False))
    assert "0 of 66 rows" in text
    assert "threshold" not in text.split("Scores and threshold")[0]
    assert "Detector AutoencoderTransformer" in text


# Detectors and rows.


@pytest.mark.parametrize("estimator_class", [DenoisingAutoencoder, VAEDetector])
def test_every_estimator_of_ours_has_all_sections(estimator_class, frame, path):
    detector = estimator_class(2, max_epochs=2, random_state=0).fit(frame)
    assert sections_of(written(detector, frame, path=path)) == [
        *("scores", "anomalies", "maps", "comparison", "training", "parameters")
    ]


@pytest.mark.usefixtures("blank_drawings")
@pytest.mark.parametrize(
    "detector",
    [
        IsolationForest(random_state=0),
        EllipticEnvelope(random_state=0),
        OneClassSVM(),
        LocalOutlierFactor(novelty=True),
        make_pipeline(StandardScaler(), IsolationForest(random_state=0)),
    ],
    ids=lambda detector: type(detector).__name__,
)
def test_other_detectors_have_the_sections_that_they_support(detector, frame, path):
    X = frame.to_numpy()
    page = written(detector.fit(X), X, path=path, peers=False)
    assert f"{(detector.predict(X) == -1).sum()} of 66 rows" in text_of(page)
    assert "does not give contributions of features" in page
    assert page.count("<article") == 20
    assert "Learning curve" not in page


@pytest.mark.usefixtures("blank_drawings")
def test_plain_lists_and_float32_rows_make_the_same_cards(table, path):
    X = table.astype(np.float32)
    detector = AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(X)
    from_lists = re.findall(r"<h3>.*</h3>", written(detector, X.tolist(), path=path, peers=False))
    assert from_lists == re.findall(r"<h3>.*</h3>", written(detector, X, path=path, peers=False))
    assert from_lists[0] == f"<h3>row {detector.score_samples(X).argmin()}</h3>"


def test_a_detector_that_cannot_score_new_rows_is_refused(frame, path):
    with pytest.raises(TypeError, match="LocalOutlierFactor has no decision_function"):
        report(LocalOutlierFactor().fit(frame), frame, path=path)
    assert not path.exists()


@pytest.mark.parametrize("n_rows", [1, 2, 3, 7])
def test_few_rows_make_a_page_too(detector, frame, n_rows, path):
    text = text_of(written(detector, frame[:n_rows], path=path))
    assert f"of {n_rows} rows" in text
    assert "nan" not in text.lower().split()


def test_one_column_and_equal_rows_make_a_page_too(path):
    X = np.full((9, 1), 3.0)
    detector = AutoencoderTransformer(1, max_epochs=1, random_state=0).fit(X)
    text = text_of(written(detector, X, path=path))
    assert "0 of 9 rows" in text


def test_many_rows_are_sampled_and_the_page_says_so(frame, path, plain_page):
    many = pd.concat([frame] * 400)
    page = written(EllipticEnvelope(random_state=0).fit(frame), many, path=path)
    text = text_of(page)
    assert "of 26,400 rows" in text
    assert "compared on 20,000 rows, a random sample (seed 0)" in text
    assert "the most anomalous ones and a random sample (seed 0)" in text
    assert "a random sample" not in text_of(plain_page)
    assert len(page) < 5 * len(plain_page)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"y": [1, -1]}, "inconsistent numbers of samples"),
        ({"X_train": [[1.0, 2.0]]}, "X_train must have the columns of X"),
        ({"image_shape": (3, 3)}, r"image_shape=\(3, 3\) has 9 values, but X has 5"),
        ({"n_rows": 0}, "n_rows == 0, must be >= 1"),
    ],
)
def test_arguments_that_do_not_match_are_errors(detector, frame, settings, message, path):
    with pytest.raises(ValueError, match=message):
        report(detector, frame, path=path, **settings)
    assert not path.exists()


# Escaping.


def test_names_and_labels_from_the_data_are_text(frame, path):
    names = [HOSTILE, "\"&'", "$x^2$", "\\$a{", "</style>"]
    hostile = frame.set_axis(names, axis=1)
    hostile.index = [f"{HOSTILE}{i}\"&'" for i in range(len(frame))]
    detector = AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(hostile)
    classes = np.array([HOSTILE, "\"&'", "$", "_a"], dtype=object)[np.arange(len(frame)) % 4]
    classes[detector.score_samples(hostile).argmin()] = HOSTILE  # on a card
    page = written(detector, hostile, classes, path, title=f"{HOSTILE}\"&'", peers=False)
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert f"label: {HOSTILE}" in text_of(page)
    for name in names[:3]:
        assert name in text_of(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page[page.index('id="maps"') :]  # a legend


def test_characters_that_the_drawing_font_lacks_reach_the_reader(frame, path):
    detector = AutoencoderTransformer(2, max_epochs=1, random_state=0).fit(frame)
    page = written(detector, frame, ["正常"] * 60 + ["異常"] * 6, path, peers=False)
    assert "異常" in page[page.index('id="maps"') :]


def test_numbers_are_written_with_the_digits_that_tell_them_apart():
    assert [number(value) for value in (12345.67, 0.12345, 2e7 + 0.5, 7.0, None)] == [
        *("12346", "0.1235", "2e+07", "7", "missing")
    ]
    assert apart(100300.42, 100300.28) == ("100300.4", "100300.3")
    assert apart(1.5, 2.25) == ("1.5", "2.25")
    assert apart("Atlantis", "Rome") == ("Atlantis", "Rome")
    assert [times(factor) for factor in (1.44, 38.4, 12345)] == [
        *("1.4 times", "38 times", "over 1,000 times")
    ]
