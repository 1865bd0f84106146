"""A few labels: fit(X, y) with labels="use", and feedback after a fit."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aedetect import ConformalDetector, DenoisingAutoencoder, load, report, save, to_onnx
from aedetect.cli import main
from aedetect.model import StateError
from aedetect.scoring import Detector
from aedetect.scoring.likeness import _fit_head, _lift
from aedetect.scoring.thresholds import carry_over

NETWORK = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}


def detector_of(**parameters):
    return DenoisingAutoencoder(2, **{**NETWORK, **parameters})


@pytest.fixture(scope="module")
def rows():
    """Return 200 normal rows and 60 anomalies, which are odd in the third column alone."""
    rng = np.random.RandomState(0)
    anomalies = rng.randn(60, 5)
    anomalies[:, 2] += 2.5
    return rng.randn(200, 5), anomalies


@pytest.fixture(scope="module")
def plain(rows):
    return detector_of().fit(rows[0])


@pytest.fixture(scope="module")
def told(plain, rows):
    """Return the detector once it knows ten anomalies and five normal rows."""
    known = np.concatenate([rows[1][:10], rows[0][:5]])
    return pickle.loads(pickle.dumps(plain)).feedback(known, np.repeat([-1, 1], [10, 5]))


def copy_of(detector):
    return pickle.loads(pickle.dumps(detector))


def auroc(detector, rows):
    test = np.concatenate([rows[0], rows[1][10:]])
    return roc_auc_score(np.repeat([1, 0], [200, 50]), detector.score_samples(test))


def test_labels_change_the_scores_for_the_better(plain, told, rows):
    X, anomalies = rows
    y = np.repeat([0, -1], [200, 10])
    fitted = detector_of(labels="use").fit(np.concatenate([X, anomalies[:10]]), y)
    assert min(auroc(told, rows), auroc(fitted, rows)) > auroc(plain, rows) + 0.05


def test_no_row_seems_less_odd_for_the_labels(plain, told, rows):
    everything = np.concatenate(rows)
    assert (told.score_samples(everything) <= plain.score_samples(everything)).all()


def test_labels_are_ignored_by_default(plain, rows):
    fitted = detector_of().fit(rows[0], np.repeat(["a", "b"], 100))
    np.testing.assert_array_equal(fitted.score_samples(rows[1]), plain.score_samples(rows[1]))


def test_known_anomalies_are_in_no_part_of_the_fit(plain, rows):
    X, anomalies = rows
    mixed, y = np.insert(X, [50], anomalies[:10], axis=0), np.zeros(210)
    y[50:60] = -1
    fitted = detector_of(labels="use").fit(mixed, y)
    later = copy_of(plain).feedback(anomalies[:10], y[50:60])
    np.testing.assert_array_equal(fitted.score_samples(mixed), later.score_samples(mixed))


def test_rows_of_several_calls_stay_known_and_labels_can_be_taken_back(plain, told, rows):
    X, anomalies = rows
    parts = copy_of(plain).feedback(anomalies[:10], [-1] * 10).feedback(X[:5], [1] * 5)
    np.testing.assert_array_equal(parts.score_samples(X), told.score_samples(X))
    taken = copy_of(told).feedback(X[:5], [0] * 5)
    only = copy_of(plain).feedback(anomalies[:10], [-1] * 10)
    np.testing.assert_array_equal(taken.score_samples(X), only.score_samples(X))


def test_a_known_normal_row_seems_less_like_the_anomalies(plain, rows):
    X, anomalies = rows
    odd = X[:1] + np.array([0, 0, 3, 0, 0])
    alike = copy_of(plain).feedback(anomalies[:10], [-1] * 10)
    corrected = copy_of(alike).feedback(np.repeat(odd, 10, axis=0) + 0.01 * X[:10], [1] * 10)
    assert corrected.score_samples(odd) > alike.score_samples(odd)


def test_the_threshold_flags_about_as_many_training_rows_as_before(plain, told, rows):
    shares = [(detector.predict(rows[0]) == -1).mean() for detector in (plain, told)]
    assert shares[1] == pytest.approx(shares[0], abs=0.03)


def test_carry_over_keeps_the_share_above_the_limit():
    before = np.random.RandomState(0).rand(100)
    after = before**2 + 3
    for limit in (0.2, 0.9):
        moved = carry_over(limit, before, after)
        assert (after > moved).sum() == pytest.approx((before > limit).sum(), abs=1)
    assert carry_over(before.max() * 2, before, after) == pytest.approx(after.max() * 2)


def test_labels_that_held_out_ones_contradict_count_for_little():
    rng = np.random.RandomState(0)
    normal, nothing = rng.randn(300, 4), np.empty((0, 4))
    alike, unlike = rng.randn(20, 4) + np.array([3, 0, 0, 0]), 0.3 * rng.randn(20, 4)
    distances = [_fit_head(normal, odd, nothing)[2] for odd in (alike, unlike)]
    assert distances[0] > 2 > 0.5 > distances[1]


def test_the_likeness_has_mean_0_and_deviation_1_in_new_normal_rows():
    rng = np.random.RandomState(0)
    rows, new = rng.randn(100, 80), rng.randn(1000, 80)
    weights, shift, _ = _fit_head(rows, rows[:3] + rng.randn(3, 80), np.empty((0, 80)))
    likeness = new @ weights - shift
    assert abs(likeness.mean()) < 0.3
    assert likeness.std() == pytest.approx(1, abs=0.3)


def test_only_rows_like_the_known_anomalies_are_raised():
    lift = _lift(torch.linspace(-4, 4, 9), 2.5, 1.0)
    assert (lift.diff() > 0).all()
    assert 0 <= lift[:4].max() < 0.01  # likeness below 0
    assert lift[-1] > 5


def test_few_known_anomalies_raise_rows_by_little(plain, rows):
    raised = []
    for n_known in (1, 10):
        told = copy_of(plain).feedback(rows[1][:n_known], [-1] * n_known)
        raised.append(np.median(told.score_samples(rows[1]) / plain.score_samples(rows[1])))
    assert 1 < raised[0] < raised[1] / 10


def test_labels_that_say_nothing_change_no_score(told, rows):
    detector = copy_of(told)
    score = detector.detector_.score
    silent = replace(score, likeness=replace(score.likeness, distance=0.0))
    detector.detector_ = replace(detector.detector_, score=silent)
    plain = replace(detector.detector_, score=score.base)
    expected = plain.score_samples(rows[1])
    np.testing.assert_array_equal(detector.detector_.score_samples(rows[1]), expected)


def test_labels_of_one_kind_hide_few_anomalies_of_another(plain, rows):
    X, anomalies = rows
    others = np.random.RandomState(1).randn(60, 5)
    others[:, 0] -= 4
    told = copy_of(plain).feedback(anomalies[:10], [-1] * 10)
    y = np.repeat([1, 0], [200, 60])
    before, after = (
        roc_auc_score(y, detector.score_samples(np.concatenate([X, others])))
        for detector in (plain, told)
    )
    assert after > before - 0.04


def test_scores_with_labels_do_not_depend_on_the_batch(told, rows):
    everything = np.concatenate(rows)
    scores = told.score_samples(everything)
    np.testing.assert_array_equal(told.score_samples(everything[::7]), scores[::7])
    np.testing.assert_array_equal(told.score_samples(everything[3:4]), scores[3:4])


def test_explain_names_the_column_and_repair_makes_rows_normal(told, rows):
    odd = rows[1][10:20]
    odd = odd[told.predict(odd) == -1]
    assert (told.explain(odd).argmax(axis=1) == 2).mean() > 0.7
    assert (told.predict(told.repair(odd)) == 1).all()


def test_labelled_detectors_survive_files(told, rows, tmp_path):
    save(told, tmp_path / "model.aedetect")
    for other in (load(tmp_path / "model.aedetect"), copy_of(told)):
        np.testing.assert_array_equal(other.score_samples(rows[1]), told.score_samples(rows[1]))
        assert other.offset_ == told.offset_
        other.feedback(rows[1][:1], [-1])


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("likeness", {"distance": 1e9}),
        ("likeness", {"weights": np.zeros(3)}),
        (None, {"labels": 2}),
    ],
)
def test_a_state_that_contradicts_itself_is_refused(told, part, change):
    state = told.detector_.to_state()
    target = state["score"] if part is None else state["score"][part]
    target.update(change)
    with pytest.raises(StateError):
        Detector.from_state(state)


def test_onnx_has_the_score_with_labels(told, rows, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(to_onnx(told, tmp_path / "model.onnx"))
    (scores,) = session.run(["score_samples"], {"X": rows[1]})
    np.testing.assert_allclose(scores, told.score_samples(rows[1]), rtol=1e-3)


def test_missing_cells_and_categories_take_labels(rows):
    X, anomalies = (pd.DataFrame(part, columns=list("abcde")) for part in rows)
    for frame in (X, anomalies):
        frame["kind"] = np.where(frame["a"] > 0, "high", "low")
    X.loc[::9, "b"] = np.nan
    detector = detector_of(missing="mask").fit(X)
    before = detector.score_samples(anomalies)
    detector.feedback(anomalies[:10], [-1] * 10)
    assert (detector.score_samples(anomalies)[10:] < before[10:]).mean() > 0.9


@pytest.mark.parametrize(
    ("y", "rule"),
    [
        (None, "needs y"),
        (np.zeros(200), "needs a known anomaly"),
        (np.full(200, -1), "all but 0 of 200 rows"),
        (np.repeat([-1, 2], 100), "row 100 has 2"),
        (np.repeat(["a", "b"], 100), "row 0 has a"),
        (np.full(199, -1), "inconsistent numbers"),
    ],
)
def test_bad_labels_are_refused_and_nothing_is_lost(plain, rows, y, rule):
    detector = copy_of(plain).set_params(labels="use")
    with pytest.raises(ValueError, match=rule):
        detector.fit(rows[0], y)
    assert detector.detector_ is not None
    if y is not None and rule not in ("all but 0 of 200 rows", "needs a known anomaly"):
        with pytest.raises(ValueError, match=rule):
            detector.feedback(rows[0], y)


def test_feedback_refuses_what_it_cannot_use(plain, rows):
    detector, X = copy_of(plain), rows[0]
    with pytest.raises(ValueError, match="none is known"):
        detector.feedback(X[:3], [1, 1, 0])
    with pytest.raises(ValueError, match="5 features"):
        detector.feedback(X[:3, :4], [-1, -1, -1])
    np.testing.assert_array_equal(detector.score_samples(X), plain.score_samples(X))
    with pytest.raises(ValueError, match="partial_fit takes no labels"):
        detector.set_params(labels="use").partial_fit(X)


def test_an_error_of_a_row_names_its_number_among_all_rows(rows):
    X = np.concatenate([rows[1][:10], rows[0]]) * 1.0
    X[150, 1] = 1e300
    y = np.repeat([-1, 0], [10, 200])
    with pytest.raises(ValueError, match="row 150"):
        detector_of(labels="use", scaling=None).fit(X, y)


def test_labels_go_through_pipelines_and_searches(rows):
    X = np.concatenate([rows[0], rows[1]])
    y = np.repeat([1, -1], [200, 60])
    pipeline = make_pipeline(StandardScaler(), detector_of(labels="use"))
    grid = {"denoisingautoencoder__latent_dim": [1, 2]}
    search = GridSearchCV(pipeline, grid, scoring="roc_auc", cv=StratifiedKFold(2)).fit(X, y)
    assert search.best_score_ > 0.8


def test_no_known_anomaly_calibrates(rows):
    X, y = np.concatenate([rows[1][:10], rows[0]]), np.repeat([-1, 0], [10, 200])
    for cv in (None, 2):
        conformal = ConformalDetector(detector_of(labels="use"), cv=cv, random_state=0).fit(X, y)
        assert conformal.calibration_indices_.min() >= 10
        assert conformal.estimators_[0].detector_.score.name == "labelled"


def test_feedback_of_a_calibrated_detector_calibrates_again(rows):
    X, anomalies = rows
    inner = make_pipeline(StandardScaler(), detector_of())
    conformal = ConformalDetector(inner, random_state=0).fit(X[:150])
    fitted, before = conformal.estimator_, conformal.predict(anomalies[10:])
    conformal.feedback(anomalies[:10], [-1] * 10, X_normal=X[150:])
    assert len(conformal.calibration_scores_) == 50
    assert (conformal.predict(anomalies[10:]) == -1).mean() > (before == -1).mean()
    assert fitted[-1].detector_.score.name != "labelled"
    with pytest.raises(ValueError, match="call its own feedback"):
        ConformalDetector(fitted, prefit=True).fit(X).feedback(X[:1], [-1], X_normal=X)
    with pytest.raises(ValueError, match="feedback needs one inner detector"):
        ConformalDetector(clone(inner), cv=2).fit(X).feedback(X[:1], [-1], X_normal=X)


@pytest.fixture
def folder(plain, rows, tmp_path):
    names = list("abcde")
    frame = pd.DataFrame(rows[1], columns=names)
    frame.to_csv(tmp_path / "new.csv", index=False)
    frame[:10].assign(label=[-1] * 8 + [None, 1]).to_csv(tmp_path / "labelled.csv", index=False)
    pd.DataFrame({"row": range(2, 12), "label": [-1] * 8 + [None, 1]}).to_csv(
        tmp_path / "ids.csv", index=False
    )
    pd.DataFrame(rows[0], columns=names).to_csv(tmp_path / "normal.csv", index=False)
    save(plain, tmp_path / "model.aedetect")
    conformal = ConformalDetector(plain, random_state=0)
    save(conformal.fit(pd.DataFrame(rows[0], columns=names)), tmp_path / "calibrated.aedetect")
    return tmp_path


def test_the_command_takes_rows_and_numbers_of_rows(folder, plain, rows):
    model, out = str(folder / "model.aedetect"), str(folder / "out.aedetect")
    assert main(["feedback", model, str(folder / "labelled.csv"), "-o", out]) == 0
    ids = ["feedback", model, str(folder / "ids.csv"), "--rows", str(folder / "new.csv")]
    assert main(ids) == 0
    kept = np.arange(10) != 8
    expected = copy_of(plain).feedback(rows[1][:10][kept], np.repeat([-1, 1], [8, 1]))
    for path in (model, out):
        scores = load(path).score_samples(rows[1])
        np.testing.assert_allclose(scores, expected.score_samples(rows[1]))


def test_the_command_calibrates_again_and_says_what_it_lacks(folder, capsys):
    command = ["feedback", str(folder / "calibrated.aedetect"), str(folder / "labelled.csv")]
    assert main(command) == 1
    assert "--calibrate TABLE" in capsys.readouterr().err
    assert main([*command, "--calibrate", str(folder / "normal.csv")]) == 0
    assert "8 anomalies and 1 normal rows" in capsys.readouterr().err
    (folder / "far.csv").write_text("row,label\n62,-1\n")
    command = ["feedback", str(folder / "model.aedetect"), str(folder / "far.csv")]
    assert main([*command, "--rows", str(folder / "new.csv")]) == 1
    assert "rows 2 to 61" in capsys.readouterr().err


def test_the_report_lists_the_numbers_that_feedback_takes(plain, rows, tmp_path):
    page = report(plain, rows[1], path=tmp_path / "page.html", peers=False, n_rows=3).read_text()
    oddest = np.argsort(plain.score_samples(rows[1]))[:3]
    assert "row,label\n" + "".join(f"{row},\n" for row in oddest) in page
