from __future__ import annotations

import gzip
import struct

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets

from aedetect import datasets

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture(scope="module")
def images():
    rng = np.random.RandomState(0)
    return {
        "train": (rng.randint(0, 256, (6, 28, 28), np.uint8), np.arange(6, dtype=np.uint8)),
        "test": (rng.randint(0, 256, (4, 28, 28), np.uint8), np.arange(4, dtype=np.uint8)),
    }


def idx_bytes(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_npz(folder, images):
    arrays = {
        f"{axis}_{subset}": array
        for subset, pair in images.items()
        for axis, array in zip("xy", pair, strict=True)
    }
    np.savez(folder / "mnist.npz", **arrays)


def write_idx(folder, images, suffix=""):
    for names, subset in ((TRAIN, "train"), (TEST, "test")):
        for name, array in zip(names, images[subset], strict=True):
            content = idx_bytes(array)
            path = folder / f"{name}{suffix}"
            path.write_bytes(gzip.compress(content) if suffix else content)


def write_gzipped_idx(folder, images):
    write_idx(folder, images, suffix=".gz")


@pytest.mark.parametrize("write", [write_npz, write_idx, write_gzipped_idx])
@pytest.mark.parametrize("subset", ["train", "test"])
def test_mnist_is_read_from_a_folder(tmp_path, images, write, subset):
    write(tmp_path, images)
    X, y = datasets.load_mnist(subset, data_home=tmp_path)
    pixels, labels = images[subset]
    np.testing.assert_allclose(X * 255, pixels.reshape(len(pixels), 784), rtol=1e-6)
    np.testing.assert_array_equal(y, labels)
    assert X.dtype == np.float32
    assert X.max() <= 1


def test_the_environment_names_the_folder(tmp_path, images, monkeypatch):
    write_npz(tmp_path, images)
    monkeypatch.setenv("AEDETECT_DATA", str(tmp_path))
    assert len(datasets.load_mnist("test")[0]) == 4


@pytest.mark.parametrize(("subset", "n_rows"), [("train", 60_000), ("test", 10_000)])
def test_without_a_folder_mnist_comes_from_openml(monkeypatch, subset, n_rows):
    def fetch_openml(name, **options):
        assert name == "mnist_784"
        assert not options["as_frame"]
        assert options["return_X_y"]
        y = np.r_[np.full(60_000, "7"), np.full(10_000, "3")].astype(object)
        return np.full((70_000, 1), 255), y

    monkeypatch.delenv("AEDETECT_DATA", raising=False)
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    X, y = datasets.load_mnist(subset)
    assert len(X) == len(y) == n_rows
    assert X.max() == 1
    assert set(y) == {7 if subset == "train" else 3}


def test_a_folder_without_mnist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds neither mnist\.npz nor train-images"):
        datasets.load_mnist(data_home=tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "cut short or damaged"),
        (lambda content: content[:9], "cut short or damaged"),
        (lambda content: content[:2], "not an IDX file"),
        (lambda content: b"GIF8" + content, "not an IDX file"),
    ],
)
def test_a_damaged_idx_file_is_an_error(tmp_path, images, damage, message):
    write_idx(tmp_path, images)
    path = tmp_path / TRAIN[0]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        datasets.load_mnist(data_home=tmp_path)


def test_an_unequal_number_of_labels_is_an_error(tmp_path, images):
    write_idx(tmp_path, images)
    (tmp_path / TRAIN[1]).write_bytes(idx_bytes(np.zeros(5, np.uint8)))
    with pytest.raises(ValueError, match="6 images but 5 labels"):
        datasets.load_mnist(data_home=tmp_path)


def test_an_unknown_subset_is_an_error():
    with pytest.raises(ValueError, match="subset must be 'train' or 'test', but it is 'all'"):
        datasets.load_mnist("all")


def test_digits_are_grey_values_in_the_unit_interval():
    X, y = datasets.load_digits()
    assert X.shape == (1797, 64)
    assert (X.min(), X.max()) == (0, 1)
    assert set(y) == set(range(10))


@pytest.fixture
def labelled():
    """Return rows whose value is their row number, and their classes."""
    return np.arange(100.0).reshape(-1, 1), np.repeat(list("abcd"), 25)


@pytest.mark.parametrize("n_train_anomalies", [0, 7])
@pytest.mark.parametrize("n_test_anomalies", [None, 5])
def test_anomaly_split_holds_every_asked_row_once(labelled, n_train_anomalies, n_test_anomalies):
    X, y = labelled
    X_train, X_test, y_test = datasets.make_anomaly_split(
        X,
        y,
        normal=["a", "c"],
        n_train_anomalies=n_train_anomalies,
        n_test_anomalies=n_test_anomalies,
        test_size=0.4,
        random_state=0,
    )

    def is_normal(rows):
        return np.isin(y[rows[:, 0].astype(int)], ["a", "c"])

    rows = np.r_[X_train, X_test][:, 0]
    assert len(set(rows)) == len(rows)
    assert is_normal(X_train).sum() == 30
    assert (~is_normal(X_train)).sum() == n_train_anomalies
    assert is_normal(X_test).sum() == 20
    expected = 50 - n_train_anomalies if n_test_anomalies is None else n_test_anomalies
    assert (~is_normal(X_test)).sum() == expected
    np.testing.assert_array_equal(y_test, np.where(is_normal(X_test), 1, -1))


def test_anomaly_split_follows_its_random_state(labelled):
    first, second, other = (
        datasets.make_anomaly_split(*labelled, normal="a", random_state=seed)[0]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normal": "z"}, "normal='z' is not among the classes"),
        ({"normal": "a", "n_train_anomalies": 80}, "the 75 rows of other classes"),
        ({"normal": "a", "n_train_anomalies": 70, "n_test_anomalies": 6}, "the 75 rows"),
        ({"normal": "a", "n_test_anomalies": -1}, "must not be negative"),
        ({"normal": "a", "test_size": 1.0}, "test_size must lie in"),
    ],
)
def test_an_impossible_anomaly_split_is_an_error(labelled, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.make_anomaly_split(*labelled, **options)


def test_machines_have_one_wrong_cell_each():
    X, y = datasets.make_machines(300, n_anomalies=10, random_state=0)
    usual, _ = datasets.make_machines(3000, random_state=1)
    kinds = usual.groupby("model")[["site", "voltage"]].first().loc[X["model"]].set_axis(X.index)
    loads = usual.groupby("model")["load"].mean().loc[X["model"]].to_numpy()
    wrong = pd.DataFrame(
        {
            "site": X["site"] != kinds["site"],
            "voltage": X["voltage"] != kinds["voltage"],
            "load": X["load"] > 1.5 * loads,
            "temperature": X["temperature"] < 10 + 0.8 * X["load"],
        }
    )
    # A doubled load has the temperature of a single one.
    assert (wrong.drop(columns="temperature").sum(axis=1) <= 1).all()
    np.testing.assert_array_equal(wrong.any(axis=1), y == -1)
    assert (y == -1).sum() == 10
    assert (X.loc[y == -1, "site"] == "Lion").sum() == 2


def test_machines_follow_their_random_state():
    first, second, other = (datasets.make_machines(20, random_state=seed)[0] for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(other)


@pytest.mark.parametrize("n_anomalies", [-1, 21])
def test_an_impossible_number_of_odd_machines_is_an_error(n_anomalies):
    with pytest.raises(ValueError, match=f"n_anomalies={n_anomalies} must not be"):
        datasets.make_machines(20, n_anomalies=n_anomalies)
