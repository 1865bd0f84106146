"""One training by several processes, which are threads here."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from aedetect import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector, scale
from aedetect.training.loop import Epochs
from aedetect.training.shards import add_pairs


class Threads:
    """An exchange between threads."""

    n_shards = 8

    def __init__(self, rank, size, box, barrier):
        self.rank, self.size, self._box, self._barrier = rank, size, box, barrier

    def gather(self, x):
        self._box[self.rank] = x.clone()
        self._barrier.wait()
        gathered = torch.stack([self._box[rank] for rank in range(self.size)])
        self._barrier.wait()
        return gathered

    def wait(self):
        self._barrier.wait()


def fit_in_threads(make, X, size):
    """Return the estimators that some threads have fitted together."""
    box, barrier = {}, threading.Barrier(size, timeout=60)

    def fit(rank):
        estimator = make()
        estimator._exchange = Threads(rank, size, box, barrier)
        try:
            return estimator.fit(X)
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(fit, range(size)))


FEW = {"latent_dim": 2, "hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
MAKERS = {
    "dense": lambda: AutoencoderTransformer(**FEW),
    "noise and dropout": lambda: DenoisingAutoencoder(
        **FEW, noise="masking", dropout=0.2, optimizer="sgd", batch_size=37
    ),
    "variational": lambda: VAEDetector(**FEW, n_members=2),
    "by autograd": lambda: AutoencoderTransformer(**FEW, tied_weights=True, dropout=0.1),
    "missing cells": lambda: DenoisingAutoencoder(**FEW, missing="mask"),
    "shifted images": lambda: AutoencoderTransformer(
        **FEW, image_shape=(1, 4, 4), max_shift=1, n_members=2
    ),
    "images": lambda: DenoisingAutoencoder(
        2, network="conv", hidden_layer_sizes=(2,), image_shape=(1, 4, 4), max_epochs=1,
        random_state=0,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def X():  # noqa: N802
    return np.random.RandomState(0).randn(210, 16).astype(np.float32)


def weights_of(estimator):
    state = estimator.network_.state_dict()
    return np.concatenate([tensor.numpy().ravel() for tensor in state.values()])


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_any_number_of_processes_gives_the_same_bits(make, X):
    alone = scale.fit(make(), X)
    for size in (2, 4):
        for estimator in fit_in_threads(make, X, size):
            np.testing.assert_array_equal(weights_of(estimator), weights_of(alone))
            np.testing.assert_array_equal(estimator.score_samples(X), alone.score_samples(X))
            for name in ("loss", "val_loss"):
                np.testing.assert_array_equal(estimator.history_[name], alone.history_[name])


def test_shards_train_as_whole_batches_do(X):
    def make():  # whose batches hold all rows, in any order
        return MAKERS["dense"]().set_params(
            batch_size=1000, validation_fraction=0.0, optimizer="sgd", learning_rate=0.1
        )

    untrained = make().set_params(learning_rate=1e-12).fit(X)
    alone, shards, fewer = make().fit(X), scale.fit(make(), X), scale.fit(make(), X, n_shards=2)
    np.testing.assert_allclose(weights_of(shards), weights_of(alone), atol=1e-6)
    assert np.abs(weights_of(alone) - weights_of(untrained)).max() > 1e-3
    assert (weights_of(fewer) != weights_of(shards)).any()


def test_processes_share_a_seed_that_is_drawn(X):
    detector = MAKERS["dense"]().set_params(random_state=None)
    first, second = (weights_of(scale.fit(detector, X)) for _ in range(2))
    assert detector.random_state is None
    assert (first != second).any()


def test_a_training_is_resumed_by_another_number_of_processes(X, tmp_path, monkeypatch):
    def make():
        return MAKERS["noise and dropout"]().set_params(checkpoint=tmp_path / "a.ckpt")

    class Killed(BaseException):
        pass

    whole = scale.fit(make(), X)
    end = Epochs.end

    def dying(self, totals, held_out):
        if len(self._run.epochs) == 2:
            raise Killed
        return end(self, totals, held_out)

    with monkeypatch.context() as patch:
        patch.setattr(Epochs, "end", dying)
        with pytest.raises(Killed):
            scale.fit(make(), X)
    with pytest.raises(ValueError, match="shards was 8, now it is 4"):
        scale.fit(make(), X, n_shards=4)
    for estimator in fit_in_threads(make, X, 4):
        np.testing.assert_array_equal(weights_of(estimator), weights_of(whole))
    assert not list(tmp_path.iterdir())


def test_sums_of_pairs_do_not_depend_on_who_adds_them():
    x = torch.randn(16, 1000, generator=torch.Generator().manual_seed(0))
    whole = add_pairs(x)
    for size in (2, 4, 8, 16):
        assert torch.equal(whole, add_pairs(torch.stack([add_pairs(p) for p in x.chunk(size)])))
    torch.testing.assert_close(whole, x.sum(dim=0))


def test_what_cannot_be_divided_is_refused(X):
    with pytest.raises(ValueError, match="Set batch_norm=False"):
        scale.fit(AutoencoderTransformer(batch_norm=True), X)
    with pytest.raises(ValueError, match="n_shards=6 must be a power of two"):
        scale.fit(AutoencoderTransformer(), X, n_shards=6)
    with pytest.raises(ValueError, match=r"\['cpu', 'cpu'\] is a list.*Set device='cuda'"):
        scale.fit(AutoencoderTransformer(device=["cpu", "cpu"]), X)
    with pytest.raises(TypeError, match="takes AutoencoderTransformer"):
        scale.fit(object(), X)
