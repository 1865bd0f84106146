from __future__ import annotations

import pytest
import torch

from aedetect.corruption import NOISES, gaussian, masking, salt_and_pepper

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
