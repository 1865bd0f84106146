"""Save an estimator to a file, load it, and describe a file."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from aedetect.atomic import atomic_write
from aedetect.persistence.container import (
    FORMAT,
    ModelFileError,
    check_format,
    is_intact,
    open_file,
    pack,
    read_arrays,
    read_header,
)
from aedetect.persistence.estimators import describe, encode_estimator
from aedetect.persistence.values import Encoder

if TYPE_CHECKING:  # info must not wait for torch
    import torch
    from sklearn.base import BaseEstimator

    from aedetect.networks import Autoencoder


def save(estimator: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one file that is safe to share.

    The file is in the safetensors format: weights and other arrays, a JSON header, and a checksum
    of it all. It holds no code, and :func:`load` runs none. It appears under its name whole or not
    at all, and a former file of that name stays until then. Callbacks and the
    parameter ``checkpoint`` are not kept.

    Parameters
    ----------
    estimator : estimator of this package
        Fitted; or a :class:`~aedetect.ConformalDetector` around one, or the
        :class:`~aedetect.Monitor` of that.
    path : path-like
        The file to write; ``.safetensors`` is a fitting suffix. A link is followed.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If ``estimator`` is not fitted.
    TypeError
        If it is of another class, or holds something that a file cannot carry.
    ValueError
        If its parameters were set to values that are not allowed, or the header is too large.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : Reads the file.
    persistence.SKOPS_TRUSTED : To save whole Pipelines with ``skops.io``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import aedetect
    >>> X, y = aedetect.datasets.load_digits()
    >>> detector = aedetect.VAEDetector(2, max_epochs=2, random_state=0).fit(X)
    >>> path = Path(tempfile.mkdtemp()) / "detector.safetensors"
    >>> aedetect.save(detector, path)
    >>> bool((aedetect.load(path).score_samples(X) == detector.score_samples(X)).all())
    True
    """
    from sklearn.utils.validation import check_is_fitted

    from aedetect.persistence.restoring import check_restores

    encoder = Encoder(encode_estimator)
    root = encoder.encode(estimator, "")
    detector = getattr(estimator, "detector", estimator)  # a Monitor is not fitted itself
    check_is_fitted(detector)
    check_restores(root, encoder.arrays, encoder.network)
    document = {
        "format": FORMAT,
        "versions": _versions(),
        "training": _training(getattr(detector, "estimator_", detector)),
        "estimator": root,
    }
    pieces = pack(document, encoder.arrays)
    with atomic_write(path) as file:
        file.writelines(pieces)


def load(
    path: str | os.PathLike[str],
    *,
    device: str | torch.device | Sequence[str | torch.device] = "auto",
    network: Autoencoder | None = None,
) -> Any:
    """Return the estimator that :func:`save` has written; on a CPU its scores are bit-identical.

    Nothing in the file is run: classes are taken from a fixed list, and everything is checked
    before it is used. So the file may come from a stranger, unlike one of pickle or joblib.

    Parameters
    ----------
    path : path-like
    device : str, torch.device, or list of them, default="auto"
        Where the estimator computes. ``"auto"`` is the CPU, wherever it was trained. Scores
        of another device differ by rounding.
    network : Autoencoder or None, default=None
        For an estimator with a custom network, whose code is not in the file: an
        :class:`~aedetect.networks.Autoencoder` of equal architecture. It is copied and its
        weights are replaced by those in the file.

    Returns
    -------
    estimator : estimator of this package

    Raises
    ------
    ModelFileError
        If the file is damaged, was not written by :func:`save`, is of another format, needs
        another ``network``, or if memory is short. It is a ``ValueError``.
    OSError
        If the file cannot be read.
    ValueError
        If this machine has no such ``device``.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from aedetect import AutoencoderTransformer, datasets, load, save
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(max_epochs=2, random_state=0).fit(X)
    >>> with TemporaryDirectory() as folder:
    ...     save(detector, f"{folder}/digits.aedetect")
    ...     restored = load(f"{folder}/digits.aedetect")
    >>> bool((restored.predict(X) == detector.predict(X)).all())
    True
    """
    from aedetect.persistence.restoring import restore
    from aedetect.training import resolve_devices

    targets = resolve_devices("cpu" if device == "auto" else device)
    with _naming(path), open_file(path) as file:
        header = read_header(file)
        check_format(header)
        if not is_intact(file, header):
            raise ModelFileError("its checksum is not that of its content")
        arrays = read_arrays(file, header)
        return restore(header.document["estimator"], arrays, network, targets)


def info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the description of a file of :func:`save`, without its weights and without PyTorch.

    Files of earlier formats, which :func:`load` refuses, are described too.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    facts : dict
        - ``class`` and ``parameters``.
        - ``estimator``: class of the autoencoder, also of that inside a ``ConformalDetector``.
        - ``n_features``, and ``feature_names``: None where there were none.
        - ``levels`` of each categorical column, by its name.
        - ``threshold``: rows that score below it are anomalies. None where no row can be.
        - ``calibration``, None where there was none: ``n_rows``, ``n_detectors`` (one, or one a
          fold), ``block_size``, and ``false_alarms``, the share of normal rows that are flagged.
        - ``training`` of the autoencoder: ``epochs``, the last ``loss`` and ``val_loss``,
          ``seconds``.
        - ``versions`` of the packages that wrote the file.
        - ``format``, ``n_bytes``, ``sha256``, and ``intact``: whether that checksum holds.

    Raises
    ------
    ModelFileError
        If the header is damaged, of a newer format, or of something else.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from aedetect import AutoencoderTransformer, datasets, save
    >>> from aedetect.persistence import info
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(8, max_epochs=2, random_state=0).fit(X)
    >>> with TemporaryDirectory() as folder:
    ...     save(detector, f"{folder}/digits.aedetect")
    ...     facts = info(f"{folder}/digits.aedetect")
    >>> facts["class"], facts["parameters"]["latent_dim"], facts["intact"]
    ('AutoencoderTransformer', 8, True)
    """
    with _naming(path), open_file(path) as file:
        header = read_header(file)
        return {
            **describe(header.document["estimator"], header.table),
            **{key: header.document[key] for key in ("training", "versions", "format", "sha256")},
            "n_bytes": os.fstat(file.fileno()).st_size,
            "intact": is_intact(file, header),
        }


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn every error that a file causes into a ModelFileError that names the file."""
    try:
        yield
    except OSError:  # names it already
        raise
    except ModelFileError as error:
        error.rule = f"{os.fspath(path)} cannot be loaded: {error.rule}"
        raise
    except Exception as error:  # the file may be a stranger's: callers get one kind of error
        cause = "memory is short" if _is_of_memory(error) else "its content makes no sense"
        raise ModelFileError(
            f"{os.fspath(path)} cannot be loaded: {cause} ({type(error).__name__}:"
            f" {str(error)[:200]})"
        ) from error


def _is_of_memory(error: Exception) -> bool:
    """Return whether memory ran out, which PyTorch reports as a RuntimeError."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error)


def _versions() -> dict[str, str]:
    import aedetect

    packages = ("torch", "scikit-learn", "numpy", "safetensors")
    return {
        "aedetect": aedetect.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def _training(estimator: BaseEstimator) -> dict[str, Any]:
    history = getattr(estimator, "history_", {})
    if not history:
        return {}
    last = {name: float(history[name][-1]) for name in ("loss", "val_loss")}
    return {
        "epochs": len(history["loss"]),
        **{name: value if np.isfinite(value) else None for name, value in last.items()},
        "seconds": float(history["seconds"].sum()),
    }
