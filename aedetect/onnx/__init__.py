"""Files that score without PyTorch: fitted estimators and whole Pipelines as ONNX graphs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aedetect.extras import require

OPSETS = (18, 22)


def to_onnx(
    estimator: BaseEstimator,
    path: str | os.PathLike[str],
    *,
    dtype: Literal["float64", "float32"] = "float64",
    opset: int = 18,
) -> Path:
    """Write a fitted estimator or Pipeline as an ONNX graph, and return where it is.

    Any ONNX runtime scores with the file, on any number of rows, without PyTorch, scikit-learn or
    aedetect. The graph agrees with Python up to the rounding of float32 products, about 1e-6 of a
    score. A row this near to the threshold or to a calibration row may fall on either side.

    Parameters
    ----------
    estimator : estimator
        Fitted: one of aedetect's, a :class:`~sklearn.pipeline.Pipeline` with one at its end or
        before it, a search whose ``best_estimator_`` is one of these, or a ``ConformalDetector``
        around one that ends with an aedetect estimator. skl2onnx converts the other steps.
    path : str or path-like
        The file; one that is there is replaced, once the new one is complete.
    dtype : {"float64", "float32"}, default="float64"
        Type of the rows that the graph takes. Either is scaled in float64 and then cast to float32
        for the network, as in Python.
    opset : int, default=18
        Version of the ONNX operators, 18 to 22; a higher one needs a newer runtime.

    Returns
    -------
    path : pathlib.Path

    Raises
    ------
    ImportError
        If the extra ``onnx`` is not installed.
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If a step or a network cannot be converted, if a column has levels of several kinds, if a
        detector of text is not the first step, or if a parameter is out of its range.

    Notes
    -----
    The graph has one input ``X`` of shape (rows, n_features). Where the first step is a
    :class:`~sklearn.compose.ColumnTransformer` that was fitted to a DataFrame, it has one input a
    column instead, of the column's name and shape (rows, 1): strings where the column is encoded
    by its categories, else numbers.

    An aedetect estimator with categorical columns, alone or as the first step, has one input a
    column as well. It takes strings where the levels are text, and numbers where they are numbers
    or booleans (1 and 0). A missing cell is the empty string or NaN; ``"None"``, ``"nan"`` and
    ``"<NA>"``, which onnxruntime makes of missing cells, are missing too. A string that is a level
    of the column stands for this level. ``reconstruct`` returns places of levels, which the file's
    metadata lists as JSON under ``aedetect.levels``.

    The metadata also holds, as JSON, the columns of X in their order under ``aedetect.columns``
    (``name``, ``type``, ``levels``), and the threshold under ``aedetect.threshold``: ``offset``
    (null where no row can be flagged) and, of a ``ConformalDetector``, ``n_calibration`` and
    ``false_alarms``, the largest share of normal rows that it flags on average.

    An aedetect estimator at the end gives the outputs ``label`` (int64), ``score_samples`` and
    ``decision_function`` (float64), ``transform`` and ``reconstruct`` (of ``dtype``), and a
    ``ConformalDetector`` around it ``p_value`` (float64) as well. Other estimators at the end give
    the outputs that skl2onnx names.

    A graph raises no errors: a row that is not finite, which Python refuses, gets the label -1,
    and values outside [0, 1] are scored with ``loss="bce"`` too. With scores that look at
    neighbours, all rows of a call are compared with up to 10,000 training rows at once, 40 kB a
    row: score some thousand rows a call.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import onnxruntime
    >>> from aedetect import AutoencoderTransformer, datasets, to_onnx
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(8, max_epochs=5, random_state=0).fit(X)
    >>> with TemporaryDirectory() as folder:
    ...     path = to_onnx(detector, f"{folder}/digits.onnx", dtype="float32")
    ...     session = onnxruntime.InferenceSession(path)
    >>> (scores,) = session.run(["score_samples"], {"X": X})
    >>> scores.shape
    (1797,)
    """
    check_is_fitted(estimator)
    if dtype not in ("float64", "float32"):
        raise ValueError(f"dtype must be 'float64' or 'float32', but it is {dtype!r}.")
    low, high = OPSETS
    if not low <= opset <= high:
        raise ValueError(
            f"opset must be from {low} to {high}, which all converters support, but it is {opset}."
        )
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"path={str(path)!r} must lie in a folder that exists; make it first.")
    require("onnx", "to_onnx")
    from aedetect.onnx.pipelines import convert, write

    return write(convert(estimator, dtype, opset), path)
