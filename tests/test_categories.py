"""Tables with categorical columns."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector, load, save
from aedetect.blocks import Blocks
from aedetect.estimators.tables import check_new_rows
from aedetect.losses import feature_errors
from aedetect.model import Coding, StateError, fit_categories, fit_columns
from aedetect.scoring import SCORES
from aedetect.scoring.score import Reference

CITIES = {"Berlin": 10.0, "Hamburg": 30.0, "Munich": 20.0}
OF_CODES = {"relative", "mahalanobis", "latent_neighbors"}  # which need not tell of one column
SMALL = {"hidden_layer_sizes": (16,), "latent_dim": 3, "random_state": 0}


def customers(n=300, seed=0):
    """Return rows in which the city tells the price, and the kind follows from the price."""
    rng = np.random.RandomState(seed)
    city = rng.choice(list(CITIES), n, p=[0.5, 0.2, 0.3])
    price = np.array([CITIES[name] for name in city]) + rng.randn(n)
    return pd.DataFrame(
        {
            "price": price,
            "city": city,
            "member": rng.rand(n) < 0.3,
            "kind": pd.Categorical(np.where(price > 15, "big", "small")),
            "visits": rng.randint(0, 5, n),
        }
    )


def with_cell(frame, column, value, row=0):
    """Return a copy with one cell changed."""
    changed = frame.astype({column: object})
    changed.iloc[row, frame.columns.get_loc(column)] = value
    return changed


@pytest.fixture(scope="module")
def detector():
    return DenoisingAutoencoder(random_state=0).fit(customers())


@pytest.fixture(scope="module")
def new():
    return customers(60, seed=1)


# Which columns are categories.


def coding_of(detector):
    return detector.detector_.model.columns.coding


def test_text_booleans_and_categories_of_a_frame_are_categories(detector):
    coding = coding_of(detector)
    assert coding.columns == [1, 2, 3]
    assert coding.categories[1].levels == ["Berlin", "Hamburg", "Munich"]
    assert coding.categories[2].levels == [False, True]
    np.testing.assert_array_equal(detector.feature_names_in_, customers().columns)


@pytest.mark.parametrize("make", [pl.from_pandas, lambda frame: frame.convert_dtypes()])
def test_frames_of_other_kinds_give_the_same_scores(make, detector, new):
    fitted = clone(detector).fit(make(customers()))
    np.testing.assert_array_equal(fitted.score_samples(make(new)), detector.score_samples(new))


@pytest.mark.parametrize(
    "asked", [[0, 2], np.array([True, False, True]), ["a", "c"]], ids=["numbers", "mask", "names"]
)
def test_named_columns_of_an_array_are_categories(asked):
    X = np.random.RandomState(0).randint(0, 4, (80, 3)).astype(float)
    if isinstance(asked, list) and asked[0] == "a":
        X = pd.DataFrame(X, columns=["a", "b", "c"])
    detector = DenoisingAutoencoder(categorical_features=asked, max_epochs=5, **SMALL).fit(X)
    assert coding_of(detector).columns == [0, 2]
    assert coding_of(detector).categories[0].levels == [0.0, 1.0, 2.0, 3.0]
    others = clone(detector).set_params(categorical_features=None).fit(X)
    assert not np.allclose(others.score_samples(X), detector.score_samples(X))
    assert isinstance(detector.reconstruct(X), pd.DataFrame)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["town"], "names the column 'town', which X does not have"),
        ([7], "numbers of columns from 0 to 4"),
        ([True, False], "a mask of 2 columns, but X has 5"),
    ],
)
def test_columns_that_are_not_there_are_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(categorical_features=asked).fit(customers())


def test_names_need_a_frame():
    with pytest.raises(ValueError, match="X is not a DataFrame"):
        DenoisingAutoencoder(categorical_features=["a"]).fit(np.zeros((9, 2)))


def test_none_refuses_text_and_names_the_cell():
    with pytest.raises(ValueError, match=r"column 'city' holds '.*' in row 0.*categorical_f"):
        DenoisingAutoencoder(categorical_features=None).fit(customers())


def test_objects_that_are_numbers_stay_numbers(new):
    frame = new.astype({"visits": object})
    assert coding_of(DenoisingAutoencoder(max_epochs=2).fit(frame)).columns == [1, 2, 3]


# What a column weighs.


def test_the_weight_of_a_column_does_not_depend_on_its_levels():
    """A network that knows the shares alone has the error 1 in every column, of numbers too."""
    rng = np.random.RandomState(0)
    cells = {n: rng.randint(0, n, 3_000).astype(str) for n in (2, 5, 50)}
    categories = {1 + i: fit_categories(values) for i, values in enumerate(cells.values())}
    coding = Coding(4, categories)
    codes = [categories[1 + i].encode(values) for i, values in enumerate(cells.values())]
    X = np.column_stack([rng.randn(3_000), *codes])
    columns = fit_columns(X, coding, "standard", "mse")
    x = torch.from_numpy(columns.apply(X))
    logits = torch.cat([torch.zeros(1), torch.from_numpy(columns.blocks.shares).log()])
    errors = columns.sum_entries(feature_errors(logits.expand_as(x), x, "mse", columns.blocks))
    np.testing.assert_allclose(errors.mean(dim=0), 1, atol=0.02)
    other = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    distances = columns.sum_entries((x - other).square()).mean(dim=0)
    np.testing.assert_allclose(distances, 2, atol=0.15)


def test_errors_have_the_slope_that_autograd_finds():
    blocks = Blocks(
        1,
        (2, 3),
        np.array([0.9, 0.1, 0.5, 0.4, 0.1], np.float32),
        np.array([3.0, 3.0, 1.2, 1.2, 1.2], np.float32),
    )
    entries = blocks.scaled(torch.eye(5)[[0, 1]] + torch.eye(5)[[4, 2]])
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (expected,) = torch.autograd.grad(blocks.errors(logits, entries).sum(), logits)
    losses, slope = blocks.losses_and_slope(logits, entries)
    torch.testing.assert_close(slope, expected)
    torch.testing.assert_close(losses, blocks.errors(logits, entries).sum(dim=1))


# Scores.


@pytest.fixture(scope="module")
def vae():
    return VAEDetector(max_epochs=60, random_state=0).fit(customers())


def with_score(detector, score, X):
    """Return the detector with another score of the same network."""
    model = detector.detector_.model
    reference = Reference(model.scale(check_new_rows(detector, X)), n_held_out=30)
    twin = copy.copy(detector)
    fitted = SCORES[score].fit(score, model, reference)
    twin.detector_ = dataclasses.replace(detector.detector_, score=fitted)
    return twin


@pytest.mark.parametrize("score", [name for name in SCORES if name not in OF_CODES])
def test_every_score_finds_a_level_that_contradicts_the_row(score, vae, new):
    detector = with_score(vae, score, customers())
    wrong = new.assign(city=new["city"].map({"Berlin": "Munich", "Munich": "Hamburg"}))
    wrong["city"] = wrong["city"].fillna("Berlin")
    assert detector.score_samples(wrong).mean() < detector.score_samples(new).mean()
    parts = detector.explain(wrong)
    assert list(parts.columns) == list(new.columns)
    assert (parts.to_numpy() >= 0).all()
    if detector.detector_.is_sum:
        np.testing.assert_allclose(parts.sum(axis=1), -detector.score_samples(wrong))


def test_a_level_that_fit_never_saw_is_as_odd_as_a_rare_one_and_is_named():
    frame = customers(600)
    frame.loc[:1, "city"] = "Ulm"
    detector = DenoisingAutoencoder(random_state=0).fit(frame)
    usual = customers(40, seed=2)
    scores = [detector.score_samples(usual.assign(city=c)).mean() for c in ("Berlin", "Ulm", "X")]
    assert scores[2] <= scores[1] < scores[0]
    explained = detector.explain(usual.assign(city="never seen"))
    assert (explained.idxmax(axis=1) == "city").mean() > 0.9


@pytest.mark.parametrize("missing", ["error", "mask"])
def test_a_missing_cell_is_a_level_or_is_filled(missing):
    frame = customers()
    frame["city"] = frame["city"].where(np.random.RandomState(0).rand(len(frame)) > 0.1)
    detector = DenoisingAutoencoder(missing=missing, random_state=0).fit(frame)
    levels = coding_of(detector).categories[1].levels
    assert (None in levels) == (missing == "error")
    new = customers(60, seed=1)
    holed = new.assign(city=None)
    assert np.isfinite(detector.score_samples(holed)).all()
    if missing == "mask":
        assert (detector.reconstruct(holed)["city"] == new["city"]).mean() > 0.9
        assert (detector.explain(holed)["city"] == 0).all()


def test_a_missing_cell_that_fit_never_saw_is_odd(detector, new):
    holed = detector.score_samples(new.assign(city=None))
    assert holed.mean() < 3 * detector.score_samples(new).mean()


def test_rare_levels_share_an_entry():
    rng = np.random.RandomState(0)
    levels = np.concatenate([np.arange(400), rng.randint(0, 250, 3_600)])
    frame = pd.DataFrame({"x": rng.randn(4_000), "word": [f"w{level}" for level in levels]})
    detector = AutoencoderTransformer(max_epochs=1, **SMALL).fit(frame)
    categories = coding_of(detector).categories[1]
    assert len(categories.levels) == 255
    assert categories.counts.sum() == 4_000
    assert categories.counts[-1] == 145
    assert set(detector.reconstruct(frame)["word"]) <= set(categories.levels)


def test_true_is_not_one_and_one_is_one_point_zero():
    levels = fit_categories(np.array([True, 1, 1.0, "1", None, np.nan, pd.NA], object)).levels
    assert levels == [True, 1, "1", None]
    assert [type(level) for level in levels[:3]] == [bool, int, str]


# Rows out.


def test_rows_come_back_with_columns_and_levels(detector, new):
    restored = detector.reconstruct(new)
    assert list(restored.columns) == list(new.columns)
    assert restored["kind"].dtype == new["kind"].dtype
    assert restored["member"].dtype == bool
    assert (restored["city"] == new["city"]).mean() > 0.8
    codes = detector.transform(new)
    pd.testing.assert_frame_equal(
        detector.inverse_transform(codes).astype({"kind": str}),
        restored.astype({"kind": str}),
    )


def test_polars_rows_come_back_as_polars(detector, new):
    restored = detector.reconstruct(pl.from_pandas(new))
    assert isinstance(restored, pl.DataFrame)
    assert set(restored["city"]) <= set(CITIES)


@pytest.mark.parametrize("noise", ["gaussian", "masking", "salt_and_pepper"])
def test_noise_gives_levels_that_exist(noise, new):
    detector = DenoisingAutoencoder(noise=noise, noise_level=0.9, max_epochs=2, **SMALL)
    noisy = detector.fit(customers()).corrupt(new, random_state=0)
    assert set(noisy["city"]) <= set(CITIES)
    assert (noisy["city"] != new["city"]).any()


def test_samples_have_levels_that_exist():
    drawn = VAEDetector(max_epochs=30, **SMALL).fit(customers()).sample(50, random_state=0)
    assert set(drawn["city"]) <= set(CITIES)
    assert set(drawn["kind"]) <= {"big", "small"}


def test_a_repair_changes_a_level_to_another_and_leaves_all_other_cells(detector, new):
    berlin = new[new["city"] == "Berlin"].head(20)
    wrong = berlin.assign(city="Hamburg")
    wrong = wrong[detector.predict(wrong) == -1]
    assert len(wrong) > 15
    repaired = detector.repair(wrong)
    assert (detector.predict(repaired) == 1).all()
    assert set(repaired["city"]) <= set(CITIES)
    changed = (repaired != wrong).sum()
    assert changed["member"] == changed["visits"] == 0
    alone = (repaired["city"] == "Berlin") & (repaired["price"] == wrong["price"])
    assert alone.mean() > 0.4
    normal = new[detector.predict(new) == 1]
    pd.testing.assert_frame_equal(detector.repair(normal), normal)


def test_a_level_that_fit_never_saw_is_repaired(detector, new):
    wrong = new.assign(city="Atlantis")
    repaired = detector.repair(wrong)
    assert (repaired["city"] == new["city"]).mean() > 0.8


def test_a_level_that_is_a_whole_number_stays_one():
    frame = customers()[["price", "city"]]
    frame["zone"] = frame["city"].map({"Berlin": 1, "Hamburg": 2, "Munich": 3})
    named = {"categorical_features": ["city", "zone"], "random_state": 0}
    detector = DenoisingAutoencoder(**named).fit(frame)
    wrong = frame[frame["zone"] == 1].head(20).assign(zone=2)
    repaired = detector.repair(wrong)
    assert (repaired["zone"] == 1).any()
    assert repaired["zone"].dtype == frame["zone"].dtype


# Columns at scoring time.


def test_columns_are_matched_by_name(detector, new):
    turned = new[new.columns[::-1]]
    np.testing.assert_array_equal(detector.score_samples(turned), detector.score_samples(new))
    np.testing.assert_array_equal(detector.explain(turned), detector.explain(new))
    assert detector.repair(turned).columns.tolist() == turned.columns.tolist()
    with pytest.raises(ValueError, match="column 'price' holds 'cheap' in row 2"):
        detector.score_samples(with_cell(turned, "price", "cheap", row=2))


def test_missing_and_further_columns_are_named(detector, new):
    with pytest.raises(ValueError, match="X lacks the column 'city'"):
        detector.score_samples(new.drop(columns="city"))
    with pytest.raises(ValueError, match=r"not given: 'id'\. Leave them out, with X\[detector"):
        detector.score_samples(new.assign(id=1))


def test_numbers_as_text_name_the_cell(detector, new):
    with pytest.raises(ValueError, match=r"'visits' holds 'two' in row 3.*pd\.to_numeric"):
        detector.score_samples(with_cell(new, "visits", "two", row=3))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([f"user {i}" for i in range(60)], "'id' has 60 levels in 60 rows.*drop"),
        ([f"2024-01-{1 + i % 30:02}" for i in range(60)], "'id' holds dates.*pd.to_datetime"),
        ([["list"]] * 60, r"'id' holds \['list'\] in row 0.*astype\(str\)"),
        (pd.date_range("2024", periods=60), "'id' holds datetime64.*Timedelta"),
    ],
    ids=["identifier", "dates as text", "lists", "dates"],
)
def test_columns_that_are_no_categories_are_refused(column, message, new):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder().fit(new.assign(id=column))


def test_images_have_no_categories(new):
    with pytest.raises(ValueError, match="categorical columns, but network='conv'"):
        DenoisingAutoencoder(image_shape=(1, 1, 5)).fit(new)
    with pytest.raises(ValueError, match="'relative' divides by the contrast"):
        DenoisingAutoencoder(anomaly_score="relative").fit(new)


# The rest of the contract.


@pytest.mark.parametrize("settings", [{}, {"n_members": 2}, {"missing": "mask"}], ids=str)
def test_scores_are_the_same_bits_in_any_company(settings, new):
    detector = DenoisingAutoencoder(max_epochs=5, **SMALL, **settings).fit(customers())
    whole = detector.score_samples(new)
    alone = [detector.score_samples(new.iloc[[i]])[0] for i in range(len(new))]
    np.testing.assert_array_equal(alone, whole)


def test_files_and_pickles_hold_the_levels(detector, new, tmp_path):
    expected, explained = detector.score_samples(new), detector.explain(new)
    save(detector, tmp_path / "model.aedetect")
    for twin in (
        load(tmp_path / "model.aedetect"),
        pickle.loads(pickle.dumps(detector)),
    ):
        np.testing.assert_array_equal(twin.score_samples(new), expected)
        pd.testing.assert_frame_equal(twin.explain(new), explained)
        noisy = twin.corrupt(new, random_state=0)
        pd.testing.assert_frame_equal(noisy, detector.corrupt(new, random_state=0))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda coding: coding["categories"][0].update(levels=["Berlin", "Berlin", "Munich"]),
        lambda coding: coding["categories"][0].update(levels=["Berlin", "Hamburg", [1]]),
        lambda coding: coding["categories"][0].update(counts=np.array([1, 2, 3])),
        lambda coding: coding["categories"][0].update(counts=np.array([1, -2, 3, 4])),
        lambda coding: coding.update(columns=[1, 1, 3]),
        lambda coding: coding.update(columns=[1, 2, 5]),
        lambda coding: coding.update(n_features=6),
        lambda coding: coding["categories"].pop(),
    ],
)
def test_levels_that_make_no_sense_are_refused(spoil, detector):
    state = pickle.loads(pickle.dumps(detector.__getstate__()))
    spoil(state["detector_"]["model"]["columns"]["coding"])
    with pytest.raises(StateError):
        DenoisingAutoencoder().__setstate__(state)


def test_training_goes_on_with_known_levels_alone(estimator_class):
    detector = estimator_class(max_epochs=2, **SMALL).fit(customers())
    before = detector.score_samples(customers())
    detector.partial_fit(customers(100, seed=3))
    assert not np.array_equal(detector.score_samples(customers()), before)
    frame = with_cell(customers(50), "city", "Ulm", row=7)
    with pytest.raises(ValueError, match="'city' has a level in row 7 that the first fit"):
        detector.partial_fit(frame)


def test_pipelines_and_searches_take_frames():
    pipeline = make_pipeline(FunctionTransformer(), AutoencoderTransformer(max_epochs=2, **SMALL))
    search = GridSearchCV(pipeline, {"autoencodertransformer__latent_dim": [1, 2]}, cv=2)
    scores = search.fit(customers(80)).cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert search.best_estimator_.transform(customers(80)).shape[1] in (1, 2)


def test_codes_come_as_frames(new):
    detector = AutoencoderTransformer(max_epochs=2, **SMALL).set_output(transform="pandas")
    codes = detector.fit(customers()).transform(new)
    assert list(codes.columns) == [f"autoencodertransformer{i}" for i in range(3)]
    assert isinstance(detector.inverse_transform(codes), pd.DataFrame)


@pytest.mark.parametrize("loss", ["mse", "huber", "bce"])
def test_numbers_keep_their_loss(loss, new):
    unit = customers()
    unit["price"] = (unit["price"] - unit["price"].min()) / np.ptp(unit["price"])
    unit["visits"] = unit["visits"] / 4
    detector = DenoisingAutoencoder(loss=loss, max_epochs=100, **SMALL).fit(unit)
    restored = detector.reconstruct(unit)
    assert (restored["city"] == unit["city"]).mean() > 0.6
    if loss == "bce":
        assert restored["price"].between(0, 1).all()
        with pytest.raises(ValueError, match="'price'"):
            detector.score_samples(unit.assign(price=2.0))
