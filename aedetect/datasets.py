"""Load handwritten digits, draw tables, and turn labelled classes into anomaly problems."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import sklearn.datasets
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d

__all__ = ["load_digits", "load_mnist", "make_anomaly_split", "make_machines"]

_IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_N_MNIST_TRAIN = 60_000  # the first rows of OpenML's mnist_784 are the train set
_MACHINES = (  # model, site, voltage, usual load in kW
    *(("A10", "Bremen", "230 V", 5), ("A20", "Lyon", "230 V", 6), ("A30", "Turin", "400 V", 8)),
    *(("B10", "Porto", "400 V", 10), ("B20", "Bremen", "230 V", 12), ("B30", "Lyon", "230 V", 15)),
    *(("C10", "Turin", "400 V", 19), ("C20", "Porto", "400 V", 24), ("C30", "Bremen", "230 V", 30)),
    *(("D10", "Porto", "230 V", 38), ("D20", "Lyon", "400 V", 48), ("D30", "Turin", "400 V", 60)),
)
_OPERATORS = ("Ada", "Emmy", "Grace", "Hedy", "Ida", "Lise", "Mary", "Rosa")


def load_digits() -> tuple[NDArray[np.float32], NDArray[np.int_]]:
    """Return the 8x8 digits that ship with scikit-learn.

    Returns
    -------
    X : ndarray of shape (1797, 64), float32
        Grey values in [0, 1].
    y : ndarray of shape (1797,), int
        Digit of each image, 0 to 9.

    Examples
    --------
    >>> from aedetect.datasets import load_digits
    >>> X, y = load_digits()
    >>> X.shape
    (1797, 64)
    """
    X, y = sklearn.datasets.load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y.astype(int)


def load_mnist(
    subset: Literal["train", "test"] = "train", *, data_home: str | os.PathLike | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int_]]:
    """Return the 28x28 digits of MNIST (LeCun, Cortes & Burges).

    Parameters
    ----------
    subset : {"train", "test"}, default="train"
        The 60,000 training images or the 10,000 test images.
    data_home : path-like or None, default=None
        A folder with ``mnist.npz`` or the IDX files, plain or gzipped. None takes the folder in the
        environment variable ``AEDETECT_DATA``; if that is not set, scikit-learn downloads the
        images from OpenML and caches them.

    Returns
    -------
    X : ndarray of shape (n_images, 784), float32
        Grey values in [0, 1], row by row.
    y : ndarray of shape (n_images,), int
        Digit of each image, 0 to 9.

    Raises
    ------
    ValueError
        If ``subset`` is neither, or a file is damaged or of another format.
    FileNotFoundError
        If the folder has no MNIST files.

    Examples
    --------
    >>> from aedetect.datasets import load_mnist
    >>> X, y = load_mnist("test")  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (10000, 784)
    """
    if subset not in _IDX_FILES:
        raise ValueError(f"subset must be 'train' or 'test', but it is {subset!r}.")
    folder = data_home or os.environ.get("AEDETECT_DATA")
    images, labels = _fetch_mnist(subset) if not folder else _read_mnist(Path(folder), subset)
    if len(images) != len(labels):
        raise ValueError(f"MNIST has {len(images)} images but {len(labels)} labels ({subset}).")
    pixels = images.reshape(len(images), -1).astype(np.float32)
    pixels /= 255
    return pixels, labels.astype(int)


def _fetch_mnist(subset: str) -> tuple[NDArray, NDArray]:
    X, y = sklearn.datasets.fetch_openml(
        "mnist_784", version=1, return_X_y=True, as_frame=False, parser="liac-arff"
    )
    rows = slice(None, _N_MNIST_TRAIN) if subset == "train" else slice(_N_MNIST_TRAIN, None)
    return X[rows], y[rows]


def _read_mnist(folder: Path, subset: str) -> tuple[NDArray, NDArray]:
    if (folder / "mnist.npz").is_file():
        with np.load(folder / "mnist.npz", allow_pickle=False) as archive:
            return archive[f"x_{subset}"], archive[f"y_{subset}"]
    images, labels = (_find_idx(folder, name) for name in _IDX_FILES[subset])
    return _read_idx(images), _read_idx(labels)


def _find_idx(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{folder} holds neither mnist.npz nor {name}[.gz]. Put one there, or leave data_home and"
        " AEDETECT_DATA unset to download MNIST from OpenML."
    )


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of an IDX file: two zero bytes, type 8 (uint8), rank, sizes, data."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        content = file.read()
    if content[:3] != b"\x00\x00\x08" or len(content) < 4:
        raise ValueError(f"{path} is not an IDX file of bytes: it starts with {content[:4]!r}.")
    header = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:header]) if len(content) >= header else ()
    if not shape or len(content) - header != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path} is cut short or damaged: {len(content)} bytes, shape {shape}.")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def make_anomaly_split(
    X: ArrayLike,
    y: ArrayLike,
    *,
    normal: ArrayLike,
    n_train_anomalies: int = 0,
    n_test_anomalies: int | None = None,
    test_size: float = 0.5,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[NDArray, NDArray, NDArray[np.int_]]:
    """Return an anomaly problem from labelled classes.

    Rows of the normal classes are split into training and test; rows of all other classes are
    anomalies, drawn without replacement.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        The class of each row.
    normal : class or array-like of classes
        The normal classes.
    n_train_anomalies : int, default=0
        Number of anomalies among the training rows.
    n_test_anomalies : int or None, default=None
        Number of anomalies among the test rows; None takes all that are not in training.
    test_size : float in (0, 1), default=0.5
        Share of the normal rows that go to the test rows.
    random_state : int, RandomState instance or None, default=None
        Draws the rows and their order.

    Returns
    -------
    X_train : ndarray of shape (n_train, n_features)
    X_test : ndarray of shape (n_test, n_features)
    y_test : ndarray of shape (n_test,), int
        +1 for normal rows and -1 for anomalies, as ``predict`` returns them.

    Raises
    ------
    ValueError
        If a normal class does not occur in ``y``, if ``test_size`` is out of range, or if there are
        too few anomalies.

    Examples
    --------
    >>> from aedetect.datasets import load_digits, make_anomaly_split
    >>> X_train, X_test, y_test = make_anomaly_split(
    ...     *load_digits(), normal=0, n_test_anomalies=20, random_state=0
    ... )
    >>> X_train.shape, X_test.shape, (y_test == -1).sum().item()
    ((89, 64), (109, 64), 20)
    """
    X = check_array(X, dtype=None, ensure_all_finite=False)
    y = column_or_1d(y)
    check_consistent_length(X, y)
    classes = np.atleast_1d(normal)
    if not np.isin(classes, y).all():
        raise ValueError(f"normal={normal!r} is not among the classes {np.unique(y).tolist()}.")
    if not 0 < test_size < 1:
        raise ValueError(f"test_size must lie in (0, 1), but it is {test_size}.")
    rng = check_random_state(random_state)
    is_normal = np.isin(y, classes)
    normal_rows = rng.permutation(np.flatnonzero(is_normal))
    anomalies = rng.permutation(np.flatnonzero(~is_normal))
    n_anomalies = len(anomalies)
    n_test = n_anomalies - n_train_anomalies if n_test_anomalies is None else n_test_anomalies
    if min(n_train_anomalies, n_test) < 0 or n_train_anomalies + n_test > n_anomalies:
        raise ValueError(
            f"n_train_anomalies={n_train_anomalies} and n_test_anomalies={n_test_anomalies} must"
            f" not be negative nor add up to more than the {n_anomalies} rows of other classes."
        )
    n_train = len(normal_rows) - round(len(normal_rows) * test_size)
    train = np.r_[normal_rows[:n_train], anomalies[:n_train_anomalies]]
    test = np.r_[normal_rows[n_train:], anomalies[n_train_anomalies:][:n_test]]
    train, test = rng.permutation(train), rng.permutation(test)
    return X[train], X[test], np.where(is_normal[test], 1, -1)


def make_machines(
    n_samples: int = 1000,
    *,
    n_anomalies: int = 0,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[pd.DataFrame, NDArray[np.int_]]:
    """Return a table of machines with columns of text, of numbers, and of true and false.

    Each of twelve models has its site, voltage and usual load (kW), and the temperature (degrees
    Celsius) follows the load. The other columns are random. An anomaly has one wrong cell: another
    site, the other voltage, twice the load, a temperature that is 20 degrees too low, or a misspelt
    site.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of machines, anomalies among them.
    n_anomalies : int, default=0
    random_state : int, RandomState instance or None, default=None
        Draws the machines and their wrong cells.

    Returns
    -------
    X : DataFrame of shape (n_samples, 9)
        Columns ``model``, ``site``, ``voltage``, ``load``, ``temperature``, ``hours``,
        ``operator``, ``shift`` and ``serviced``.
    y : ndarray of shape (n_samples,), int
        +1 for normal rows and -1 for anomalies, as ``predict`` returns them.

    Raises
    ------
    ValueError
        If ``n_anomalies`` is negative or more than ``n_samples``.

    Examples
    --------
    >>> from aedetect.datasets import make_machines
    >>> X, y = make_machines(200, n_anomalies=10, random_state=0)
    >>> X["site"].unique().tolist()
    ['Lyon', 'Bremen', 'Porto', 'Turin', 'Lion']
    """
    if not 0 <= n_anomalies <= n_samples:
        raise ValueError(
            f"n_anomalies={n_anomalies} must not be negative nor exceed n_samples={n_samples}."
        )
    rng = check_random_state(random_state)
    models = pd.DataFrame(_MACHINES, columns=["model", "site", "voltage", "load"])
    X = models.loc[rng.randint(len(models), size=n_samples)].reset_index(drop=True)
    X["load"] = (X["load"] * rng.normal(1, 0.05, n_samples)).round(1)
    X["temperature"] = (20 + 0.8 * X["load"] + rng.normal(0, 1, n_samples)).round(1)
    X["hours"] = rng.randint(100, 20_000, size=n_samples)
    X["operator"] = rng.choice(_OPERATORS, n_samples)
    X["shift"] = rng.choice(["early", "late", "night"], n_samples)
    X["serviced"] = rng.random_sample(n_samples) < 0.7
    wrong = rng.permutation(n_samples)[:n_anomalies]
    kinds = [wrong[kind::5] for kind in range(5)]
    X.loc[kinds[0], "site"] = X["site"].map(lambda site: "Lyon" if site == "Turin" else "Turin")
    X.loc[kinds[1], "voltage"] = X["voltage"].map({"230 V": "400 V", "400 V": "230 V"})
    X.loc[kinds[2], "load"] = 2 * X["load"]
    X.loc[kinds[3], "temperature"] = X["temperature"] - 20
    X.loc[kinds[4], "site"] = "Lion"
    return X, np.where(np.isin(np.arange(n_samples), wrong), -1, 1)
