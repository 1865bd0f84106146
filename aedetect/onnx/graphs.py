"""One estimator as an ONNX graph, traced by PyTorch."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import onnx
import torch
from torch import Tensor, nn

from aedetect.estimators.base import BaseAutoencoder
from aedetect.networks import members_of
from aedetect.scoring import FloatArray

OUTPUTS = ("label", "score_samples", "decision_function", "transform", "reconstruct")


class Decision(NamedTuple):
    """What turns scores into decisions."""

    offset: float
    calibration_scores: FloatArray | None = None  # of a ConformalDetector, (n_rows,)


class Encoding(nn.Module):
    """The codes of rows as they come, for steps that follow."""

    outputs: tuple[str, ...] = ("transform",)
    _location: Tensor
    _scale: Tensor

    def __init__(self, estimator: BaseAutoencoder) -> None:
        super().__init__()
        self._network = estimator.network_
        self.register_buffer("_location", torch.from_numpy(estimator._scaling.location))
        self.register_buffer("_scale", torch.from_numpy(estimator._scaling.scale))

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return the codes, ``(rows, latent_dim)``, float32 as the network makes them."""
        return (self._network.encode(self._scaled(X)),)

    def _scaled(self, X: Tensor) -> Tensor:
        # In float64: float32 has no digits left for a column whose mean is far above its deviation.
        return ((X.double() - self._location) / self._scale).float()


class Detection(Encoding):
    """Labels, scores, codes and reconstructions of rows as they come."""

    def __init__(self, estimator: BaseAutoencoder, decision: Decision) -> None:
        super().__init__(estimator)
        self._measure = estimator._measure
        self._gives_logits = estimator.loss == "bce"
        self._decision = decision
        conformal = decision.calibration_scores is not None
        self.outputs = (*OUTPUTS, "p_value") if conformal else OUTPUTS

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return the ``outputs``."""
        x = self._scaled(X)
        scores = -self._measure(members_of(self._network), x)
        decisions = scores - self._decision.offset
        labels = torch.where(decisions >= 0, 1, -1)  # a score that is not a number is no normal one
        z = self._network.encode(x).to(X.dtype)
        values = (labels, scores, decisions, z, self._restored(x).to(X.dtype))
        calibration_scores = self._decision.calibration_scores
        if calibration_scores is None:
            return values
        return *values, _p_values(scores, torch.from_numpy(calibration_scores))

    def _restored(self, x: Tensor) -> Tensor:
        x_hat = self._network(x)
        rows = torch.sigmoid(x_hat) if self._gives_logits else x_hat
        return rows.double() * self._scale + self._location


def _p_values(scores: Tensor, calibration_scores: Tensor) -> Tensor:
    """Return the share of the calibration rows, and the row itself, that are as odd."""
    n_odder = (calibration_scores <= scores[:, None]).sum(dim=1, dtype=torch.int32)
    return (1 + n_odder).double() / (1 + len(calibration_scores))


def trace(module: Encoding, n_features: int, dtype: torch.dtype, opset: int) -> onnx.ModelProto:
    """Return the graph of ``module``, with an input ``X`` of any number of rows.

    Raises
    ------
    ValueError
        If the network has a layer that PyTorch cannot export.
    """
    module = copy.deepcopy(module).eval()
    rows = torch.zeros(3, n_features, dtype=dtype)
    with torch.no_grad(), _quiet():
        module(rows)  # fills caches, and tells a broken network from one that cannot be exported
        try:
            program = torch.onnx.export(
                module,
                (rows,),
                input_names=["X"],
                output_names=list(module.outputs),
                opset_version=opset,
                dynamic_shapes=({0: torch.export.Dim("rows")},),
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise ValueError(
                "The network must be one that torch.export can trace for any number of rows, but"
                f" {type(module._network).__name__} is not: {reason}. Replace the layer that needs"
                " a fixed number of rows, or whose operator ONNX lacks."
            ) from error
    return _stripped(cast(torch.onnx.ONNXProgram, program).model_proto)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what no caller of ``to_onnx`` can act on."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)  # it tells that torchvision is not installed
    try:
        with warnings.catch_warnings():
            # The exporter copies shapes by a way that PyTorch itself means to leave.
            warnings.filterwarnings("ignore", r".*LeafSpec.*", FutureWarning)
            yield
    finally:
        registry.setLevel(level)


def _stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` without what tells where it was made, such as the paths of sources."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return model
