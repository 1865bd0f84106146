from __future__ import annotations

import numpy as np
import pytest
import torch

from aedetect.corruption import (
    NOISES,
    Corruption,
    Hiding,
    gaussian,
    masking,
    salt_and_pepper,
)

X = torch.full((200, 50), 0.5)
BOUNDS = torch.stack([torch.full((50,), -1.0), torch.full((50,), 2.0)])


def generator():
    return torch.Generator().manual_seed(0)


def test_gaussian_noise_has_the_asked_deviation():
    noise = gaussian(X, 0.3, BOUNDS, generator()) - X
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)


def test_masking_zeroes_the_asked_share_and_keeps_the_rest():
    noisy = masking(X, 0.3, BOUNDS, generator())
    assert (noisy == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert set(noisy.unique().tolist()) == {0.0, 0.5}


def test_salt_and_pepper_sets_half_of_the_share_to_each_end():
    noisy = salt_and_pepper(X, 0.3, BOUNDS, generator())
    assert (noisy == -1).float().mean().item() == pytest.approx(0.15, abs=0.02)
    assert (noisy == 2).float().mean().item() == pytest.approx(0.15, abs=0.02)
    assert set(noisy.unique().tolist()) == {-1.0, 0.5, 2.0}


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_fresh_reproducible_and_leaves_its_input_alone(noise):
    before = X.clone()
    shared = generator()
    first, second = (NOISES[noise](X, 0.3, BOUNDS, shared) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, NOISES[noise](X, 0.3, BOUNDS, generator()))
    assert torch.equal(before, X)


@pytest.mark.parametrize("noise", NOISES)
def test_noise_of_several_members_is_that_of_as_many_rows(noise):
    several = NOISES[noise](X.view(4, 50, 50), 0.3, BOUNDS, generator())
    torch.testing.assert_close(several.view(200, 50), NOISES[noise](X, 0.3, BOUNDS, generator()))


def test_corruption_takes_its_bounds_from_the_observed_cells():
    x = torch.tensor([[1.0, torch.nan, torch.nan], [3.0, 5.0, torch.nan]])
    corruption = Corruption.fit(x, "salt_and_pepper", 1.0, clamp=False, keeps_missing=True)
    assert corruption.bounds.dtype == np.float32
    np.testing.assert_array_equal(corruption.bounds, [[1, 5, 0], [3, 5, 0]])
    noisy = corruption(torch.stack([x] * 20), generator())
    assert torch.equal(noisy.isnan(), x.isnan().expand(20, -1, -1))
    assert set(noisy[..., 0].unique().tolist()) == {1.0, 3.0}
    assert (noisy[:, 1, 1] == 5).all()


def test_corruption_clips_to_the_unit_interval_where_it_is_asked_to():
    free, clamped = (
        Corruption.fit(X, "gaussian", 2.0, clamp=clamp, keeps_missing=False)(X, generator())
        for clamp in (False, True)
    )
    assert free.min() < 0
    assert free.max() > 1
    assert torch.equal(clamped, free.clamp(0, 1))


def test_hiding_comes_after_the_noise():
    hidden = Hiding(lambda x, generator: x + 1, 0.25)(X, generator())
    assert hidden.isnan().float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert (hidden[~hidden.isnan()] == 1.5).all()
    assert torch.equal(Hiding(None, 0.25)(X, generator()).isnan(), hidden.isnan())
