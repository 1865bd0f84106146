"""Histograms of scores, and contributions to the anomaly of one row."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aedetect import AutoencoderTransformer
from aedetect.plotting import ContributionsDisplay, ScoreDistributionDisplay

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    matplotlib.pyplot.close("all")


@pytest.fixture(scope="module")
def rows(table):
    """Return rows of which the last six are anomalies, and their labels."""
    anomalies = table[:6] + 5 * table.std(axis=0) * np.array([1, -1, 1, -1, 1])
    return np.vstack([table, anomalies]), np.repeat([1, -1], [len(table), 6])


@pytest.fixture(scope="module")
def detector(table):
    return AutoencoderTransformer(2, max_epochs=50, random_state=0).fit(table)


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# Score distribution.


def test_bars_right_of_the_threshold_are_the_flagged_rows(detector, rows):
    X, _ = rows
    ax = ScoreDistributionDisplay.from_estimator(detector, X, bins=500).ax_
    threshold = ax.lines[0].get_xdata()[0]
    n_flagged = (detector.predict(X) == -1).sum()
    assert threshold == -detector.offset_
    right = sum(bar.get_height() for bar in ax.patches if bar.get_x() > threshold)
    assert 0 < n_flagged == pytest.approx(right, abs=1)
    assert sum(bar.get_height() for bar in ax.patches) == len(X)
    assert f", {n_flagged} rows above" in legend_of(ax)[0]
    assert "-score_samples" in ax.get_xlabel()


def test_classes_differ_in_hatch_and_line_and_each_adds_up_to_one(detector, rows):
    X, y = rows
    ax = ScoreDistributionDisplay.from_estimator(detector, X, y, scale="linear", bins=7).ax_
    assert legend_of(ax)[:2] == ["normal (60 rows)", "anomaly (6 rows)"]
    normal, anomaly = ax.patches
    assert normal.get_hatch() != anomaly.get_hatch()
    assert normal.get_linestyle() != anomaly.get_linestyle()
    assert normal.get_xy()[:, 1].max() <= 1 + 1e-9
    assert np.median(anomaly.get_xy()[:, 0]) > -detector.offset_


def test_many_classes_are_outlines(detector, rows):
    X, _ = rows
    y = np.arange(len(X)) % 4
    ax = ScoreDistributionDisplay.from_estimator(detector, X, y).ax_
    assert len({patch.get_linestyle() for patch in ax.patches}) == 4
    assert all(patch.get_facecolor()[3] == 0 for patch in ax.patches)


@pytest.mark.parametrize(
    ("scores", "scale"),
    [
        (-np.linspace(1, 2, 50), "linear"),
        (-np.logspace(0, 6, 50), "log"),
        (np.r_[0, -np.logspace(0, 6, 50)], "symlog"),
        (np.r_[np.logspace(0, 6, 50), -np.logspace(0, 6, 50)], "symlog"),
        (np.full(9, -3.0), "linear"),
        (np.zeros(9), "linear"),
    ],
)
def test_the_axis_follows_the_tails_and_every_row_is_in_a_bar(scores, scale):
    ax = ScoreDistributionDisplay.from_predictions(scores).ax_
    assert ax.get_xscale() == scale
    assert sum(bar.get_height() for bar in ax.patches) == len(scores)
    assert ScoreDistributionDisplay.from_predictions(scores, scale="linear").ax_.get_xscale() == (
        "linear"
    )
    assert not ax.lines  # no threshold was given


def test_bins_is_the_number_of_bars(detector, rows):
    for bins in (5, 9):
        ax = ScoreDistributionDisplay.from_estimator(detector, rows[0], bins=bins).ax_
        assert len(ax.patches) == bins


def test_a_pipeline_and_another_detector_have_thresholds_too(rows):
    X, _ = rows
    forest = IsolationForest(random_state=0).fit(X)
    pipeline = make_pipeline(StandardScaler(), IsolationForest(random_state=0)).fit(X)
    for estimator, offset in ((forest, forest.offset_), (pipeline, pipeline[-1].offset_)):
        ax = ScoreDistributionDisplay.from_estimator(estimator, X).ax_
        assert ax.lines[0].get_xdata()[0] == -offset


def test_class_names_are_text_and_never_formulas():
    y = ["$x^2$", "_hidden", "a\nb", "n" * 99] * 5
    ax = ScoreDistributionDisplay.from_predictions(np.arange(20), y).ax_
    texts = ax.get_legend().get_texts()
    ax.figure.canvas.draw()
    assert len(texts) == 4
    assert all(len(text.get_text()) < 50 for text in texts)
    assert not any(matplotlib.cbook.is_math_text(text.get_text()) for text in texts)


# Contributions.


def test_the_longest_bar_is_on_top_and_labels_give_value_and_reconstruction(detector, table):
    row = table[:1] + np.array([0, 0, 3, 0, 0])
    display = ContributionsDisplay.from_estimator(detector, row, max_features=2)
    contributions, expected = detector.explain(row)[0], detector.reconstruct(row)[0]
    bars = [bar.get_width() for bar in display.ax_.patches]
    order = np.argsort(-contributions)
    np.testing.assert_allclose(bars[:2], contributions[order[:2]])
    np.testing.assert_allclose(bars[2], contributions[order[2:]].sum())
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    top = order[0]
    assert labels[0] == f"x{top} = {row[0, top]:.4g} (reconstruction {expected[top]:.4g})"
    assert labels[2] == "the other 3 together"
    assert display.ax_.yaxis_inverted()


def test_columns_of_a_frame_name_the_features(table):
    frame = pd.DataFrame(table, columns=["$a$", "b_c", "d", "e", "f"])
    detector = AutoencoderTransformer(2, max_epochs=2, random_state=0).fit(frame)
    ax = ContributionsDisplay.from_estimator(detector, frame.iloc[[3]]).ax_
    ax.figure.canvas.draw()
    names = {label.get_text().split(" = ")[0] for label in ax.get_yticklabels()}
    assert names == {r"\$a\$", "b_c", "d", "e", "f"}
    assert len(ax.patches) == 5  # nothing is left for a last bar


def test_contributions_can_stand_without_values():
    ax = ContributionsDisplay.from_predictions([1.0, 3.0], names=["low", "high"]).ax_
    assert [label.get_text() for label in ax.get_yticklabels()] == ["high", "low"]
    ax = ContributionsDisplay.from_predictions([1.0, 3.0], values=[7, 8], reconstruction=[1, 2]).ax_
    assert ax.get_yticklabels()[0].get_text() == "x1 = 8 (reconstruction 2)"


def test_more_than_one_row_is_an_error(detector, table):
    with pytest.raises(ValueError, match=r"draws one row, .* \(3, 5\)"):
        ContributionsDisplay.from_estimator(detector, table[:3])
