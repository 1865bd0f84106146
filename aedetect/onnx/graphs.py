"""One estimator as an ONNX graph, traced by PyTorch."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort
from torch import Tensor, nn

from aedetect.estimators.base import BaseAutoencoder
from aedetect.model import View, bend
from aedetect.scoring import FloatArray

FAILURES = (
    ort.Fail,
    ort.InvalidArgument,
    ort.InvalidGraph,
    ort.NotImplemented,
    ort.RuntimeException,
)
STEPWISE = ("label", "p_value")  # where the rounding of a score can make a step
OUTPUTS = ("label", "score_samples", "decision_function", "transform", "reconstruct")


class Decision(NamedTuple):
    """The threshold that turns scores into labels, and the scores that p-values are taken from."""

    offset: float
    calibration_scores: FloatArray | None = None  # of a ConformalDetector, (n_rows,)
    block_size: int = 1


class Encoding(nn.Module):
    """The codes of rows in the units of X, for the steps that follow."""

    outputs: tuple[str, ...] = ("transform",)
    _location: Tensor
    _scale: Tensor
    _low: Tensor
    _high: Tensor

    def __init__(self, estimator: BaseAutoencoder) -> None:
        super().__init__()
        self._detector = estimator.detector_.to(torch.device("cpu"))
        self._network = self._detector.model.network  # so that its weights are of this module
        self._columns = self._detector.model.columns
        for name, numbers in self._columns.scaling._asdict().items():
            self.register_buffer(f"_{name}", torch.from_numpy(numbers))

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return the codes of all members side by side, ``(rows, latent_dim)``, float32."""
        return (self._view(X).codes_side_by_side,)

    def _view(self, X: Tensor) -> View:
        return View(self._detector.model, self._rows(X))

    def _rows(self, X: Tensor) -> Tensor:
        """Return the network's rows."""
        coding, blocks = self._columns.coding, self._columns.blocks
        if coding is None or blocks is None:
            return self._scaled(X)
        levels = [
            one_hot(X[:, column], size)
            for column, size in zip(self._columns.ordered, blocks.sizes, strict=True)
        ]
        entries = blocks.scaled(torch.cat(levels, dim=1))
        return torch.cat([self._scaled(X[:, coding.numbers]), entries], dim=1)

    def _scaled(self, X: Tensor) -> Tensor:
        # In float64: float32 has no digits left for a column whose mean is far above its deviation.
        return self._beyond((X.double() - self._location) / self._scale, torch.log1p).float()

    def _beyond(self, scaled: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return scaled cells; those beyond the limits are bent as ``Scaling`` bends them."""
        return bend(scaled, self._low, self._high, function)


class Detection(Encoding):
    """Labels, scores, codes and reconstructions of rows in the units of X."""

    def __init__(self, estimator: BaseAutoencoder, decision: Decision) -> None:
        super().__init__(estimator)
        # As a tensor: the exporter rounds a Python number to float32.
        self._offset = torch.tensor(decision.offset, dtype=torch.float64)
        self._calibration_scores = decision.calibration_scores
        self._block_size = decision.block_size
        self.outputs = OUTPUTS if self._calibration_scores is None else (*OUTPUTS, "p_value")

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return the ``outputs``."""
        view = self._view(X)
        # Runtimes compute with NaN and infinity in different ways, so the rows are checked first.
        takes_missing = self._detector.model.takes_missing
        allowed = ~X.isinf() if takes_missing else ~(X.isinf() | X.isnan())
        scores = -self._detector.measure(view)
        scores = torch.where(allowed.all(dim=1), scores, torch.nan)
        decisions = scores - self._offset
        labels = torch.where(decisions >= 0, 1, -1)  # -1 where the score is NaN
        z = view.codes_side_by_side.to(X.dtype)
        values = (labels, scores, decisions, z, self._restored(view).to(X.dtype))
        if self._calibration_scores is None:
            return values
        calibration = torch.from_numpy(self._calibration_scores)
        return *values, _p_values(scores, calibration, self._block_size)

    def _restored(self, view: View) -> Tensor:
        coding, blocks = self._columns.coding, self._columns.blocks
        if coding is None or blocks is None:
            return self._in_units(view.x_hat)
        numbers, entries = view.x_hat.tensor_split([blocks.n_numbers], dim=1)
        levels = blocks.levels_of(entries).split(blocks.sizes, dim=1)
        codes = [part[:, :-1].argmax(dim=1, keepdim=True).double() for part in levels]
        order = np.argsort([*coding.numbers, *self._columns.ordered])
        return torch.cat([self._in_units(numbers), *codes], dim=1)[:, order]

    def _in_units(self, numbers: Tensor) -> Tensor:
        return self._beyond(numbers.double(), torch.expm1) * self._scale + self._location


def one_hot(codes: Tensor, size: int) -> Tensor:
    """Return 1 at the code of each row; NaN in all entries where the code is NaN.

    Codes beyond the last one, and such as are no whole numbers, are levels that were never seen.
    """
    own = codes[:, None] == torch.arange(size - 1, device=codes.device)
    other = ~own.any(dim=1, keepdim=True)
    entries = torch.cat([own, other], dim=1).float()
    return entries.masked_fill(codes.isnan()[:, None], torch.nan)


def _p_values(scores: Tensor, calibration_scores: Tensor, block_size: int) -> Tensor:
    """Return the share of the calibration rows, and the block of the row, that are as odd."""
    n_odder = (calibration_scores <= scores[:, None]).sum(dim=1, dtype=torch.int32)
    return (block_size + n_odder).double() / (block_size + len(calibration_scores))


def trace(module: Encoding, dtype: torch.dtype, opset: int) -> onnx.ModelProto:
    """Return the graph of ``module``, with an input ``X`` of any number of rows.

    Raises
    ------
    ValueError
        If the network has a layer that PyTorch cannot export.
    """
    module = copy.deepcopy(module).eval()
    rows = _example(module, 3, dtype)
    with torch.no_grad(), _quiet():
        module(rows)  # fills caches, which cannot be filled while a graph is traced
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
            raise _untraceable(module, reason) from error
    model = _stripped(cast(torch.onnx.ONNXProgram, program).model_proto)
    _verify(model, module, dtype)
    return model


def _verify(model: onnx.ModelProto, module: Encoding, dtype: torch.dtype) -> None:
    """Compare the graph with the module for other numbers of rows.

    A layer may decide by the number of rows or by their values, and tracing follows one case.
    """
    for n_rows in (1, 37):
        rows = _example(module, n_rows, dtype)
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString())
            outputs = session.run(None, {"X": rows.numpy()})
        except FAILURES as error:
            raise _untraceable(module, f"its graph fails for {n_rows} rows, {error}") from error
        with torch.inference_mode():
            expected = module(rows)
        for name, found, values in zip(module.outputs, outputs, expected, strict=True):
            if name not in STEPWISE and not _agree(found, values.numpy()):
                raise _untraceable(module, f"{name} differs for {n_rows} rows")


def _agree(found: NDArray, values: NDArray) -> bool:
    """Return whether the difference is far below the values, as rounding is."""
    return np.allclose(found, values, rtol=1e-2, atol=1e-3 * np.abs(values).max(), equal_nan=True)


def _example(module: Encoding, n_rows: int, dtype: torch.dtype) -> Tensor:
    """Return rows like those that the network was trained on."""
    generator = torch.Generator().manual_seed(0)
    shape, coding = (n_rows, len(module._location)), module._columns.coding
    normal = torch.randn(shape, generator=generator, dtype=torch.float64)
    numbers = (module._location + module._scale * normal).to(dtype)
    if coding is None:
        return numbers
    rows = torch.empty(n_rows, coding.n_features, dtype=dtype)
    rows[:, coding.numbers] = numbers
    for column, categories in coding.categories.items():
        codes = torch.randint(len(categories.levels) + 1, (n_rows,), generator=generator)
        rows[:, column] = codes.to(dtype)
    return rows


def _untraceable(module: Encoding, reason: str) -> ValueError:
    kind = type(module._detector.model.user_network).__name__
    return ValueError(
        "The network must be one that torch.export can trace for any number of rows, but this"
        f" {kind} is not: {reason}. Replace the layer that decides by the values or the number of"
        " the rows, or whose operator ONNX lacks."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings that no caller of ``to_onnx`` can act on."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)  # it reports that torchvision is not installed
    try:
        with warnings.catch_warnings():
            # The exporter uses a function that PyTorch has deprecated.
            warnings.filterwarnings("ignore", r".*LeafSpec.*", FutureWarning)
            yield
    finally:
        registry.setLevel(level)


def _stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` without the paths of sources and the stack traces of its nodes."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return model
