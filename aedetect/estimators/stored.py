"""Fitted estimators as NumPy arrays and plain Python, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from aedetect.corruption import Corruption
from aedetect.model import StateError, require, require_floats, require_keys
from aedetect.networks import Autoencoder
from aedetect.scoring import Detector

OWN_NETWORK = "_own_network"  # a network of the user's own, beside the detector's plain state


def to_stored(state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator with plain values in place of its parts."""
    if "detector_" not in state:
        return state
    detector, corruption = state["detector_"], state["_corruption"]
    own = {OWN_NETWORK: detector.model.user_network} if detector.model.spec.kind == "own" else {}
    return {
        **state,
        **own,
        "detector_": detector.to_state(),
        "_corruption": None if corruption is None else dataclasses.asdict(corruption),
    }


def from_stored(state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that :func:`to_stored` was given.

    Raises
    ------
    StateError
        If the values contradict each other, or were stored before version 0.2.
    """
    if "network_" in state:
        raise StateError(OLD)
    if "detector_" not in state:
        return state
    state = dict(state)
    own = state.pop(OWN_NETWORK, None) or state.get("network")
    detector = Detector.from_state(
        state["detector_"], own if isinstance(own, Autoencoder) else None
    )
    corruption = state["_corruption"]
    if corruption is not None:
        corruption = _corruption_from_state(corruption, detector.model.spec.n_features)
    require(
        state["n_features_in_"] == detector.model.spec.n_features,
        f"n_features_in_ is {state['n_features_in_']!r:.80}, but the detector has"
        f" {detector.model.spec.n_features} features",
    )
    return {**state, "detector_": detector, "_corruption": corruption}


OLD = (
    "it was stored by a version of aedetect before 0.2, whose fitted attributes this one cannot"
    " read. Its parameters are kept: fit an estimator with them on the training rows"
)


def _corruption_from_state(state: Any, n_features: int) -> Corruption:
    require_keys("the noise", state, {"noise", "level", "bounds", "clamp", "keeps_missing"})
    require_floats("the bounds of the noise", state["bounds"], (2, n_features))
    return Corruption(**{**state, "bounds": np.array(state["bounds"])})
