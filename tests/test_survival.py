"""Training that is killed, interrupted or runs out of room, and how it goes on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from aedetect import AutoencoderTransformer
from aedetect.atomic import atomic_write, remove_partial
from aedetect.networks import Autoencoder
from aedetect.scoring import Detector
from aedetect.training import checkpoint as checkpoint_module
from aedetect.training.optimizers import OPTIMIZERS

FUZZ = Path(__file__).parent / "fuzz"


class Killed(BaseException):
    """Stands for the end of the process."""


class DoAt:
    """Calls ``action`` when the epoch numbered ``epoch`` begins, once."""

    def __init__(self, epoch, action):
        self.epoch, self.action = epoch, action
        self.seen = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        if context.task_name == "epoch":
            self.seen.append(context.task_id)
            if context.task_id == self.epoch and self.seen.count(self.epoch) == 1:
                self.action()

    def on_fit_task_end(self, estimator, context):
        return False

    def teardown(self, estimator, context):
        pass


def die():
    raise Killed


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def terminal():
    """Let Ctrl-C do what it does in a terminal; programs in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def every_epoch(monkeypatch):
    """Have a checkpoint written after every epoch, however long that takes."""
    monkeypatch.setattr(checkpoint_module, "SHARE", float("inf"))


def cut_short(estimator, X, path, epoch=4):
    """Fit until an epoch begins, and leave the checkpoint of the one before."""
    with pytest.raises(Killed):
        clone(estimator).set_params(checkpoint=path).set_callbacks(DoAt(epoch, die)).fit(X)
    assert path.exists()


def weights_of(estimator):
    return estimator.__getstate__()["detector_"]["model"]["weights"]


def assert_same(first, second, X):
    np.testing.assert_array_equal(first.score_samples(X), second.score_samples(X))
    for name, values in weights_of(first).items():
        np.testing.assert_array_equal(values, weights_of(second)[name])
    for name in ("loss", "val_loss", "learning_rate"):
        np.testing.assert_array_equal(first.history_[name], second.history_[name])
    assert first.offset_ == second.offset_


# Checkpoints.


def custom_network(codes_per_dim):
    layers = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2)
    return Autoencoder(nn.Sequential(*layers, nn.Linear(8, 2 * codes_per_dim)), nn.Linear(2, 5))


CUSTOM = "a network of ones own"
CONV = {"network": "conv", "image_shape": (1, 5, 1), "hidden_layer_sizes": (4, 4)}
CASES = {
    "plain": {},
    "ensemble with dropout and batch norm": {"n_members": 3, "dropout": 0.2, "batch_norm": True},
    "no held-out rows": {"validation_fraction": 0},
    "residual": {"network": "residual", "dropout": 0.2},
    "conv": {**CONV, "batch_norm": True, "dropout": 0.2},
    "shifted images": {"image_shape": (1, 5, 1), "max_shift": 2, "n_members": 2},
    "custom": {"network": CUSTOM},
    **{optimizer: {"optimizer": optimizer} for optimizer in OPTIMIZERS},
}


@pytest.mark.usefixtures("every_epoch")
def test_a_checkpoint_belongs_to_its_levels(small, tmp_path):
    X = pd.DataFrame({"x": np.arange(60.0), "city": ["Bonn", "Kiel", "Ulm"] * 20})
    small.set_params(max_epochs=8, batch_size=16)
    path = tmp_path / "fit.ckpt"
    cut_short(small, X, path)
    with pytest.raises(ValueError, match="checkpoint"):
        clone(small).set_params(checkpoint=path).fit(X.replace({"city": {"Bonn": "Berlin"}}))
    assert_same(clone(small).set_params(checkpoint=path).fit(X), clone(small).fit(X), X)


@pytest.mark.usefixtures("every_epoch")
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_a_fit_cut_short_ends_as_one_that_was_not(small, table, tmp_path, options):
    if options.get("network") == CUSTOM:
        options = {"network": custom_network(1 + small._is_variational)}
    small.set_params(max_epochs=8, batch_size=16, **options)
    path = tmp_path / "fit.ckpt"
    cut_short(small, table, path)
    callback = DoAt(6, die)
    resumed = clone(small).set_params(checkpoint=path).set_callbacks(callback)
    with pytest.raises(Killed):  # a second time
        resumed.fit(table)
    resumed.fit(table)
    assert callback.seen == [4, 5, 6, 6, 7]
    assert_same(small.fit(table), resumed, table)
    assert list(tmp_path.iterdir()) == []  # removed, for the fit is complete


@pytest.mark.parametrize("make_state", [lambda: None, lambda: np.random.RandomState(3)])
@pytest.mark.usefixtures("every_epoch")
def test_all_draws_are_those_of_the_fit_cut_short(small, table, tmp_path, make_state):
    path = tmp_path / "fit.ckpt"
    small.set_params(max_epochs=6, random_state=make_state())
    cut_short(small, table, path, epoch=2)
    content = path.read_bytes()
    resumed = small.set_params(checkpoint=path)
    scores = resumed.set_params(random_state=make_state()).fit(table).score_samples(table)
    path.write_bytes(content)
    again = resumed.set_params(random_state=make_state()).fit(table).score_samples(table)
    np.testing.assert_array_equal(scores, again)


@pytest.mark.usefixtures("every_epoch")
def test_patience_goes_on_counting(table, tmp_path):
    path = tmp_path / "fit.ckpt"
    detector = AutoencoderTransformer(
        2, learning_rate=0.05, schedule="constant", max_epochs=300, patience=10, random_state=0
    ).fit(table)
    assert detector.n_iter_ < 300
    cut_short(detector, table, path, epoch=detector.n_iter_ - 3)
    assert_same(detector, clone(detector).set_params(checkpoint=path).fit(table), table)


@pytest.mark.usefixtures("every_epoch")
def test_a_stop_asked_for_by_a_callback_is_kept(small, table, tmp_path, monkeypatch):
    class StopAtTwo(DoAt):
        def on_fit_task_end(self, estimator, context):
            return context.task_id == 1

    path = tmp_path / "fit.ckpt"
    monkeypatch.setattr(Detector, "fit", lambda *_, **__: die())
    stopped = clone(small).set_params(checkpoint=path).set_callbacks(StopAtTwo(0, lambda: None))
    with pytest.raises(Killed):
        stopped.fit(table)
    monkeypatch.undo()
    assert small.set_params(checkpoint=path).fit(table).n_iter_ == 2


def test_a_checkpoint_changes_no_result_and_a_second_fit_begins_anew(small, table, tmp_path):
    expected = clone(small).fit(table)
    small.set_params(checkpoint=tmp_path / "fit.ckpt")
    for _ in range(2):
        assert_same(expected, small.fit(table), table)
    assert clone(small).get_params()["checkpoint"] == tmp_path / "fit.ckpt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.1}, "learning_rate was 0.001, now it is 0.1"),
        ({"hidden_layer_sizes": [8, 4]}, r"hidden_layer_sizes was \[8\], now it is \[8, 4\]"),
        ({"random_state": 1}, "random_state was 0, now it is 1"),
        ({"contamination": 0.1}, 'contamination was "auto", now it is 0.1'),
    ],
)
def test_the_checkpoint_of_another_fit_is_refused(small, table, tmp_path, change, message):
    path = tmp_path / "fit.ckpt"
    cut_short(small, table, path, epoch=2)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=f"fit.ckpt' is that of another fit: {message}. .*delete"):
        clone(small).set_params(checkpoint=path, **change).fit(table)
    with pytest.raises(ValueError, match=r"another fit: X was 60 rows .*now it is 59 rows"):
        clone(small).set_params(checkpoint=path).fit(table[:-1])
    with pytest.raises(ValueError, match=r"another fit: X was 60 rows .*SHA"):
        clone(small).set_params(checkpoint=path).fit(table * 1.001)
    assert path.read_bytes() == content
    # What has no part in training may change, and equal values may be of other types.
    clone(small).set_params(
        checkpoint=str(path), anomaly_score="sap", hidden_layer_sizes=[np.int64(8)]
    ).fit(table)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        lambda content: content.replace(b"learning_rate", b"learning_ratf", 1),
        lambda content: b"",
        lambda content: b"no checkpoint" * 100,
    ],
    ids=["cut", "flipped bit", "other header", "empty", "other file"],
)
def test_a_damaged_checkpoint_is_refused_by_name(small, table, tmp_path, damage):
    path = tmp_path / "fit.ckpt"
    cut_short(small, table, path, epoch=2)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"fit.ckpt' cannot be used: it is damaged.*Delete"):
        small.set_params(checkpoint=path).fit(table)
    assert path.exists()


def test_a_folder_that_takes_no_file_is_an_error_before_training(small, table, tmp_path):
    callback = DoAt(0, die)
    small.set_callbacks(callback).set_params(checkpoint=tmp_path / "missing" / "fit.ckpt")
    with pytest.raises(FileNotFoundError, match=r"could not be written.*missing/fit.ckpt"):
        small.fit(table)
    assert callback.seen == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_an_error(small, table, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=r"could not be written.*fit.ckpt"):
        small.set_params(checkpoint=tmp_path / "fit.ckpt").fit(table)


@pytest.mark.usefixtures("every_epoch")
def test_a_full_disk_leaves_the_last_good_checkpoint(small, table, tmp_path):
    path = tmp_path / "fit.ckpt"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    good = []

    def fill_disk():
        good.append(path.read_bytes())
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(good[0]) // 2, limits[1]))

    detector = clone(small).set_params(checkpoint=path).set_callbacks(DoAt(2, fill_disk))
    try:
        with pytest.raises(OSError, match=r"could not be written.*fit.ckpt"):
            detector.fit(table)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == ["fit.ckpt"]
    assert path.read_bytes() == good[0]
    assert_same(small.fit(table), detector.fit(table), table)


def test_what_was_there_stays_until_all_of_a_file_is_written(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def write_half():
        with atomic_write(path) as file:
            file.write(b"half")
            file.flush()
            assert path.read_bytes() == b"before"
            raise Killed

    with pytest.raises(Killed):
        write_half()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"before"]
    with atomic_write(path) as file:
        file.write(b"after")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"after"]


def test_what_a_killed_process_left_of_a_file_is_removed_and_no_more(tmp_path):
    for name in (".fit.123-4.partial", ".other.123-4.partial", "fit"):
        (tmp_path / name).touch()
    remove_partial(tmp_path / "fit")
    assert {p.name for p in tmp_path.iterdir()} == {".other.123-4.partial", "fit"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_processes_that_were_killed_lose_nothing():
    done = subprocess.run(
        [sys.executable, FUZZ / "fuzz_kills.py", "--kills", "3", "--problems", "dense"],
        capture_output=True,
        text=True,
    )
    assert "nothing lost" in done.stdout, done.stdout + done.stderr


# Ctrl-C.


def test_ctrl_c_leaves_the_best_epoch_and_a_usable_estimator(small, table):
    small.set_params(max_epochs=20)
    with pytest.warns(UserWarning, match="interrupted after 5 epochs.*can be used as it is"):
        small.set_callbacks(DoAt(5, press_ctrl_c)).fit(table)
    assert small.n_iter_ == len(small.history_["loss"]) == 5
    assert set(small.predict(table)) <= {1, -1}
    best = clone(small).set_params(max_epochs=20).set_callbacks(DoAt(6, lambda: None)).fit(table)
    np.testing.assert_array_equal(best.history_["loss"][:5], small.history_["loss"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_ends_training_after_the_step(small, table):
    small.set_params(max_epochs=1, batch_size=2, validation_fraction=0)
    untrained = clone(small).set_params(learning_rate=1e-12).fit(table)
    with pytest.warns(UserWarning, match="interrupted after 0 epochs"):
        small.set_callbacks(DoAt(0, press_ctrl_c)).fit(table)
    assert small.n_iter_ == 0
    step = [
        np.abs(first - second).max()
        for first, second in zip(
            weights_of(small).values(),
            weights_of(untrained).values(),
            strict=True,
        )
    ]
    assert 0 < max(step) < 2e-3  # of Adam, at most the learning rate
    assert np.isfinite(small.score_samples(table)).all()


def test_a_second_ctrl_c_interrupts_at_once(small, table):
    def press_twice():
        press_ctrl_c()
        press_ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        small.set_callbacks(DoAt(1, press_twice)).fit(table)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not hasattr(small, "network_")


def test_after_ctrl_c_the_next_fit_finishes_what_a_checkpoint_kept(small, table, tmp_path):
    path = tmp_path / "fit.ckpt"
    resumed = clone(small).set_params(checkpoint=path).set_callbacks(DoAt(2, press_ctrl_c))
    with pytest.warns(UserWarning, match=r"after 2 epochs.*fit again to go on from .*fit.ckpt"):
        resumed.fit(table)
    assert_same(small.fit(table), resumed.fit(table), table)
    assert not path.exists()


def test_after_ctrl_c_a_warm_start_goes_on_with_the_history_of_before(small, table, tmp_path):
    small.set_params(warm_start=True).fit(table)
    expected = clone(small).fit(table).fit(table)
    small.set_params(checkpoint=tmp_path / "fit.ckpt").set_callbacks(DoAt(2, press_ctrl_c))
    with pytest.warns(UserWarning, match="after 5 epochs"):
        small.fit(table)
    assert_same(expected, small.fit(table), table)


def test_a_handler_of_the_program_is_left_alone(small, table):
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        small.set_callbacks(DoAt(1, press_ctrl_c)).fit(table)
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed
    assert small.n_iter_ == 3


def test_a_fit_in_a_thread_leaves_signals_alone(small, table):
    thread = threading.Thread(target=lambda: small.fit(table))
    thread.start()
    thread.join()
    assert small.n_iter_ == 3


def test_ctrl_c_ends_a_search_but_a_pipeline_is_one_fit(small, table):
    small.set_callbacks(DoAt(1, press_ctrl_c))
    with pytest.warns(UserWarning, match="interrupted after 1 epochs"):
        make_pipeline(StandardScaler(), small).fit(table)
    for pipeline in (small, make_pipeline(StandardScaler(), small)):
        small.set_callbacks(DoAt(1, press_ctrl_c))
        with pytest.raises(KeyboardInterrupt):
            GridSearchCV(pipeline, {}, cv=2).fit(table)


PROGRAM = """
import signal, sys, warnings
import numpy as np
from sklearn.model_selection import GridSearchCV
from aedetect import AutoencoderTransformer

class Tell:
    def setup(self, estimator, context): pass
    def on_fit_task_begin(self, estimator, context):
        if context.task_id == 3: open(sys.argv[1], "w").close()
    def on_fit_task_end(self, estimator, context): return False
    def teardown(self, estimator, context): pass

signal.signal(signal.SIGINT, signal.default_int_handler)
X = np.random.RandomState(0).rand(500, 8)
detector = AutoencoderTransformer(max_epochs=10**6, patience=10**6).set_callbacks(Tell())
"""


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("with warnings.catch_warnings(record=True) as seen: detector.fit(X)\n"
         "print(seen[0].message, np.isfinite(detector.score_samples(X)).all())", "interrupted"),
        ("try: GridSearchCV(detector, {'latent_dim': [1, 2]}, cv=2, n_jobs=2).fit(X)\n"
         "except KeyboardInterrupt: print('search ended')", "search ended"),
    ],
    ids=["fit", "search"],
)  # fmt: skip
def test_a_real_ctrl_c_ends_a_real_process_in_order(tmp_path, fit, expected):
    signal_file = tmp_path / "training"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM) + fit, signal_file],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not signal_file.exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    output, errors = process.communicate()
    assert expected in output, errors
    assert process.returncode == 0


# Memory.


class Narrow(nn.Linear):
    """Runs out of memory with more than ``limit`` rows at a time."""

    limit = 10

    def forward(self, x):
        if len(x) > self.limit:
            raise torch.OutOfMemoryError
        return super().forward(x)


def narrow_network(limit, *layers):
    torch.manual_seed(0)
    narrow = Narrow(5, 2)
    narrow.limit = limit
    return Autoencoder(nn.Sequential(narrow, *layers), nn.Linear(2, 5))


def without_a_score(model, *_, **__):
    """Return no detector: the network has no room for the rows of a score."""


SETTINGS = {"max_epochs": 3, "batch_size": 32, "validation_fraction": 0, "random_state": 0}


@pytest.mark.parametrize("options", [{}, {"n_members": 2}, {"validation_fraction": 0.3}])
def test_a_batch_too_large_for_the_memory_is_computed_in_parts(table, monkeypatch, options):
    settings = {**SETTINGS, **options}
    whole = AutoencoderTransformer(network=narrow_network(10**6), **settings).fit(table)
    in_parts = AutoencoderTransformer(network=narrow_network(10), **settings)
    monkeypatch.setattr(Detector, "fit", without_a_score)
    with pytest.warns(UserWarning, match=r"each is computed in \d+ parts from here") as warned:
        in_parts.fit(table)
    assert "4 parts" in str(warned[1].message)
    np.testing.assert_allclose(in_parts.history_["loss"], whole.history_["loss"], rtol=1e-5)


def test_batch_norm_gets_no_part_of_a_single_row(table, monkeypatch):
    network = narrow_network(2, nn.BatchNorm1d(2))
    detector = AutoencoderTransformer(network=network, **{**SETTINGS, "batch_size": 7})
    monkeypatch.setattr(Detector, "fit", without_a_score)
    with (
        pytest.warns(UserWarning, match=r"in \d parts"),
        pytest.raises(MemoryError, match=r"does not hold 3 row\(s\).*smaller network"),
    ):
        detector.fit(table[:57])


def test_a_row_too_large_for_the_memory_is_an_error(table):
    with (
        pytest.warns(UserWarning, match=r"in \d+ parts"),
        pytest.raises(MemoryError, match=r"does not hold 1 row\(s\) .*or device='cpu'"),
    ):
        AutoencoderTransformer(network=FailsTraining(), **SETTINGS).fit(table)


class FailsTraining(Autoencoder):
    """Has no room for a single row in training."""

    def __init__(self):
        super().__init__(nn.Linear(5, 2), nn.Linear(2, 5))

    def encode(self, x):
        if self.training:
            raise torch.OutOfMemoryError
        return super().encode(x)
