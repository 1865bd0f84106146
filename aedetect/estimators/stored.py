"""Fitted estimators as NumPy arrays and plain Python, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aedetect.corruption import NOISES, Corruption
from aedetect.model import (
    Columns,
    Model,
    StateError,
    require,
    require_floats,
    require_keys,
    require_number,
)
from aedetect.networks import Autoencoder
from aedetect.scoring import Detector
from aedetect.training import Epoch, find_device

if TYPE_CHECKING:
    from aedetect.estimators.base import BaseAutoencoder

OWN_NETWORK = "_own_network"  # a custom network, beside the detector's plain state
PLACE = "_place"  # names of the devices that the detector computes on, where not on the CPU
REQUIRED = {
    *("detector_", "history_", "n_iter_", "n_features_in_"),
    *("_column_numbers", "_shaped_by", "_corruption", "_continuation"),
}


def to_stored(state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator with plain values in place of its parts."""
    if "detector_" not in state:
        return state
    detector, corruption = state["detector_"], state["_corruption"]
    model = detector.model
    own = {}
    if model.spec.kind == "own":
        own[OWN_NETWORK] = model.to(torch.device("cpu")).network.members[0]
    return {
        **state,
        **own,
        **({} if model.device.type == "cpu" else {PLACE: _names_of_devices(model)}),
        "detector_": detector.to_state(),
        "_corruption": None if corruption is None else corruption.to_state(),
    }


def from_stored(estimator: BaseAutoencoder, state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that :func:`to_stored` was given.

    Parameters
    ----------
    estimator : BaseAutoencoder
        Of the class that the attributes belong to.
    state : dict
        The return value of :func:`to_stored`. Without a custom network in it, a network
        that is the parameter ``network`` stands for that.

    Raises
    ------
    StateError
        If the values contradict each other, or are those of an earlier version.
    """
    if "network_" in state:
        raise _of_an_earlier_version(type(estimator), state)
    if "detector_" not in state:
        return state
    missing = REQUIRED - set(state)
    require(not missing, f"the fitted attributes {sorted(missing)} are missing")
    state = dict(state)
    own, place = state.pop(OWN_NETWORK, state.get("network")), state.pop(PLACE, None)
    detector = Detector.from_state(
        state["detector_"], own if isinstance(own, Autoencoder) else None
    )
    spec = detector.model.spec
    require(
        spec.is_variational == estimator._is_variational,
        f"{type(estimator).__name__} has networks of another kind",
    )
    columns = detector.model.columns
    _check_columns(state, columns.n_features)
    _check_training(state)
    corruption = _corruption_from_state(state["_corruption"], columns)
    require(corruption is not None or not estimator._adds_noise, "its noise is missing")
    first, *others = _found(str(place or "").split(","))
    detector = detector.computing_on(first, *others)
    return {**state, "detector_": detector, "_corruption": corruption}


def _names_of_devices(model: Model) -> str:
    return ",".join(map(str, (model.device, *model.also)))


def _found(names: Sequence[str]) -> list[Any]:
    """Return the devices that this machine has, each once, or None for the CPU."""
    found = [device for name in names if (device := find_device(name)) is not None]
    return list(dict.fromkeys(found)) or [None]


def _of_an_earlier_version(kind: type[BaseAutoencoder], state: dict[str, Any]) -> StateError:
    names = set(kind._get_param_names()) & set(state)
    unfitted = kind(**{name: state[name] for name in names})
    return StateError(
        f"This {kind.__name__} was stored by an earlier version of aedetect, whose fitted"
        " attributes this version cannot read. Fit it again, on the training rows:"
        f" {unfitted!r:.1000}"
    )


def _check_columns(state: dict[str, Any], n_features: int) -> None:
    number = state["n_features_in_"]
    require(
        isinstance(number, int | np.integer) and number == n_features,
        f"n_features_in_ is {number!r:.80}, but the detector has {n_features} features",
    )
    names = state.get("feature_names_in_")
    if names is not None:
        is_array = isinstance(names, np.ndarray) and names.shape == (n_features,)
        require(
            is_array and all(isinstance(name, str) for name in names),
            f"feature_names_in_ does not hold {n_features} names",
        )
    numbers = state["_column_numbers"]
    require(
        numbers is None or (_is_list_of(numbers, int) and len(numbers) == n_features),
        f"_column_numbers does not hold {n_features} numbers",
    )


def _check_training(state: dict[str, Any]) -> None:
    require_keys("history_", state["history_"], set(Epoch._fields))
    for name, column in state["history_"].items():  # may hold NaN: the loss of no held-out rows
        require(
            isinstance(column, np.ndarray)
            and column.shape == (state["n_iter_"],)
            and column.dtype == np.float64
            and len(column) > 0,
            f"{name} of history_ is not one number an epoch",
        )
    shaped_by = state["_shaped_by"]
    require(
        isinstance(shaped_by, dict) and _is_list_of([*shaped_by, *shaped_by.values()], str),
        "_shaped_by does not hold text",
    )
    continuation = state["_continuation"]
    if continuation is not None:
        require_keys("_continuation", continuation, {"trained_by", "state"})
        tensors = continuation["state"]
        require(
            isinstance(tensors, dict) and _is_list_of([*tensors.values()], np.ndarray),
            "the state of _continuation does not hold arrays",
        )


def _is_list_of(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _corruption_from_state(state: Any, columns: Columns) -> Corruption | None:
    if state is None:
        return None
    names = {field.name for field in dataclasses.fields(Corruption)} - {"blocks"}
    require_keys("the noise", state, names)
    require(state["noise"] in NOISES, f"the noise {state['noise']!r:.80} is unknown")
    require_number("the level of the noise", state["level"], above=0)
    shape = (2, int(columns.is_number.sum()))
    require_floats("the bounds of the noise", state["bounds"], shape, np.float32)
    for name in ("clamp", "keeps_missing"):
        require(isinstance(state[name], bool | np.bool_), f"{name} is neither true nor false")
    return Corruption(**{**state, "bounds": np.array(state["bounds"]), "blocks": columns.blocks})
