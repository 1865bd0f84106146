"""What weights, scalings and measures in a file must be, so that they fit their network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import validate_parameter_constraints
from torch import Tensor

from aedetect.estimators import DenoisingAutoencoder
from aedetect.estimators.base import BaseAutoencoder
from aedetect.estimators.checks import check_image, check_layer_sizes, check_shapes
from aedetect.losses import FEATURE_ERRORS
from aedetect.model.scaling import Scaling
from aedetect.networks import Autoencoder
from aedetect.persistence.checks import exceeds, require, shape_of
from aedetect.scoring import (
    EVIDENCE_SCORES,
    Evidence,
    ObservedCells,
    measures,
    of_complete_rows,
)
from aedetect.scoring.measures import Measure
from aedetect.scoring.neighbors import Neighbors
from aedetect.scoring.recognition import N_MARKS, Marks
from aedetect.scoring.whitening import Whitening

MEASURES: dict[str, type] = {
    "reconstruction": measures.Reconstruction,
    "standardized": measures.Standardized,
    "sap": measures.Layerwise,
    "neighbors": measures.RowNeighbors,
    "latent_neighbors": measures.CodeNeighbors,
    "combined": measures.Product,
    **dict.fromkeys(measures.WHITENED, measures.Whitened),
    **dict.fromkeys(EVIDENCE_SCORES, Evidence),
}
PARTS = {"combined": ["activations", "neighbors"]}


def check_weights(estimator: BaseAutoencoder, attributes: dict[str, Any]) -> Autoencoder:
    """Return one network without weights, once those in the file are known to fit it.

    It is made on PyTorch's ``meta`` device, which holds shapes and no memory, whatever sizes a file
    asks for. One of the user's own has its weights.
    """
    weights, blueprint = attributes["network_"], attributes["_blueprint"]
    n_members, n_features = attributes["_n_members"], attributes["n_features_in_"]
    estimator._architecture = None
    if blueprint is None:
        require(
            isinstance(estimator.network, Autoencoder),
            f"it holds a network of its user's own, but network={estimator.network!r:.80}",
        )
        estimator._architecture = cast(Autoencoder, estimator.network)
    else:
        _check_blueprint(estimator, blueprint, len(weights), n_features)
    require(attributes["_loss"] in FEATURE_ERRORS, "its _loss is unknown")
    if attributes["_image_shape"] is not None:
        check_image(attributes["_image_shape"], n_features)
    estimator._blueprint = blueprint
    with torch.device("meta"):
        member = estimator._make_member()
    _compare(_expected_weights(member, n_members), weights)
    width = check_shapes(member, n_features)
    require(
        n_members * width == attributes["latent_dim_"],
        f"the codes have {n_members * width} columns, but latent_dim_ is not",
    )
    return member


def _check_blueprint(
    estimator: BaseAutoencoder, blueprint: dict[str, Any], n_weights: int, n_features: int
) -> None:
    choices = {**blueprint, "network": blueprint["kind"]}
    rules = {
        name: rule for name, rule in estimator._parameter_constraints.items() if name in choices
    }
    validate_parameter_constraints(rules, choices, caller_name="network")
    sizes = blueprint["hidden_layer_sizes"]
    check_layer_sizes(sizes)
    # Encoder and decoder have three arrays a hidden size at least: no more layers are made.
    require(3 * len(sizes) <= n_weights, f"{len(sizes)} layers have {n_weights} arrays of weights")
    if blueprint["kind"] == "conv":
        check_image(blueprint["image_shape"], n_features)
    else:
        require(blueprint["n_features"] == n_features, f"the network has not {n_features} features")
    require(
        blueprint["codes_per_dim"] == estimator._codes_per_dim,
        f"{type(estimator).__name__} has codes of another kind",
    )


def _expected_weights(member: Autoencoder, n_members: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the names of all members' weights, each with a tensor of its shape and dtype."""
    weights = member.state_dict()
    for number in range(n_members):
        prefix = f"members.{number}." if n_members > 1 else ""
        for name, tensor in weights.items():
            yield prefix + name, tensor


def _compare(expected: Iterable[tuple[str, Tensor]], weights: dict[str, NDArray]) -> None:
    """Refuse weights that are not those of the network, naming the first difference."""
    found = set()
    for name, tensor in expected:
        require(name in weights, f"the network needs a weight {name!r}, which it does not hold")
        weight = torch.from_numpy(weights[name])
        require(
            weight.shape == tensor.shape and weight.dtype == tensor.dtype,
            f"its weight {name!r} is {weight.dtype} of shape {tuple(weight.shape)}, but the network"
            f" needs {tensor.dtype} of shape {tuple(tensor.shape)}",
        )
        found.add(name)
    others = [name for name in weights if name not in found]
    require(not others, f"it holds a weight {others[:1]!r:.80}, which the network has not")


@torch.no_grad()
def check_measure(estimator: BaseAutoencoder, member: Autoencoder) -> None:
    """Refuse scalings and measures that do not fit the network, given one member of it."""
    n_features, scaling = estimator.n_features_in_, estimator._scaling
    require(isinstance(scaling, Scaling), "_scaling is something else")
    _check_array("_scaling", scaling.location, (n_features,))
    _check_array("_scaling", scaling.scale, (n_features,), positive=True)
    for fence in (-scaling.low, scaling.high):
        _check_array("_scaling", fence, (n_features,), positive=True)
    if isinstance(estimator, DenoisingAutoencoder):
        _check_array("_bounds", estimator._bounds, (2, n_features))
    members = [member] * estimator._n_members
    parameter = next(member.parameters(), torch.empty(0))
    x = torch.zeros(1, n_features, dtype=parameter.dtype, device=parameter.device)
    _check_levels(estimator._measure, n_features, takes_missing=estimator._takes_missing)
    measure = of_complete_rows(estimator._measure)
    _check_parts(measure, estimator._score_name, members, x)
    measure(members, x)  # matrices refuse vectors of another width


def _check_levels(measure: Measure, n_features: int, *, takes_missing: bool) -> None:
    """Refuse a measure of rows with missing cells where none may be, and levels that do not fit."""
    require(
        isinstance(measure, ObservedCells) is takes_missing,
        "_measure is not that of its parameter missing",
    )
    if not isinstance(measure, ObservedCells):
        return
    require(measure.loss in FEATURE_ERRORS, "the loss of _measure is unknown")
    if measure.slope is not None or measure.shift is not None:
        _check_array("_measure", measure.slope, (n_features + 1,))
        _check_array("_measure", measure.shift, (n_features + 1,))


def _check_parts(measure: Measure, score: str, members: Sequence[Autoencoder], x: Tensor) -> None:
    """Refuse a measure that is not that of ``score``, or whose arrays would be stretched to fit."""
    require(type(measure) is MEASURES.get(score), f"_measure is not that of {score!r:.80}")
    require(getattr(measure, "loss", "mse") in FEATURE_ERRORS, "the loss of _measure is unknown")
    match measure:
        case measures.Product(parts):
            for part, name in zip(parts, PARTS[score], strict=True):
                _check_parts(part, name, members, x)
        case measures.Standardized(_, usual):
            _check_array("_measure", usual, (x.shape[1],), positive=True)
        case measures.Layerwise(_, usual):
            n_layers = len(members[0].activations(x)) - 1
            for array in usual:
                _check_array("_measure", array, (n_layers,), positive=True)
        case measures.Whitened(kind, loss, whitenings, marks):
            require(kind == score, "_measure is of another kind")
            require(len(whitenings) == len(members), "_measure is of other networks")
            _check_marks(marks)
            width = measures.whitened_rows(kind, members[0], loss, x).shape[1]
            for whitening in whitenings:
                _check_whitening(whitening, width)
        case measures.RowNeighbors(Neighbors(bank, smoothing)):
            _check_bank(bank, smoothing, x.shape[1])
        case measures.CodeNeighbors(Neighbors(bank, smoothing)):
            _check_bank(bank, smoothing, sum(member.encode(x).shape[1] for member in members))
        case Evidence(_, beta, draws):
            require(exceeds(beta, -1e-9), "the beta of _measure is below 0")
            _check_array("_measure", draws, (len(draws), members[0].encode(x).shape[1]))
        case _:
            require(isinstance(measure, measures.Reconstruction), "_measure is incomplete")


def _check_whitening(whitening: Any, width: int) -> None:
    require(isinstance(whitening, Whitening), "_measure has a whitening of another kind")
    weight, basis = whitening.weight, whitening.basis
    require(exceeds(whitening.ridge, 0), "the ridge of _measure is not above 0")
    rank = len(weight) if basis is None else len(basis)
    require(0 < rank <= width, "a whitening of _measure has more directions than there are")
    _check_array("_measure", whitening.mean, (width,))
    _check_array("_measure", weight, (rank, width if basis is None else rank))
    if basis is not None:
        _check_array("_measure", basis, (rank, width))


def _check_marks(marks: Any) -> None:
    require(isinstance(marks, Marks), "_measure has marks of another kind")
    _check_array("_measure", marks.marks, (len(marks.oddities), N_MARKS))
    _check_array("_measure", marks.oddities, (len(marks.marks),))


def _check_bank(bank: Any, smoothing: Any, width: int) -> None:
    require(exceeds(smoothing, 0), "the smoothing of _measure is not above 0")
    require(len(bank) > 1, "_measure has less than two neighbours")
    _check_array("_measure", bank, (len(bank), width))


def _check_array(name: str, array: Any, shape: tuple[int, ...], *, positive: bool = False) -> None:
    require(
        shape_of(array) == shape and array.dtype.kind == "f",
        f"an array of {name} is not of floats of shape {shape}",
    )
    require(not positive or bool((array > 0).all()), f"an array of {name} is not above 0")
