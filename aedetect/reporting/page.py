"""The page: its sections, gathered and written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jinja2
from numpy.typing import ArrayLike
from sklearn.utils import check_scalar

from aedetect.atomic import atomic_write
from aedetect.reporting.calibration import describe_calibration
from aedetect.reporting.comparison import compare
from aedetect.reporting.maps import draw_maps
from aedetect.reporting.oddest import describe_oddest
from aedetect.reporting.provenance import list_parameters, list_versions
from aedetect.reporting.subject import Subject, examine
from aedetect.reporting.text import number, short
from aedetect.reporting.training import describe_training
from aedetect.reporting.verdict import describe_scores, sum_up


def report(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike | None = None,
    path: str | os.PathLike = "report.html",
    *,
    X_train: ArrayLike | None = None,
    peers: bool = True,
    n_rows: int = 20,
    image_shape: tuple[int, ...] | None = None,
    title: str | None = None,
) -> Path:
    """Write what a detector finds in ``X``, and why, as one page of HTML, and return its path.

    The page holds its pictures and asks no address for anything. Its size is bounded: maps and
    comparisons take a sample of many rows, drawn with a fixed seed, and say so.

    Parameters
    ----------
    estimator : fitted outlier detector
        One of ours, a :class:`~aedetect.ConformalDetector`, any of scikit-learn's, or a Pipeline
        that ends in one. What a detector cannot tell is left out of the page.
    X : array-like of shape (n_samples, n_features)
        Rows to judge. Column names and index of a DataFrame appear on the page.
    y : array-like of shape (n_samples,) or None, default=None
        +1 for normal rows and -1 for anomalies, which the page then judges the detector by. Other
        names and whole numbers are classes, which colour the map. Labels of 0 and 1 are refused:
        in other libraries 1 marks anomalies.
    path : path-like, default="report.html"
        Where to write. The page appears complete or not at all.
    X_train : array-like of shape (n_train, n_features) or None, default=None
        The rows that ``estimator`` was fitted to. The peers are fitted to them as well; None fits
        them to ``X``.
    peers : bool, default=True
        Whether to compare with PCA and :class:`~sklearn.ensemble.IsolationForest`.
    n_rows : int, default=20
        How many of the most anomalous rows to explain.
    image_shape : (height, width), (channels, height, width) or None, default=None
        Shows rows as images; None takes the shape of the estimator, if it has one.
    title : str or None, default=None
        None names the estimator.

    Returns
    -------
    path : pathlib.Path

    Raises
    ------
    TypeError
        If ``estimator`` cannot score new rows.
    ValueError
        If ``y`` or ``X_train`` does not fit ``X``, ``y`` holds 0 and 1 or real numbers, or
        ``image_shape`` does not fit the features.

    Examples
    --------
    >>> import tempfile
    >>> from aedetect import AutoencoderTransformer, datasets, report
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(8, max_epochs=5, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report(detector, X, path=f"{folder}/digits.html").name
    'digits.html'
    """
    check_scalar(n_rows, "n_rows", int, min_val=1)
    subject = examine(estimator, X, y, X_train=X_train, image_shape=image_shape)
    page = _render(subject, peers=peers, n_rows=n_rows, title=title)
    with atomic_write(path) as file:
        file.write(page.encode())
    return Path(path)


def _render(subject: Subject, *, peers: bool, n_rows: int, title: str | None) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aedetect.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "short": short}
    return environment.get_template("report.html").render(
        title=title or f"What {subject.name} found",
        subject=subject,
        verdict=sum_up(subject, n_rows),
        scores=describe_scores(subject),
        oddest=describe_oddest(subject, n_rows),
        maps=draw_maps(subject, n_rows),
        comparison=compare(subject, n_rows) if peers else None,
        calibration=describe_calibration(subject),
        training=describe_training(subject),
        parameters=list_parameters(subject),
        versions=list_versions(),
    )
