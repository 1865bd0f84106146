from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from aedetect import AutoencoderTransformer
from aedetect.plotting import ReconstructionDisplay

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def fitted(digits):
    return AutoencoderTransformer(4, max_epochs=2, random_state=0).fit(digits[0])


def test_rows_stand_above_their_reconstructions_with_their_scores(fitted, digits):
    X = digits[0][:3]
    display = ReconstructionDisplay.from_estimator(fitted, X)
    assert display.axes_.shape == (2, 3)
    for column, (row, restored) in enumerate(zip(X, fitted.reconstruct(X), strict=True)):
        above, below = display.axes_[:, column]
        np.testing.assert_array_equal(above.images[0].get_array(), row.reshape(8, 8))
        np.testing.assert_array_equal(below.images[0].get_array(), restored.reshape(8, 8))
        assert above.images[0].get_clim() == below.images[0].get_clim()
        assert above.get_title() == f"{fitted.score_samples(X)[column]:.3g}"


def test_images_need_not_be_square_and_the_figure_can_be_given(fitted, digits):
    figure = matplotlib.figure.Figure()
    display = ReconstructionDisplay.from_estimator(
        fitted, digits[0][:2], image_shape=(4, 16), figure=figure
    )
    assert display.figure_ is figure
    assert display.axes_[0, 0].images[0].get_array().shape == (4, 16)


def test_an_image_shape_that_does_not_fit_is_an_error(fitted, digits):
    with pytest.raises(ValueError, match=r"image_shape=\(8, 9\) has 72 values, but X has 64"):
        ReconstructionDisplay.from_estimator(fitted, digits[0], image_shape=(8, 9))
