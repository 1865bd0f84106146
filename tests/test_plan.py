"""Pools of blocks, sets of rows and quantiles of numbers on disk."""

from __future__ import annotations

import numpy as np
import pytest

from aedetect.rows import Plan, RowSet, Spool
from aedetect.rows.plan import (
    count_blocks,
    fits_one_pool,
    memory_needed,
    pool_blocks,
)


@pytest.mark.parametrize(("n_blocks", "size"), [(10, 10), (10, 3), (150, 100), (7, 1), (9, 3)])
def test_every_block_is_drawn_once_before_any_is_drawn_again(n_blocks, size):
    plan = Plan(n_blocks, size, seed=5)
    n_epochs = 4 * plan.n_pools
    counts = np.zeros(n_blocks, dtype=int)
    for epoch in range(n_epochs):
        pool = plan.pool(epoch)
        assert len(pool) == size
        assert (np.diff(pool) >= 0).all()
        np.add.at(counts, pool, 1)
        if (epoch + 1) * size % n_blocks == 0:
            assert counts.min() == counts.max()
        assert counts.max() - counts.min() <= 2
    assert counts.sum() == n_epochs * size


def test_a_pool_depends_on_blocks_seed_and_epoch_alone():
    plan = Plan(500, 100, seed=1)
    pools = [plan.pool(epoch) for epoch in range(12)]
    np.random.seed(3)  # noqa: NPY002
    for epoch in (7, 0, 11):
        np.testing.assert_array_equal(Plan(500, 100, seed=1).pool(epoch), pools[epoch])
    assert any((Plan(500, 100, seed=2).pool(e) != pools[e]).any() for e in range(2))
    assert (pools[0] != pools[5]).any()  # another pass, another order


def test_pools_mix_blocks_from_everywhere():
    pool = Plan(10_000, 100, seed=0).pool(3)
    assert np.histogram(pool, bins=4, range=(0, 10_000))[0].min() > 10


def test_memory_is_counted_in_whole_blocks():
    needed = memory_needed(500, n_columns=40, n_members=1)
    assert pool_blocks(needed, 40, 1) == 100
    assert pool_blocks(needed - 1, 40, 1) == 99
    assert fits_one_pool(102_400, needed, 40, 1)
    assert not fits_one_pool(102_401, needed, 40, 1)
    assert memory_needed(500, 40, n_members=5) > needed > memory_needed(99, 40, 1)
    assert [count_blocks(n) for n in (1, 1024, 1025)] == [1, 1, 2]


def test_a_set_of_rows_holds_what_was_added():
    rng = np.random.default_rng(0)
    chosen = np.unique(rng.integers(0, 5000, 700))
    rows = RowSet(5000)
    rows.add(chosen[:300])
    rows.add(chosen[200:])
    mask = np.zeros(5000, dtype=bool)
    mask[chosen] = True
    np.testing.assert_array_equal(np.concatenate([rows.mask(b) for b in range(5)]), mask)
    np.testing.assert_array_equal(rows.contains(np.arange(5000)), mask)
    np.testing.assert_array_equal(
        rows.counts(), [mask[i : i + 1024].sum() for i in range(0, 5000, 1024)]
    )


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=70_001),
        -(np.random.default_rng(0).exponential(size=1000) ** 4),
        np.repeat([-1.5, 0.0, -0.0, 3.0], 5),
        np.array([-7.0]),
        np.array([1e-310, -1e307, 1e307, 5e-324]),
    ],
)
def test_quantiles_on_disk_are_those_of_numpy_bit_for_bit(values):
    spool = Spool()
    for part in np.array_split(values, 3):
        spool.append(part)
    assert len(spool) == len(values)
    np.testing.assert_array_equal(np.concatenate(list(spool.blocks())), values)
    ordered = np.sort(values)
    for rank in (0, len(values) // 3, len(values) - 1):
        assert spool.smallest(rank) == ordered[rank]
    for q in (0, 0.01, 0.05, 0.1, 0.37, 0.5):
        assert spool.quantile(q) == np.percentile(values, 100 * q)
