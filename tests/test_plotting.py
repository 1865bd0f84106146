from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from sklearn.decomposition import PCA

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.plotting import (
    ArchitectureDisplay,
    LatentMapDisplay,
    LearningCurveDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
)

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def fitted(digits):
    return AutoencoderTransformer(4, max_epochs=3, random_state=0).fit(digits[0])


def picture_of(ax):
    return ax.images[0].get_array()


def test_rows_stand_above_their_reconstructions_with_their_scores(fitted, digits):
    X = digits[0][:3]
    display = ReconstructionDisplay.from_estimator(fitted, X)
    assert display.axes_.shape == (2, 3)
    for column, (row, restored) in enumerate(zip(X, fitted.reconstruct(X), strict=True)):
        above, below = display.axes_[:, column]
        np.testing.assert_array_equal(picture_of(above), row.reshape(8, 8))
        np.testing.assert_array_equal(picture_of(below), restored.reshape(8, 8))
        assert above.images[0].get_clim() == below.images[0].get_clim()
        assert above.get_title() == f"{fitted.score_samples(X)[column]:.3g}"


def test_noisy_copies_stand_between_rows_and_what_is_restored_from_them(digits):
    X = digits[0][:3]
    detector = DenoisingAutoencoder(4, max_epochs=3, random_state=0).fit(digits[0])
    display = ReconstructionDisplay.from_estimator(detector, X, noisy=True, random_state=1)
    noisy = detector.corrupt(X, random_state=1)
    for line, rows in zip(display.axes_, [X, noisy, detector.reconstruct(noisy)], strict=True):
        for ax, row in zip(line, rows, strict=True):
            np.testing.assert_array_equal(picture_of(ax), row.reshape(8, 8))
    assert [line[0].get_ylabel() for line in display.axes_] == ["row", "noisy", "reconstruction"]


def test_images_need_not_be_square_and_the_figure_can_be_given(fitted, digits):
    figure = matplotlib.figure.Figure()
    display = ReconstructionDisplay.from_estimator(
        fitted, digits[0][:2], image_shape=(4, 16), figure=figure
    )
    assert display.figure_ is figure
    assert picture_of(display.axes_[0, 0]).shape == (4, 16)


def test_colour_images_are_drawn_in_the_order_of_their_channels():
    X = np.random.RandomState(0).rand(20, 3 * 4 * 5)
    detector = AutoencoderTransformer(
        network="conv", image_shape=(3, 4, 5), max_epochs=1, random_state=0
    ).fit(X)
    display = ReconstructionDisplay.from_estimator(detector, X[:2])
    drawn = picture_of(display.axes_[0, 1])
    scaled = (X[1] - X[:2].min()) / (X[:2].max() - X[:2].min())
    np.testing.assert_allclose(drawn, scaled.reshape(3, 4, 5).transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("image_shape", "message"),
    [
        ((8, 9), r"image_shape=\(8, 9\) has 72 values, but X has 64"),
        ((4, 4, 4), r"image_shape=\(4, 4, 4\) has 4 channels; 1 or 3 can be drawn"),
    ],
)
def test_an_image_shape_that_does_not_fit_is_an_error(fitted, digits, image_shape, message):
    with pytest.raises(ValueError, match=message):
        ReconstructionDisplay.from_estimator(fitted, digits[0], image_shape=image_shape)


def test_samples_fill_a_grid(digits):
    detector = VAEDetector(4, max_epochs=2, random_state=0).fit(digits[0])
    display = SamplesDisplay.from_estimator(detector, 13, random_state=5)
    samples = detector.sample(13, random_state=5).reshape(13, 8, 8)
    assert display.axes_.shape == (2, 10)
    np.testing.assert_array_equal(picture_of(display.axes_[1, 2]), samples[12])
    assert not display.axes_[1, 3].axison


def test_learning_curve_shows_both_losses(fitted):
    display = LearningCurveDisplay.from_estimator(fitted)
    for line, name in zip(display.ax_.lines, ["loss", "val_loss"], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), fitted.history_[name])
    assert display.ax_.get_xlabel() == "epoch"


def test_learning_curve_without_held_out_rows_is_one_line(digits):
    detector = AutoencoderTransformer(4, max_epochs=2, validation_fraction=0).fit(digits[0])
    assert len(LearningCurveDisplay.from_estimator(detector).ax_.lines) == 1


def test_latent_map_shows_every_class_with_its_own_marker(digits):
    X, y = digits
    detector = AutoencoderTransformer(2, max_epochs=1, random_state=0).fit(X)
    ax = LatentMapDisplay.from_estimator(detector, X, y).ax_
    codes = detector.transform(X)
    for digit, points in enumerate(ax.collections):
        np.testing.assert_array_equal(points.get_offsets(), codes[y == digit])
        assert points.get_label() == str(digit)
    assert len({points.get_paths()[0].vertices.tobytes() for points in ax.collections}) == 10


def test_wide_codes_are_projected_and_pca_can_stand_beside(fitted, digits):
    X = digits[0]
    ax = LatentMapDisplay.from_estimator(fitted, X).ax_
    assert ax.collections[0].get_offsets().shape == (1797, 2)
    assert ax.get_xlabel() == "principal component 1 of the code"
    pca = PCA(2).fit(X)
    ax = LatentMapDisplay.from_estimator(pca, X).ax_
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), pca.transform(X))


def test_architecture_shows_every_layer_that_counts_with_the_code_at_the_waist(digits):
    detector = AutoencoderTransformer(
        3, network="conv", image_shape=(1, 8, 8), hidden_layer_sizes=(4, 2), max_epochs=1
    ).fit(digits[0][:50])
    ax = ArchitectureDisplay.from_estimator(detector).ax_
    summary = detector.summary()
    texts = [text.get_text() for text in ax.texts]
    counted = summary[summary["parameters"] > 0]
    assert len(texts) >= len(counted)
    for shape, n_parameters in zip(counted["output_shape"], counted["parameters"], strict=True):
        assert "x".join(map(str, shape)) + f"\n{n_parameters:,}" in texts
    heights = [bar.get_height() for bar in ax.patches]
    assert texts[int(np.argmin(heights))].startswith("3\n")
    assert ax.get_legend_handles_labels()[1] == ["encoder", "decoder"]
