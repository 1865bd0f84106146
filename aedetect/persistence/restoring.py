"""Estimators from JSON and arrays: constructed, and given their fitted state, which is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aedetect.conformal import ConformalDetector, Monitor
from aedetect.conformal.stored import check_monitor, check_stored
from aedetect.model import StateError, require
from aedetect.networks import Autoencoder
from aedetect.persistence.container import Arrays, ModelFileError
from aedetect.persistence.estimators import CUSTOM, PLACES, class_of
from aedetect.persistence.values import TAG, Decoder


def restore(
    root: dict[str, Any],
    arrays: Arrays,
    network: Autoencoder | None = None,
    devices: Sequence[torch.device] = (),
) -> BaseEstimator:
    """Return the fitted estimator that JSON and ``arrays`` stand for.

    Parameters
    ----------
    root : dict
        The return value of ``Encoder.encode``.
    arrays : dict of ndarray
        The estimator's arrays, and no others.
    network : Autoencoder or None
        Stands for a custom network.
    devices : sequence of torch.device, default=()
        Where networks are put, on the first one; none leave them on the CPU.

    Raises
    ------
    ModelFileError
        If something is missing, left over, or does not fit the rest. Other errors that a forged
        file can cause pass through.
    """
    restorer = _Restorer(network, devices)
    decoder = Decoder(dict(arrays), restorer.decode)
    try:
        estimator = decoder.decode(root)
    except StateError as error:
        raise ModelFileError(str(error)) from error
    if not isinstance(estimator, BaseEstimator):
        raise ModelFileError("it holds no estimator")
    check_is_fitted(getattr(estimator, "detector", estimator))
    if decoder.arrays:
        raise ModelFileError(f"nothing uses its arrays {sorted(decoder.arrays)!r:.200}")
    if network is not None and not restorer.is_custom:
        raise ModelFileError(
            "network= was given, but its network is one of this package's own", "Leave it out."
        )
    return estimator


class _Restorer:
    """Decodes the estimators among the values of a file."""

    def __init__(self, network: Autoencoder | None, devices: Sequence[torch.device]) -> None:
        self._network = network
        self._devices = devices
        self.is_custom = False  # whether a custom network is in the file

    def decode(self, decoder: Decoder, node: dict[str, Any]) -> BaseEstimator:
        if node[TAG] == "same":
            return decoder.estimators[node["number"]]
        if node[TAG] != "estimator":
            raise ModelFileError(f"it holds a {node[TAG]!r:.80}, which is unknown")
        estimator = self._make(decoder, class_of(node["class"]), node["parameters"])
        self._set_fitted(estimator, decoder.decode(node["fitted"]))
        decoder.estimators.append(estimator)
        return estimator

    def _make(self, decoder: Decoder, kind: type, parameters: dict[str, Any]) -> BaseEstimator:
        """Return the unfitted estimator, its parameters validated."""
        known = set(kind._get_param_names()) - PLACES  # type: ignore[attr-defined]
        unknown = set(parameters) - known
        if unknown:
            raise ModelFileError(
                f"{kind.__name__} has no parameters {sorted(unknown)!r:.200}",
                "Upgrade aedetect if a newer version wrote the file.",
            )
        given = {
            key: self._custom_network() if entry == CUSTOM else decoder.decode(entry)
            for key, entry in parameters.items()
        }
        estimator = kind(**given)
        estimator._validate_params()
        return estimator

    def _custom_network(self) -> Autoencoder:
        if not isinstance(self._network, Autoencoder):
            raise ModelFileError(
                "it holds the weights of a custom network, but not its code",
                "Pass an aedetect.networks.Autoencoder of the same architecture:"
                " load(path, network=...).",
            )
        self.is_custom = True
        return self._network

    def _set_fitted(self, estimator: BaseEstimator, attributes: dict[str, Any]) -> None:
        """Set the fitted attributes. A detector that a ConformalDetector copies may have none."""
        _check_names(estimator, attributes)
        if attributes and isinstance(estimator, ConformalDetector):
            check_stored(attributes)
        if attributes and isinstance(estimator, Monitor):
            check_monitor(attributes, estimator.detector)
        estimator.__setstate__({**vars(estimator), **attributes})
        if self._devices and hasattr(estimator, "network_"):
            estimator.to(list(self._devices))


def _check_names(estimator: BaseEstimator, attributes: dict[str, Any]) -> None:
    """Refuse names that hide methods or parameters."""
    taken = {*dir(type(estimator)), *vars(estimator)}
    for name in attributes:
        require(
            name.isidentifier() and name not in taken,
            f"{name!r:.80} is no name of a fitted attribute of {type(estimator).__name__}",
        )


def check_restores(root: dict[str, Any], arrays: Arrays, network: Autoencoder | None) -> None:
    """Refuse to save an estimator that could not be loaded."""
    try:
        restore(root, arrays, network)
    except ModelFileError as error:
        raise ValueError(f"The estimator cannot be saved: {error.rule}. Fit it again.") from error
