"""Estimators that are fitted to rows on disk, in one pool or in several."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, load, open_rows, save
from aedetect.estimators import large_rows
from aedetect.estimators.pooled import DiskPools, PooledRows, spread_of
from aedetect.model import fences
from aedetect.rows import plan
from aedetect.training import checkpoint as checkpoint_module

NAMES = list("abcdef")


def make_rows(n_rows, seed=0):
    """Return rows of six columns in unlike units that depend on two causes."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, 2)) @ np.random.default_rng(9).normal(size=(2, 6))
    rows += 0.2 * rng.normal(size=rows.shape)
    return (rows * [1, 10, 0.1, 5, 1e3, 1] + [0, 5, 0, 100, 0, 1]).astype(np.float32)


@pytest.fixture(scope="module")
def X():  # noqa: N802
    return make_rows(5000)


@pytest.fixture
def plain():
    return AutoencoderTransformer(2, hidden_layer_sizes=(8,), max_epochs=3, random_state=0)


@pytest.fixture
def small_pools(monkeypatch):
    """Let pools of three blocks do, and return the memory that holds three."""
    monkeypatch.setattr(plan, "MIN_BLOCKS", 3)
    monkeypatch.setattr("aedetect.estimators.pooled.MIN_BLOCKS", 3)
    return plan.memory_needed(100, len(NAMES), n_members=1)


def weights_of(estimator):
    return estimator.__getstate__()["detector_"]["model"]["weights"]


def assert_same(first, second, X):
    for name, values in weights_of(first).items():
        np.testing.assert_array_equal(values, weights_of(second)[name])
    for name in ("loss", "val_loss", "learning_rate"):
        np.testing.assert_array_equal(first.history_[name], second.history_[name])
    np.testing.assert_array_equal(first.score_samples(X), second.score_samples(X))
    assert first.offset_ == second.offset_
    state, other = (e.detector_.to_state() for e in (first, second))
    np.testing.assert_array_equal(state["left_out_scores"], other["left_out_scores"])
    for name, values in state["model"]["columns"]["scaling"].items():
        np.testing.assert_array_equal(values, other["model"]["columns"]["scaling"][name])


# One pool: today's fit, bit for bit.


OPTIONS = [
    {},
    {"contamination": 0.1},
    {"contamination": 0, "validation_fraction": 0},
    {"n_members": 2, "dropout": 0.2, "batch_norm": True},
    {"scaling": "common", "schedule": "constant", "weight_decay": 0.01},
    {"anomaly_score": "reconstruction", "scaling": "standard"},
    {"network": "residual", "latent_dim": 1},
    {"image_shape": (1, 2, 3), "max_shift": 1, "scaling": "common"},
    {"image_shape": (3, 1, 2), "max_shift": 1, "n_members": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_fit_of_one_pool_is_that_of_an_array_bit_for_bit(small, X, options):
    small.set_params(**options)
    assert_same(clone(small).fit(X), clone(small).fit(open_rows(lambda: [X])), X[:500])


def test_views_of_one_pool_are_fitted_as_arrays(plain, X):
    rows = open_rows(lambda: [X])
    for key in (slice(4000, 100, -3), np.random.default_rng(0).permutation(5000)[:2000]):
        assert_same(clone(plain).fit(X[key]), clone(plain).fit(rows[key]), X[:100])


def test_wild_cells_are_tamed_on_disk_as_in_memory(plain, X):
    wild = X.copy()
    wild[[3, 4000], [1, 2]] = 1e9
    wild[::3, 4] = 1e12  # no exception
    rows = open_rows(lambda: [wild])
    assert_same(clone(plain).fit(wild), clone(plain).fit(rows), X[:500])


def test_missing_cells_and_bounded_rows_are_fitted_on_disk_as_in_memory(small, X):
    holes = X.copy()
    holes[np.random.default_rng(0).random(X.shape) < 0.05] = np.nan
    holes[np.isnan(holes).all(axis=1), 0] = 1
    masked = small.set_params(missing="mask")
    rows = open_rows(lambda: [holes])
    assert_same(clone(masked).fit(holes), clone(masked).fit(rows), holes[:500])
    unit = (X - X.min(axis=0)) / np.ptp(X, axis=0)
    bounded = small.set_params(missing="error", loss="bce")
    assert_same(clone(bounded).fit(unit), clone(bounded).fit(open_rows(lambda: [unit])), unit[:99])


def test_noise_takes_its_bounds_from_all_rows(X):
    estimator = DenoisingAutoencoder(noise="salt_and_pepper", max_epochs=2, random_state=0)
    assert_same(clone(estimator).fit(X), clone(estimator).fit(open_rows(lambda: [X])), X[:100])


def test_noise_takes_its_bounds_from_the_rows_of_all_pools(X, small_pools):
    estimator = DenoisingAutoencoder(
        noise="salt_and_pepper", max_epochs=1, validation_fraction=0, random_state=0
    )
    whole = clone(estimator).fit(X)
    pooled = clone(estimator).fit(open_rows(lambda: [X], memory=small_pools))
    np.testing.assert_array_equal(pooled._corruption.bounds, whole._corruption.bounds)


def test_names_of_columns_are_kept_and_checked(plain, X):
    frame = pd.DataFrame(X, columns=NAMES)
    rows = open_rows(frame)
    fitted = plain.fit(rows)
    assert fitted.feature_names_in_.tolist() == NAMES
    np.testing.assert_array_equal(fitted.predict(frame[:500]), fitted.predict(rows[:500]))
    with pytest.raises(ValueError, match="Feature names unseen at fit time"):
        fitted.predict(open_rows(frame.rename(columns={"b": "B"})))
    with pytest.raises(ValueError, match="has 5 features"):
        clone(plain).fit(X).predict(open_rows(lambda: [X[:, :5]]))


def test_warm_start_and_partial_fit_take_rows(plain, X):
    rows = open_rows(lambda: [X])
    for method in ("partial_fit", "fit"):
        first, second = clone(plain).set_params(warm_start=True), clone(plain)
        second.set_params(warm_start=True)
        for part in (slice(0, 2000), slice(2000, None)):
            getattr(first, method)(X[part])
            getattr(second, method)(rows[part])
        assert_same(first, second, X[:100])


# Scores.


def test_results_of_rows_are_those_of_arrays_bit_for_bit(plain, X):
    rows = open_rows(lambda: [X])
    fitted = plain.fit(X)
    for method in ("score_samples", "decision_function", "predict", "transform", "reconstruct"):
        np.testing.assert_array_equal(getattr(fitted, method)(rows), getattr(fitted, method)(X))
        np.testing.assert_array_equal(
            getattr(fitted, method)(rows[::-7]), getattr(fitted, method)(X[::-7])
        )
    assert fitted.score(rows) == fitted.score(X)
    assert (
        fitted.set_threshold(fpr=0.1, X=rows).offset_
        == clone(plain).fit(X).set_threshold(fpr=0.1, X=X).offset_
    )


def test_methods_that_need_an_array_say_so(X):
    rows = open_rows(lambda: [X])
    fitted = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(X)
    for method in ("explain", "repair", "corrupt"):
        with pytest.raises(
            TypeError, match=f"{method} takes an array or a frame, but X holds 5000"
        ):
            getattr(fitted, method)(rows)


# Several pools.


def test_several_pools_need_every_row_once_a_pass(X, small_pools):
    rows = open_rows(lambda: [X], memory=small_pools)
    seen = []
    load = DiskPools.load

    def watched(self, epoch):
        x = load(self, epoch)
        seen.append((self, x.numpy().copy()))
        return x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiskPools, "load", watched)
        fitted = AutoencoderTransformer(max_epochs=5, random_state=0).fit(rows)
    pools = seen[0][0]
    assert len(fitted.history_["loss"]) == 5
    assert (pools.plan.n_blocks, pools.plan.size) == (5, 3)
    n_held_out = 5000 - len(pools)
    assert n_held_out == int(3 * 1024 * 0.1)
    assert [len(x) for _, x in seen] == [pools.count(epoch) for epoch in range(5)]
    counts = pd.DataFrame(np.concatenate([x for _, x in seen])).value_counts()
    assert len(counts) == len(pools)  # in five epochs of three blocks of five: three passes
    assert (counts == 3).all()
    scaled = fitted.detector_.model.scale(X)
    assert set(map(bytes, scaled)) >= {bytes(row) for row in seen[0][1]}


def test_auto_trains_on_every_row(X, small_pools, monkeypatch):
    monkeypatch.setattr("aedetect.estimators.defaults.MIN_EPOCHS", 1)
    monkeypatch.setattr("aedetect.estimators.defaults.STEPS", 1)
    rows = open_rows(lambda: [X], memory=small_pools)
    assert AutoencoderTransformer(random_state=0).fit(rows).n_iter_ == 2  # pools of three of five


@pytest.mark.parametrize("options", OPTIONS[1:4], ids=str)
def test_several_pools_give_the_bits_of_a_refit(plain, X, small_pools, options):
    memory = plan.memory_needed(100, len(NAMES), options.get("n_members", 1)) + 100
    plain.set_params(**options)
    fits = [clone(plain).fit(open_rows(lambda: [X], memory=memory)) for _ in range(2)]
    assert_same(*fits, X[:500])
    whole = clone(plain).fit(X)
    assert (fits[0].score_samples(X[:500]) != whole.score_samples(X[:500])).any()


def test_several_pools_detect_as_well_as_one(small_pools):
    X = make_rows(12_000)
    odd = make_rows(500, seed=1)[:, [3, 1, 2, 0, 5, 4]]
    new, labels = np.concatenate([make_rows(2000, seed=2), odd]), np.repeat([0, 1], [2000, 500])
    estimator = DenoisingAutoencoder(max_epochs=8, random_state=0)
    scores = [
        clone(estimator).fit(rows).score_samples(new)
        for rows in (X, open_rows(lambda: [X], memory=small_pools))
    ]
    areas = [roc_auc_score(labels, -s) for s in scores]
    assert areas[1] > areas[0] - 0.01
    assert areas[1] > 0.9


def test_sorted_rows_are_mixed(small_pools):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 6)) * 4
    X = np.concatenate([c + rng.normal(size=(1024, 6)) for c in centres]).astype(np.float32)
    rows = open_rows(lambda: [X], memory=2 * small_pools)  # six of twelve blocks
    fitted = AutoencoderTransformer(max_epochs=8, random_state=0).fit(rows)
    shuffled = open_rows(lambda: [rng.permutation(X)], memory=2 * small_pools)
    other = AutoencoderTransformer(max_epochs=8, random_state=0).fit(shuffled)
    noise = rng.normal(size=(4000, 6)) * X.std(axis=0)
    labels = np.repeat([0, 1], [len(X), 4000])
    areas = [
        roc_auc_score(labels, -e.score_samples(np.concatenate([X, noise]))) for e in (fitted, other)
    ]
    assert areas[0] > areas[1] - 0.02


@pytest.mark.parametrize("share", [0.03, 0.3])
def test_a_share_of_anomalies_is_left_out_and_flagged(X, small_pools, share):
    odd = X.copy()
    odd[::50] += [0, 0, 3, 0, 0, 30]  # a fiftieth
    rows = open_rows(lambda: [odd], memory=small_pools)
    fitted = DenoisingAutoencoder(contamination=share, max_epochs=6, random_state=0).fit(rows)
    flagged = fitted.predict(rows) == -1
    assert flagged.mean() == pytest.approx(share, abs=0.001)
    assert flagged[::50].mean() > 0.95
    scores = fitted.score_samples(rows)
    assert fitted.offset_ == np.percentile(scores, 100 * share)


def test_anomalies_of_several_pools_are_those_of_one(X, small_pools):
    rows = open_rows(lambda: [X], memory=small_pools)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        kept = PooledRows.without_anomalies
        patch.setattr(
            PooledRows,
            "without_anomalies",
            lambda self, *args: (seen.append((self, *args)), kept(self, *args))[1],
        )
        AutoencoderTransformer(contamination=0.2, max_epochs=1, random_state=0).fit(rows)
    pooled, split, _, columns, tamed = seen[0]
    order = np.concatenate(split)
    order = np.concatenate([order, np.setdiff1d(np.arange(5000), order)])
    spread = np.concatenate(list(spread_of(X, order, columns, tamed)))[order]
    left_out = order[np.argsort(spread, kind="stable")[4000:]]
    mask = np.zeros(5000, dtype=bool)
    mask[left_out] = mask[split.held_out] = True
    found = np.concatenate([pooled._left_out.mask(block) for block in range(5)])
    np.testing.assert_array_equal(found, mask)


def test_too_little_memory_is_refused_with_the_remedy(X):
    with pytest.raises(ValueError, match=r"holds 2 blocks .* all 5 .* memory='1MB' or more"):
        AutoencoderTransformer().fit(open_rows(lambda: [X], memory=200_000))


def test_partial_fit_refuses_several_pools(X, small_pools):
    rows = open_rows(lambda: [X], memory=small_pools)
    with pytest.raises(ValueError, match="fit reads them in pools"):
        AutoencoderTransformer().partial_fit(rows)


def test_a_fit_to_rows_is_saved_and_loaded(plain, X, small_pools, tmp_path):
    fitted = plain.fit(open_rows(lambda: [X], memory=small_pools))
    save(fitted, tmp_path / "model.aedetect")
    loaded = load(tmp_path / "model.aedetect")
    np.testing.assert_array_equal(loaded.score_samples(X), fitted.score_samples(X))


# Errors name rows and files.


def test_missing_cells_are_named_with_their_file(plain, X, tmp_path):
    frame = pd.DataFrame(X, columns=NAMES)
    frame[:4000].to_parquet(tmp_path / "one.parquet")
    late = frame[4000:].copy()
    late.iloc[-1] = np.nan
    late.to_parquet(tmp_path / "two.parquet")
    rows = open_rows([tmp_path / "one.parquet", tmp_path / "two.parquet"])
    place = r"4999 \(row 999 of .*two.parquet\)"
    with pytest.raises(ValueError, match=rf"row {place} has no value in column 'a'"):
        plain.fit(rows)
    with pytest.raises(ValueError, match=rf"Row {place} of X holds NaN alone"):
        clone(plain).set_params(missing="mask").fit(rows)
    fitted = plain.fit(rows[:4000])
    with pytest.raises(ValueError, match=r"row 99 \(row 999 of .*two.parquet\) has no value"):
        fitted.score_samples(rows[4900:])
    empty = open_rows(frame.assign(c=np.nan).sample(frac=1, random_state=0))
    with pytest.raises(ValueError, match="Column 'c' of X holds NaN alone"):
        clone(plain).set_params(missing="mask").fit(empty)


def test_rows_outside_the_unit_interval_are_named(plain, X):
    unit = (X - X.min(axis=0)) / np.ptp(X, axis=0)
    unit[4321, 2] = 1.5
    rows = open_rows(lambda: [unit])
    with pytest.raises(ValueError, match=r"row 4321 \(row 4321 of .*\) has 1.5 in column 2"):
        plain.set_params(loss="bce").fit(rows)
    fitted = plain.fit(rows[:4000])
    with pytest.raises(ValueError, match="row 321 "):
        fitted.predict(rows[4000:])


def test_one_row_is_too_few(plain, X):
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        plain.fit(open_rows(lambda: [X])[:1])


# Checkpoints.


PROGRAM = """
    import os, signal, sys
    import numpy as np
    from aedetect import AutoencoderTransformer, open_rows
    from aedetect.rows import plan
    from aedetect.training import checkpoint

    checkpoint.SHARE = float("inf")
    plan.MIN_BLOCKS = 3
    import aedetect.estimators.pooled as pooled
    pooled.MIN_BLOCKS = 3

    class Killing:
        def setup(self, estimator, context): pass
        def teardown(self, estimator, context): pass
        def on_fit_task_end(self, estimator, context): return False
        def on_fit_task_begin(self, estimator, context):
            if context.task_name == "epoch" and context.task_id == 4:
                os.kill(os.getpid(), signal.SIGKILL)

    rows = open_rows({path!r}, memory={memory})
    estimator = AutoencoderTransformer({options} max_epochs=7, checkpoint={checkpoint!r})
    estimator.set_callbacks(Killing()).fit(rows)
"""


@pytest.mark.parametrize("memory", [10**9, "pools"])
def test_a_killed_fit_is_resumed_bit_for_bit(X, tmp_path, small_pools, monkeypatch, memory):
    monkeypatch.setattr(checkpoint_module, "SHARE", float("inf"))
    memory = small_pools if memory == "pools" else memory
    path, checkpoint = tmp_path / "x.npy", tmp_path / "fit.ckpt"
    np.save(path, X)
    program = PROGRAM.format(
        path=str(path), memory=memory, checkpoint=str(checkpoint), options="random_state=3,"
    )
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -9
    assert checkpoint.exists()
    rows = open_rows(path, memory=memory)
    estimator = AutoencoderTransformer(max_epochs=7, random_state=3)
    resumed = clone(estimator).set_params(checkpoint=checkpoint)
    if memory == small_pools:
        with pytest.raises(ValueError, match="pools was 3 of 5 blocks, now it is 4 of 5"):
            resumed.fit(open_rows(path, memory=memory * 4 // 3 + 10))
    with pytest.raises(ValueError, match="is that of another fit: X was 5000 rows"):
        resumed.fit(rows[::-1])
    assert_same(resumed.fit(rows), estimator.fit(rows), X[:500])
    assert not checkpoint.exists()
    assert os.listdir(tmp_path) == ["x.npy"]  # noqa: PTH208


# Large tables in memory.


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_rows_that_are_scaled_a_batch_at_a_time_give_the_bits_of_all_at_once(
    plain, X, options, monkeypatch
):
    plain.set_params(**options)
    wild = X.copy()
    wild[[3, 4000], [1, 2]] = 1e9
    for given in (X[:1500], wild[:1500].astype(np.float64)):
        monkeypatch.setattr(large_rows, "LARGE", 10**9)
        whole = clone(plain).fit(given)
        monkeypatch.setattr(large_rows, "LARGE", 0)
        assert_same(whole, clone(plain).fit(given), X[:200])


def test_noise_takes_its_bounds_from_large_rows(X, monkeypatch):
    estimator = DenoisingAutoencoder(noise="salt_and_pepper", max_epochs=1, random_state=0)
    whole = clone(estimator).fit(X)
    monkeypatch.setattr(large_rows, "LARGE", 0)
    assert_same(whole, clone(estimator).fit(X), X[:100])


def test_a_cell_of_large_rows_that_float32_cannot_hold_is_named(plain, X, monkeypatch):
    monkeypatch.setattr(large_rows, "LARGE", 0)
    huge = X.astype(np.float64)
    huge[17, 2] = 1e300
    with pytest.raises(ValueError, match="in row 17, column 2, that is too large for float32"):
        plain.set_params(scaling=None, validation_fraction=0).fit(huge)


def test_large_rows_are_not_in_memory_twice(monkeypatch):
    monkeypatch.setattr(large_rows, "LARGE", 0)
    monkeypatch.setattr(fences, "N_VALUES", 2**14)
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(40_000, 3)) @ rng.normal(size=(3, 200))).astype(np.float32)
    estimator = AutoencoderTransformer(
        hidden_layer_sizes=(4,), batch_size=2000, max_epochs=1, contamination=0.1, random_state=0
    ).set_params(anomaly_score="reconstruction", validation_fraction=0.01)
    clone(estimator).fit(X[:1000])  # what is kept from the first fit on
    tracemalloc.start()
    estimator.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * X.nbytes  # blocks of fixed size, row numbers, reference rows
