from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from scipy.stats import norm

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.plotting import ReconstructionDisplay, SamplesDisplay
from aedetect.plotting.images import HEAT_COLORS

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def fitted(digits):
    return AutoencoderTransformer(4, max_epochs=2, random_state=0).fit(digits[0][:200])


@pytest.fixture(scope="module")
def vae(digits):
    return VAEDetector(3, max_epochs=2, random_state=0).fit(digits[0][:200])


@pytest.fixture(scope="module")
def colour():
    """Return random colour images, and an estimator fitted to them."""
    X = np.random.RandomState(0).rand(20, 3 * 4 * 5)
    estimator = AutoencoderTransformer(image_shape=(3, 4, 5), max_epochs=1, random_state=0)
    return X, estimator.fit(X)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    matplotlib.pyplot.close("all")


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


def test_noisy_copies_stand_between_rows_and_their_reconstructions(digits):
    X = digits[0][:3]
    detector = DenoisingAutoencoder(4, max_epochs=1, random_state=0).fit(digits[0][:200])
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


def test_colour_images_are_drawn_in_the_order_of_their_channels(colour):
    X, detector = colour
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


def test_samples_fill_a_grid(vae):
    display = SamplesDisplay.from_estimator(vae, 13, random_state=5)
    samples = vae.sample(13, random_state=5).reshape(13, 8, 8)
    assert display.axes_.shape == (2, 10)
    np.testing.assert_array_equal(picture_of(display.axes_[1, 2]), samples[12])
    assert not display.axes_[1, 3].axison


def test_a_heat_map_shows_the_contributions_of_pixels_on_its_own_scale(fitted, digits):
    X = digits[0][:3]
    assert ReconstructionDisplay.from_estimator(fitted, X).axes_.shape == (2, 3)
    display = ReconstructionDisplay.from_estimator(fitted, X, heat_map=True)
    contributions = fitted.explain(X)
    assert display.axes_.shape == (3, 3)
    for ax, heat in zip(display.axes_[2], contributions, strict=True):
        np.testing.assert_array_equal(picture_of(ax), heat.reshape(8, 8))
        assert ax.images[0].get_clim() == (0, contributions.max())
    assert display.axes_[2, 0].get_ylabel() == "heat map"
    assert "contribution of each pixel" in display.figure_.axes[-1].get_xlabel()


def test_the_heat_map_darkens_evenly_so_that_grey_printers_keep_its_order():
    red, green, blue, _ = matplotlib.colormaps[HEAT_COLORS](np.linspace(0, 1, 64)).T
    assert (np.diff(0.299 * red + 0.587 * green + 0.114 * blue) < 0).all()


def test_heat_maps_of_colour_images_add_their_channels(colour):
    X, detector = colour
    display = ReconstructionDisplay.from_estimator(detector, X[:2], heat_map=True)
    heat = detector.explain(X[:2]).reshape(2, 3, 4, 5).sum(axis=1)
    np.testing.assert_allclose(picture_of(display.axes_[2, 1]), heat[1])


def test_a_grid_of_samples_spans_the_prior_along_two_dimensions(vae):
    display = SamplesDisplay.from_estimator(vae, 11, grid=True, dimensions=(2, 0))
    assert display.axes_.shape == (3, 3)
    quantile = norm.ppf(0.95)
    corner = vae.inverse_transform([[quantile, 0, -quantile]]).reshape(8, 8)
    np.testing.assert_allclose(picture_of(display.axes_[0, 0]), corner)
    assert display.axes_[0, 0].get_ylabel() == f"{quantile:.2g}"
    assert display.axes_[2, 0].get_xlabel() == f"{-quantile:.2g}"
    assert display.figure_.get_supxlabel().startswith("code 3")
    assert display.figure_.get_supylabel() == "code 1"


@pytest.mark.parametrize("dimensions", [(0, 0), (0, 3), (-1, 0)])
def test_a_grid_needs_two_dimensions_of_the_code(vae, dimensions):
    with pytest.raises(ValueError, match="two different numbers from 0 to 2"):
        SamplesDisplay.from_estimator(vae, grid=True, dimensions=dimensions)
