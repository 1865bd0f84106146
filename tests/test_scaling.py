"""Location and scale of columns, and what becomes of wild cells."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.datasets
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from aedetect import DenoisingAutoencoder, VAEDetector
from aedetect.model.scaling import fit_scaling

WILD = {"large": 1e6, "sentinel": -9999.0, "extreme": 1e300}


def correlated(n_rows, seed=0):
    rng = np.random.RandomState(seed)
    return rng.randn(n_rows, 2) @ np.random.RandomState(9).randn(2, 6) + 0.3 * rng.randn(n_rows, 6)


def with_wild(X, value, share=0.002, seed=1):
    return np.where(np.random.RandomState(seed).rand(*X.shape) < share, value, X)


CLEAN = {
    "normal": lambda rng: rng.randn(1000, 5) * [1, 10, 1e-3, 1e6, 1] + [0, 1e6, 0, 0, 5],
    "lognormal": lambda rng: rng.lognormal(0, 1, (1000, 5)),
    "exponential": lambda rng: rng.exponential(size=(1000, 5)),
    "counts": lambda rng: rng.poisson([0.05, 1, 3, 10, 100], (1000, 5)).astype(float),
    "mostly zero": lambda rng: (rng.rand(1000, 5) < 0.01) * rng.lognormal(0, 1, (1000, 5)),
    "binary": lambda rng: (rng.rand(1000, 5) < [0.001, 0.01, 0.1, 0.5, 0.9]).astype(float),
    "constant": lambda rng: np.tile([0.0, 1.0, -3.0, 1e6, 0.1], (1000, 1)),
    "an exception": lambda rng: np.r_[np.ones((999, 5)), [[1e6, 2, -9999, 0, 1]]],
    "a tenth are codes": lambda rng: np.where(rng.rand(1000, 5) < 0.1, -999, rng.randn(1000, 5)),
    "cancer": lambda rng: sklearn.datasets.load_breast_cancer().data,
    "wine": lambda rng: sklearn.datasets.load_wine().data,
}


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_clean_table_is_standardised_to_the_bit(name, dtype):
    X = CLEAN[name](np.random.RandomState(0)).astype(dtype)
    scaling, expected = fit_scaling(X, "standard", "mse"), StandardScaler().fit(X)
    np.testing.assert_array_equal(scaling.location, expected.mean_)
    np.testing.assert_array_equal(scaling.scale, expected.scale_)
    np.testing.assert_array_equal(
        scaling.apply(X), ((X - expected.mean_) / expected.scale_).astype(np.float32)
    )
    assert scaling.tame(X) is X


def test_clean_images_keep_one_scale():
    X = sklearn.datasets.load_digits().data
    scaling = fit_scaling(X, "auto", "mse")
    assert len(set(scaling.scale)) == 1
    assert scaling.scale[0] == np.sqrt(StandardScaler().fit(X).var_.mean())
    assert scaling.tame(X) is X


@pytest.mark.parametrize("value", WILD.values(), ids=WILD)
@pytest.mark.parametrize("scaling", ["standard", "common"])
@pytest.mark.parametrize("missing", [False, True])
def test_wild_cells_have_no_part_in_location_and_scale(value, scaling, missing):
    X = correlated(1000)
    holed = with_wild(X, np.nan)
    wild = with_wild(with_wild(X, np.nan, seed=2) if missing else X, value)
    expected = fit_scaling(np.where(np.isnan(holed) | np.isnan(wild), np.nan, X), scaling, "mse")
    found = fit_scaling(wild, scaling, "mse")
    np.testing.assert_allclose(found.location, expected.location, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.scale, expected.scale, rtol=1e-12)


@pytest.mark.parametrize(
    "X", [sklearn.datasets.load_digits().data, correlated(500) * 10.0 ** np.arange(6)]
)
def test_a_wild_cell_does_not_change_whether_columns_share_a_unit(X):
    wild = X.copy()
    wild[3, 4] = 1e9
    for table in (X, wild):
        assert (len(set(fit_scaling(table, "auto", "mse").scale)) == 1) == (X.shape[1] == 64)


@pytest.mark.parametrize("scaling", ["standard", "common"])
def test_wild_cells_keep_their_order_and_come_back(scaling):
    fitted = fit_scaling(correlated(500), scaling, "mse")
    X = np.outer(
        np.r_[-(10.0 ** np.arange(300, -3, -1)), 0, 10.0 ** np.arange(-2, 301)], np.ones(6)
    )
    scaled = fitted.apply(X)
    assert np.isfinite(scaled).all()
    assert (np.abs(scaled) < 1000).all()
    assert (np.diff(scaled, axis=0) > 0).all()
    # float32 keeps seven digits of the logarithm.
    np.testing.assert_allclose(fitted.invert(scaled), X, rtol=1e-4, atol=1e-6)


def test_without_scaling_there_are_no_fences():
    X = with_wild(correlated(200), 1e6)
    for fitted in (fit_scaling(X, None, "mse"), fit_scaling(X, "auto", "bce")):
        np.testing.assert_array_equal(fitted.apply(X), X.astype(np.float32))
        assert fitted.tame(X) is X


def test_a_column_that_has_moved_is_trained_on_as_it_is():
    fitted = fit_scaling(correlated(500), "standard", "mse")
    moved = correlated(500) + 1e4
    assert fitted.tame(moved) is moved


def subtle(n_rows):
    """Return rows in which one cell is that of another row."""
    X, others = correlated(n_rows, seed=5), correlated(n_rows, seed=6)
    cells = np.random.RandomState(7).randint(6, size=n_rows)
    X[np.arange(n_rows), cells] = others[np.arange(n_rows), cells]
    return X


def test_a_few_wild_cells_do_not_hide_subtle_anomalies():
    X, fresh, odd = correlated(1000), correlated(600, seed=4), subtle(600)
    y = np.repeat([1, -1], 600)
    detectors = {
        name: DenoisingAutoencoder(random_state=0, max_epochs=15).fit(rows)
        for name, rows in (
            ("clean", X),
            ("few", with_wild(X, 1e6)),
            ("sentinels", with_wild(X, -9999.0, share=0.01)),
        )
    }
    found = {
        name: roc_auc_score(y, detector.score_samples(np.r_[fresh, odd]))
        for name, detector in detectors.items()
    }
    assert found["clean"] > 0.7
    assert min(found.values()) > found["clean"] - 0.02
    for detector in detectors.values():  # wild cells are still the oddest, and named
        wild = fresh[:20].copy()
        wild[:, 2] = 1e6
        assert detector.score_samples(wild).max() < detector.score_samples(odd).min()
        assert (detector.explain(wild[:3]).argmax(axis=1) == 2).all()


@pytest.mark.parametrize("settings", [{}, {"missing": "mask"}, {"scaling": "common"}], ids=str)
@pytest.mark.parametrize("value", WILD.values(), ids=WILD)
def test_every_method_takes_wild_cells(settings, value):
    X = with_wild(correlated(300), value)
    detector = DenoisingAutoencoder(max_epochs=3, random_state=0, **settings).fit(X)
    wild = X[(value == X).any(axis=1)][:2]
    assert (detector.predict(wild) == -1).all()
    for answer in (detector.corrupt, detector.transform, detector.explain, detector.repair):
        assert np.isfinite(answer(wild)).all()
    assert np.abs(detector.repair(wild)).max() < 100
    sampler = VAEDetector(max_epochs=3, random_state=0, **settings).fit(X)
    assert np.isfinite(sampler.sample(20, random_state=0)).all()
