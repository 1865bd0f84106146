"""Explain anomalies by the contributions of the columns of X."""

from __future__ import annotations

import warnings
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from aedetect.reasons.columns import as_detector_columns, trace
from aedetect.reasons.pipelines import append, split


def explain(model: Any, X: ArrayLike) -> NDArray[np.float64] | pd.DataFrame:
    """Return how much each feature adds to the anomaly of each row, through a Pipeline too.

    Parameters
    ----------
    model : object
        A fitted estimator of this package, a :class:`~aedetect.ConformalDetector` around one, a
        Pipeline that ends in one of these, or a search for one.
    X : array-like of shape (n_samples, n_features)
        Rows in the form that ``model`` takes.

    Returns
    -------
    contributions : ndarray or DataFrame of shape (n_samples, n_features), float64
        Result of the detector's ``explain``, in the columns of ``X``: never negative, larger is
        odder. Columns that do not reach the detector get 0. A DataFrame if ``X`` is one.

        Where a step before the detector mixes columns (PCA), makes several of one
        (OneHotEncoder) or has no inverse, the columns are those that the detector sees.

    Raises
    ------
    TypeError
        If the detector is not one of this package.

    Warns
    -----
    UserWarning
        If the columns are those that the detector sees.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import RobustScaler
    >>> from aedetect import DenoisingAutoencoder, explain
    >>> X, _ = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(RobustScaler(), DenoisingAutoencoder(random_state=0)).fit(X[:-1])
    >>> explain(model, X[-1:].assign(flavanoids=9.0)).idxmax(axis="columns").item()
    'flavanoids'
    """
    contributions, is_traced = explain_traced(model, X)
    if not is_traced:
        warn_of_columns("contributions")
    return contributions


def explain_traced(model: Any, X: ArrayLike) -> tuple[NDArray[np.float64] | pd.DataFrame, bool]:
    """Return contributions, and whether they were traced back to the columns of ``X``.

    Those of a ConformalDetector are the mean over its inner detectors.
    """
    steps, detector = split(model)
    if hasattr(detector, "calibration_scores_"):
        models = [append(steps, inner) for inner in detector.estimators_]
        explanations, traced = zip(*(explain_traced(inner, X) for inner in models), strict=True)
        return sum(explanations[1:], explanations[0]) / len(models), all(traced)
    check_gives_reasons(detector)
    if steps is None:
        return detector.explain(X), True
    seen = np.asarray(detector.explain(steps.transform(X)))
    way = trace(steps, np.shape(X)[1])
    if way is None:
        return as_detector_columns(steps, X, seen), False
    contributions = np.zeros(np.shape(X))
    contributions[:, way.sources] = seen
    if isinstance(X, pd.DataFrame):
        return pd.DataFrame(contributions, index=X.index, columns=X.columns), True
    if nw.dependencies.is_into_dataframe(X):
        frame = nw.from_native(X, eager_only=True)
        return nw.from_numpy(
            contributions, frame.columns, backend=frame.implementation
        ).to_native(), True
    return contributions, True


def warn_of_columns(kind: str) -> None:
    """Warn, at the caller of the caller, that columns are not those of X."""
    warnings.warn(
        f"The steps before the detector cannot be undone column by column: the {kind} are of the"
        " columns that the detector sees, which get_feature_names_out of these steps names.",
        stacklevel=3,
    )


def gives_reasons(model: Any) -> bool:
    """Return whether a model, fitted or not, ends in a detector that explains and repairs."""
    detector = split(model)[1]
    return hasattr(detector, "explain") and hasattr(detector, "repair")


def check_gives_reasons(detector: Any) -> None:
    """Refuse a detector that is not one of this package."""
    if not gives_reasons(detector):
        raise TypeError(
            "Reasons need an estimator of aedetect, a ConformalDetector around one, or a Pipeline"
            f" that ends in one of these, but the detector here is {type(detector).__name__}. Fit"
            " DenoisingAutoencoder, for example, to the rows that it was fitted to."
        )
