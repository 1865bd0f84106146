"""Learning curves and maps of codes."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aedetect import AutoencoderTransformer
from aedetect.model.scaling import fit_scaling
from aedetect.plotting import LatentMapDisplay, LearningCurveDisplay

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def fitted(digits):
    return AutoencoderTransformer(4, max_epochs=3, random_state=0).fit(digits[0][:300])


@pytest.fixture(autouse=True)
def close_figures():
    yield
    matplotlib.pyplot.close("all")


def offsets_of(ax):
    return np.asarray(ax.collections[0].get_offsets())


def test_learning_curve_shows_both_losses(fitted):
    display = LearningCurveDisplay.from_estimator(fitted)
    for line, name in zip(display.ax_.lines, ["loss", "val_loss"], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), fitted.history_[name])
    assert display.ax_.get_xlabel() == "epoch"


def test_learning_curve_without_held_out_rows_is_one_line(digits):
    detector = AutoencoderTransformer(4, max_epochs=2, validation_fraction=0).fit(digits[0][:100])
    assert len(LearningCurveDisplay.from_estimator(detector).ax_.lines) == 1


def test_latent_map_shows_every_class_with_its_own_marker(digits):
    X, y = (part[:300] for part in digits)
    detector = AutoencoderTransformer(2, max_epochs=1, random_state=0).fit(X)
    ax = LatentMapDisplay.from_estimator(detector, X, y).ax_
    codes = detector.transform(X)
    for digit, points in enumerate(ax.collections):
        np.testing.assert_array_equal(points.get_offsets(), codes[y == digit])
        assert points.get_label() == str(digit)
    assert len({points.get_paths()[0].vertices.tobytes() for points in ax.collections}) == 10


def test_wide_codes_are_projected_and_pca_can_stand_beside(fitted, digits):
    X = digits[0][:300]
    ax = LatentMapDisplay.from_estimator(fitted, X).ax_
    assert ax.collections[0].get_offsets().shape == (300, 2)
    assert ax.get_xlabel() == "principal component 1 of the code"
    pca = PCA(2).fit(X)
    ax = LatentMapDisplay.from_estimator(pca, X).ax_
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), pca.transform(X))


def test_a_loss_that_falls_far_is_drawn_on_a_logarithm():
    far = {"loss": np.array([100.0, 10, 1]), "val_loss": np.full(3, np.nan)}
    near = {"loss": np.array([3.0, 2, 1]), "val_loss": np.full(3, np.nan)}
    assert LearningCurveDisplay(far).plot().ax_.get_yscale() == "log"
    assert LearningCurveDisplay(near).plot().ax_.get_yscale() == "linear"


def test_the_rarest_class_lies_on_top(fitted, digits):
    X = digits[0][:300]
    for n_normal in (20, 280):
        y = np.where(np.arange(300) < n_normal, 1, -1)
        below, above = sorted(
            LatentMapDisplay.from_estimator(fitted, X, y).ax_.collections,
            key=lambda points: points.get_zorder(),
        )
        assert len(below.get_offsets()) > len(above.get_offsets())
        assert below.get_alpha() < above.get_alpha()


def test_rows_that_are_not_flagged_lie_on_top_where_they_are_few(fitted, digits):
    X = digits[0][:300]
    scores = fitted.score_samples(X)
    for share in (0.1, 0.9):
        offset = np.quantile(scores, share)
        display = LatentMapDisplay(X[:, :2], None, ("a", "b"), scores, offset)
        everyone, flagged = display.plot().ax_.collections
        assert (everyone.get_zorder() > flagged.get_zorder()) == (share > 0.5)
        is_last_flagged = everyone.get_array()[-1] > -offset
        assert is_last_flagged == (share < 0.5)


def test_without_classes_points_are_coloured_by_score_and_flagged_ones_are_triangles(
    fitted, digits
):
    X = digits[0]
    ax = LatentMapDisplay.from_estimator(fitted, X).ax_
    everyone, flagged = ax.collections
    scores = fitted.score_samples(X)
    np.testing.assert_array_equal(everyone.get_array(), np.sort(-scores))
    assert len(flagged.get_offsets()) == (fitted.predict(X) == -1).sum()
    assert (flagged.get_array() > -fitted.offset_).all()
    assert flagged.get_sizes() > everyone.get_sizes()
    assert "anomaly score" in ax.figure.axes[-1].get_ylabel()


def test_a_code_of_two_dimensions_can_be_projected_as_well(digits):
    X = digits[0][:100]
    detector = AutoencoderTransformer(2, max_epochs=1, random_state=0).fit(X)
    ax = LatentMapDisplay.from_estimator(detector, X, np.ones(100), projection="pca").ax_
    expected = PCA(2, random_state=0).fit_transform(detector.transform(X))
    np.testing.assert_allclose(offsets_of(ax), expected)


def test_tsne_starts_from_the_principal_components(fitted, digits):
    X = digits[0][:60]
    ax = LatentMapDisplay.from_estimator(fitted, X, np.ones(60), projection="tsne").ax_
    tsne = TSNE(perplexity=59 / 3, init="pca", random_state=0)
    np.testing.assert_array_equal(offsets_of(ax), tsne.fit_transform(fitted.transform(X)))
    assert ax.get_xlabel() == "t-SNE 1 of the code"


def test_pca_of_the_rows_stands_beside_the_codes(fitted, digits):
    X, y = (part[:300] for part in digits)
    display = LatentMapDisplay.from_estimator(fitted, X, y, beside_pca=True)
    scaled = fit_scaling(X, "auto", "mse").apply(X)
    expected = PCA(2, random_state=0).fit_transform(scaled)
    np.testing.assert_allclose(offsets_of(display.pca_ax_), expected[y == 0])
    assert display.pca_ax_.get_xlabel() == "principal component 1 of the rows"
    assert LatentMapDisplay.from_estimator(fitted, X, y).pca_ax_ is None


def test_two_maps_go_where_two_axes_are_given_and_one_axes_is_an_error(fitted, digits):
    X = digits[0][:50]
    axes = matplotlib.figure.Figure().subplots(1, 2)
    display = LatentMapDisplay.from_estimator(fitted, X, beside_pca=True, ax=axes)
    assert (display.ax_, display.pca_ax_) == tuple(axes)
    with pytest.raises(ValueError, match="2 maps need as many axes, but ax holds 1"):
        LatentMapDisplay.from_estimator(fitted, X, beside_pca=True, ax=axes[0])


def test_a_code_of_one_dimension_and_a_pipeline_have_a_map(table):
    pipeline = make_pipeline(
        StandardScaler(), AutoencoderTransformer(1, max_epochs=1, random_state=0)
    ).fit(table)
    ax = LatentMapDisplay.from_estimator(pipeline, table).ax_
    assert set(offsets_of(ax)[:, 0]) == set(pipeline.transform(table)[:, 0])


def test_an_unknown_projection_is_an_error(fitted, digits):
    with pytest.raises(ValueError, match="'auto', 'pca' or 'tsne', but it is 'umap'"):
        LatentMapDisplay.from_estimator(fitted, digits[0], projection="umap")
