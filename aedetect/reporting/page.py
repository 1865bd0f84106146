"""``report``: collect the sections of the page and write it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from numpy.typing import ArrayLike
from sklearn.utils import check_scalar

from aedetect.atomic import atomic_write
from aedetect.conformal import Monitor
from aedetect.plotting.style import short
from aedetect.reporting.calibration import describe_calibration
from aedetect.reporting.comparison import compare
from aedetect.reporting.maps import draw_maps
from aedetect.reporting.monitoring import Monitoring, describe_monitor
from aedetect.reporting.provenance import list_parameters, list_versions
from aedetect.reporting.subject import Subject, examine
from aedetect.reporting.text import number, percent, times
from aedetect.reporting.top_rows import describe_top_rows
from aedetect.reporting.training import describe_training
from aedetect.reporting.verdict import draw_scores, sum_up


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
    row_names: Sequence[Any] | None = None,
) -> Path:
    """Write one HTML page on the anomalies in ``X`` and their explanations, and return its path.

    The page is a single file that loads nothing from the network. Maps and comparison are limited
    to a random sample of many rows, with a fixed seed, and the page says so.

    Parameters
    ----------
    estimator : fitted outlier detector
        An estimator of aedetect, a :class:`~aedetect.ConformalDetector`, a detector of
        scikit-learn, or a Pipeline that ends in one. Sections that need methods which the detector
        lacks are omitted. A :class:`~aedetect.Monitor` adds a section on the rows that it was
        given, and its detector is reported.
    X : array-like of shape (n_samples, n_features)
        Rows to score. Column names and index of a DataFrame appear on the page.
    y : array-like of shape (n_samples,) or None, default=None
        +1 for normal rows and -1 for anomalies, to evaluate the detector. Other names and whole
        numbers are classes, which colour the map. Labels of 0 and 1 are an error: in other
        libraries 1 marks anomalies.
    path : path-like, default="report.html"
        The file to write. It is replaced in one step, so it is never incomplete.
    X_train : array-like of shape (n_train, n_features) or None, default=None
        The training rows of ``estimator``, to fit PCA and IsolationForest to. None fits them to
        ``X``.
    peers : bool, default=True
        Whether to compare with PCA and :class:`~sklearn.ensemble.IsolationForest`.
    n_rows : int, default=20
        Number of the most anomalous rows to explain.
    image_shape : (height, width), (channels, height, width) or None, default=None
        Shape of rows that are images. None takes the shape of the estimator, if it has one.
    title : str or None, default=None
        Title of the page. None gives one with the name of the estimator.
    row_names : sequence of length n_samples or None, default=None
        Names of the rows on the page, such as identifiers. None takes the index of a DataFrame,
        else their numbers.

    Returns
    -------
    path : pathlib.Path

    Raises
    ------
    TypeError
        If ``estimator`` cannot score new rows.
    ValueError
        If ``y`` or ``X_train`` does not match ``X``, ``y`` holds 0 and 1 or real numbers, or
        ``image_shape`` does not hold ``n_features`` values.

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
    monitoring = describe_monitor(estimator)
    detector = estimator.detector if isinstance(estimator, Monitor) else estimator
    subject = examine(detector, X, y, X_train=X_train, image_shape=image_shape, row_names=row_names)
    page = _render(subject, monitoring, peers=peers, n_rows=n_rows, title=title)
    with atomic_write(path) as file:
        file.write(page.encode())
    return Path(path)


def _render(
    subject: Subject, monitoring: Monitoring | None, *, peers: bool, n_rows: int, title: str | None
) -> str:
    top = subject.top_rows(n_rows)
    contributions = subject.explain(top)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aedetect.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "short": short, "times": times}
    top_rows = describe_top_rows(subject, top, contributions)
    return environment.get_template("report.html").render(
        title=title or f"Anomalies found by {subject.name}",
        subject=subject,
        verdict=sum_up(subject, contributions),
        scores=draw_scores(subject),
        top_rows=top_rows,
        repairs=any(row.n_changed for row in top_rows),
        maps=draw_maps(subject, top),
        comparison=compare(subject, n_rows) if peers else None,
        calibration=describe_calibration(subject),
        monitoring=monitoring,
        training=describe_training(subject),
        parameters=list_parameters(subject),
        versions=list_versions(),
    )
