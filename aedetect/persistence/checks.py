"""What the fitted attributes in a file must be, whatever network they are of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aedetect.persistence.container import ModelFileError

COUNTS = {"n_features_in_", "latent_dim_", "n_iter_", "_n_members"}
REQUIRED = COUNTS | {
    *("network_", "offset_", "history_"),
    *("_scaling", "_measure", "_score_name", "_blueprint"),
    *("_loss", "_image_shape", "_takes_missing"),
}
# The loss of no held-out rows is NaN, a threshold that no row falls below is -inf, and so is what
# training has yet to beat.
NOT_FINITE = {"history_", "offset_", "_continuation"}


def require(holds: bool, rule: str) -> None:
    """Refuse a file of which a rule does not hold."""
    if not holds:
        raise ModelFileError(rule)


def check_attributes(estimator: BaseEstimator, attributes: dict[str, Any]) -> None:
    """Refuse names that hide methods or parameters, and values that are not finite."""
    taken = {*dir(type(estimator)), *vars(estimator)}
    for name, value in attributes.items():
        require(
            name.isidentifier() and name not in taken,
            f"{name!r:.80} is no name of a fitted attribute of {type(estimator).__name__}",
        )
        for number in () if name in NOT_FINITE else _numbers(value):
            require(bool(np.isfinite(number).all()), f"{name} holds NaN or infinity")


def _numbers(value: Any) -> Iterator[Any]:
    """Yield the numbers and the arrays of numbers in a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, int | float | np.number) or (
        isinstance(value, np.ndarray) and value.dtype != object
    ):
        yield value


def check_numbers(attributes: dict[str, Any]) -> None:
    """Refuse attributes of a network's estimator that are missing or of another kind."""
    missing = REQUIRED - set(attributes)
    require(not missing, f"the fitted attributes {sorted(missing)} are missing")
    for name in COUNTS:
        count = attributes[name]
        require(
            isinstance(count, int | np.integer) and bool(count > 0),
            f"{name} is {count!r:.80}, which is not a count",
        )
    require(bool(np.isfinite(attributes["offset_"])), "offset_ is not finite")
    history = attributes["history_"]
    lengths = {shape_of(column) for column in history.values()}
    require(len(lengths) == 1 and len(lengths.pop()) == 1, "history_ is not one number an epoch")
    # As many columns, and networks, as there are numbers in the file: no more memory is asked for.
    n_features, n_members = attributes["n_features_in_"], attributes["_n_members"]
    location = shape_of(attributes["_scaling"]["location"])
    require(location == (n_features,), f"_scaling is not of {n_features} features")
    n_weights = len(attributes["network_"])
    require(n_members <= max(1, n_weights), f"{n_members} networks have {n_weights} weights")
    names = attributes.get("feature_names_in_")
    require(
        names is None or (shape_of(names) == (n_features,) and names.dtype == object),
        f"feature_names_in_ does not hold {n_features} names",
    )


def check_calibration(attributes: dict[str, Any]) -> None:
    """Refuse attributes of a ConformalDetector that contradict each other."""
    detectors, parts = attributes["estimators_"], attributes["_calibration"]
    require(0 < len(detectors) == len(parts), "not every fold has calibration scores")
    require(attributes.get("estimator_", detectors[0]) is detectors[0], "estimator_ is another one")
    for detector in detectors:
        check_is_fitted(detector)
    pooled = np.sort(np.concatenate(parts))
    n_rows = len(pooled)
    same = np.array_equal(pooled, attributes["calibration_scores_"])
    require(same and pooled.dtype == np.float64, "calibration_scores_ are not those of the folds")
    require(
        shape_of(attributes["calibration_indices_"]) == (n_rows,), "a calibration row has no number"
    )
    require(attributes["_rank"] in range(n_rows + 1), "the rank of its alarm is not one")
    require(not np.isnan(attributes["offset_"]), "offset_ is not a number")


def shape_of(array: Any) -> tuple[int, ...]:
    """Return the shape of what must be an array."""
    require(isinstance(array, np.ndarray), "it holds something else where an array belongs")
    return array.shape


def exceeds(number: Any, limit: float) -> bool:
    """Return whether ``number`` is one, and above ``limit``."""
    return isinstance(number, int | float | np.number) and bool(number > limit)
