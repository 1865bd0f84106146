"""Estimators from JSON and arrays: made by their constructors, checked, then given their state."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aedetect.estimators.base import BaseAutoencoder
from aedetect.networks import Autoencoder
from aedetect.persistence.checks import check_attributes, check_calibration, check_numbers
from aedetect.persistence.container import Arrays, ModelFileError
from aedetect.persistence.estimators import CUSTOM, PLACES, class_of
from aedetect.persistence.network_checks import check_measure, check_weights
from aedetect.persistence.values import TAG, Decoder


def restore(
    root: dict[str, Any],
    arrays: Arrays,
    network: Autoencoder | None = None,
    device: torch.device | None = None,
) -> BaseEstimator:
    """Return the fitted estimator that JSON and ``arrays`` stand for.

    Parameters
    ----------
    root : dict
        What ``Encoder.encode`` returned for it.
    arrays : dict of ndarray
        All of which must be used; some come to hold the weights.
    network : Autoencoder or None
        Stands for a network of the user's own.
    device : torch.device or None
        Where networks are put; None leaves them on the CPU.

    Raises
    ------
    ModelFileError
        If something is missing, left over, or does not fit the rest. Other errors of what a file
        can hold pass through.
    """
    restorer = _Restorer(network, device)
    decoder = Decoder(dict(arrays), restorer.decode)
    estimator = decoder.decode(root)
    if not isinstance(estimator, BaseEstimator):
        raise ModelFileError("it holds no estimator")
    check_is_fitted(estimator)
    if decoder.arrays:
        raise ModelFileError(f"nothing uses its arrays {sorted(decoder.arrays)!r:.200}")
    if network is not None and not restorer.is_custom:
        raise ModelFileError(
            "network= was given, but its network is one of this package's own", "Leave it out."
        )
    return estimator


class _Restorer:
    """Decodes the estimators among the values of a file."""

    def __init__(self, network: Autoencoder | None, device: torch.device | None) -> None:
        self._network = network
        self._device = device
        self.is_custom = False  # whether a network of the user's own was asked for

    def decode(self, decoder: Decoder, node: dict[str, Any]) -> BaseEstimator:
        if node[TAG] == "same":
            return decoder.estimators[node["number"]]
        if node[TAG] != "estimator":
            raise ModelFileError(f"it holds a {node[TAG]!r:.80}, which is unknown")
        estimator = self._make(decoder, class_of(node["class"]), node["parameters"])
        attributes = decoder.decode(node["fitted"])
        check_attributes(estimator, attributes)
        if attributes:  # a ConformalDetector keeps a detector to copy, which may be unfitted
            self._fit(estimator, attributes)
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
                "it holds the weights of a network of its user's own, but not its code",
                "Pass an aedetect.networks.Autoencoder of the same architecture:"
                " load(path, network=...).",
            )
        self.is_custom = True
        return self._network

    def _fit(self, estimator: BaseEstimator, attributes: dict[str, Any]) -> None:
        """Set the fitted attributes, once nothing in them can be told to be wrong."""
        if not isinstance(estimator, BaseAutoencoder):
            check_calibration(attributes)
            estimator.__setstate__({**vars(estimator), **attributes})
            return
        check_numbers(attributes)
        member = check_weights(estimator, attributes)
        estimator.__setstate__({**vars(estimator), **attributes})
        check_measure(estimator, member)
        if self._device is not None:
            estimator.network_.to(self._device)


def check_restores(root: dict[str, Any], arrays: Arrays, network: Autoencoder | None) -> None:
    """Refuse to save what could not be loaded."""
    try:
        restore(root, arrays, network)
    except ModelFileError as error:
        raise ValueError(f"The estimator cannot be saved: {error.rule}. Fit it again.") from error
