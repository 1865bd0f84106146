"""Pipelines as ONNX graphs: skl2onnx converts the steps of other packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pandas as pd
import torch
from onnx.compose import add_prefix
from skl2onnx import convert_sklearn
from skl2onnx._parse import sklearn_parsers_map
from skl2onnx.common._container import ModelComponentContainer
from skl2onnx.common._topology import Operator, Scope, Variable
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
    guess_proto_type,
)
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import Binarizer, KBinsDiscretizer
from sklearn.utils import _safe_indexing

import aedetect
from aedetect.atomic import atomic_write
from aedetect.conformal import block_size_of
from aedetect.estimators import AutoencoderTransformer, DenoisingAutoencoder, VAEDetector
from aedetect.estimators.base import BaseAutoencoder
from aedetect.onnx.binning import convert_binarizer, convert_bins, shape_bins
from aedetect.onnx.graphs import OUTPUTS, Decision, Detection, Encoding, trace
from aedetect.onnx.imputing import convert_imputer, shape_imputer
from aedetect.onnx.levels import (
    add_codes,
    check_place_of_text,
    coding_of,
    input_names,
    text_columns,
)
from aedetect.onnx.metadata import describe
from aedetect.onnx.nodes import Nodes

ESTIMATORS = (AutoencoderTransformer, DenoisingAutoencoder, VAEDetector)
NUMBERS = {"float64": DoubleTensorType, "float32": FloatTensorType}
ML_OPSET = 3  # of the operators of classical models
REFUSALS = (
    RuntimeError,
    NotImplementedError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
)
DOMAIN = "aedetect"  # of the nodes that stand for our estimators until they are traced


def convert(estimator: BaseEstimator, dtype: str, opset: int) -> onnx.ModelProto:
    """Return the valid graph of a fitted estimator."""
    estimator, decision = _unwrapped(estimator)
    check_place_of_text(estimator, _first_step(estimator))
    types = _input_types(estimator, dtype)
    graphs = _Graphs(_last_step(estimator), decision, dtype, opset)
    try:
        model = convert_sklearn(
            estimator,
            name="aedetect",
            initial_types=types,
            target_opset={"": opset, "ai.onnx.ml": ML_OPSET},
            custom_parsers={
                **dict.fromkeys(ESTIMATORS, graphs.parse),
                **dict.fromkeys((ColumnTransformer, FeatureUnion), _parse_joined),
            },
            custom_shape_calculators={
                **dict.fromkeys(ESTIMATORS, lambda operator: None),  # parse has set the types
                KBinsDiscretizer: shape_bins,
                SimpleImputer: shape_imputer,
            },
            custom_conversion_functions={
                **dict.fromkeys(ESTIMATORS, graphs.convert),
                Binarizer: convert_binarizer,
                KBinsDiscretizer: convert_bins,
                SimpleImputer: convert_imputer,
            },
        )
        graphs.inline(model)
        _name_inputs(model, [name for name, _ in types])
        onnx.checker.check_model(model, full_check=True)
    except REFUSALS as error:
        raise ValueError(
            "skl2onnx must be able to convert every step that is not aedetect's, but it cannot"
            f" convert this {type(estimator).__name__}: {error} Try dtype='float32', which more"
            " converters support, or apply that step before the graph."
        ) from error
    model.producer_name, model.producer_version = "aedetect", aedetect.__version__
    strings = [name for name, kind in types if isinstance(kind, StringTensorType)]
    properties = describe(_first_step(estimator), _last_step(estimator), strings, decision)
    onnx.helper.set_model_props(model, properties)
    return model


def write(model: onnx.ModelProto, path: Path) -> Path:
    """Put a model in the place of ``path`` in one step, and return it."""
    with atomic_write(path) as file:
        file.write(model.SerializeToString(deterministic=True))
    return path


class _Graphs:
    """The parser and the converter of our estimators, for skl2onnx."""

    def __init__(
        self, last: BaseEstimator, decision: Decision | None, dtype: str, opset: int
    ) -> None:
        self._last, self._decision, self._opset = last, decision, opset
        self._rows = NUMBERS[dtype]  # even if the step before returns another type
        self._traced: dict[str, onnx.GraphProto] = {}

    def parse(
        self,
        scope: Scope,
        estimator: BaseAutoencoder,
        inputs: list[Variable],
        custom_parsers: dict[type, Any] | None = None,
    ) -> list[Variable]:
        """Declare the outputs, and their types."""
        operator = scope.declare_local_operator(type(estimator).__name__, estimator)
        operator.inputs = inputs
        rows = self._rows if estimator is self._last else FloatTensorType
        types = {
            "label": Int64TensorType([None]),
            "transform": rows([None, estimator.latent_dim_]),
            "reconstruct": rows([None, estimator.n_features_in_]),
        }
        for name in self._module(estimator).outputs:
            kind = types.get(name, DoubleTensorType([None]))
            operator.outputs.append(scope.declare_local_variable(name, kind))
        return operator.outputs

    def convert(self, scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
        """Trace the estimator, and add one node that stands for its graph."""
        estimator = operator.raw_operator
        dtype = torch.float32 if self._rows is FloatTensorType else torch.float64
        model = trace(self._module(estimator), dtype, self._opset)
        name = scope.get_unique_operator_name(type(estimator).__name__)
        self._traced[name] = add_prefix(model, f"{name}.", inplace=True).graph
        rows = self._add_rows(Nodes(scope, container), operator.inputs, estimator)
        outputs = [output.full_name for output in operator.outputs]
        place = {"op_domain": DOMAIN, "op_version": 1, "name": name}
        container.add_node(type(estimator).__name__, rows, outputs, **place)

    def inline(self, model: onnx.ModelProto) -> None:
        """Replace the nodes that stand for traced graphs by these.

        skl2onnx cannot sort nodes with an input left out, which a traced graph may have.
        """
        nodes = list(model.graph.node)
        model.graph.ClearField("node")
        for node in nodes:
            if node.domain != DOMAIN:
                model.graph.node.append(node)
                continue
            graph = self._traced[node.name]
            model.graph.initializer.extend(graph.initializer)
            model.graph.node.append(_identity(node.input[0], graph.input[0].name))
            model.graph.node.extend(graph.node)
            for inner, outer in zip(graph.output, node.output, strict=True):
                model.graph.node.append(_identity(inner.name, outer))
        versions = {entry.domain: entry.version for entry in model.opset_import}
        versions.pop(DOMAIN, None)
        model.ClearField("opset_import")
        for domain, version in {**versions, "": self._opset}.items():
            model.opset_import.append(onnx.helper.make_operatorsetid(domain, version))

    def _add_rows(self, nodes: Nodes, inputs: list[Variable], estimator: BaseAutoencoder) -> str:
        """Add the operators that make rows of one type of the inputs, with codes for levels."""
        number = guess_proto_type(self._rows())
        if coding_of(estimator) is not None:
            return add_codes(nodes, inputs, estimator, number)
        return nodes.add("Cast", inputs[0].full_name, to=number)

    def _module(self, estimator: BaseAutoencoder) -> Encoding:
        if estimator is not self._last or self._decision is None:
            return Encoding(estimator)
        return Detection(estimator, self._decision)


def _parse_joined(
    scope: Scope,
    step: ColumnTransformer | FeatureUnion,
    inputs: list[Variable],
    custom_parsers: dict[type, Any] | None = None,
) -> list[Variable]:
    """Declare steps side by side, and a joined output of float64 if one of them returns that.

    skl2onnx declares the type of the first step, float32 for an encoder, and derives the types of
    the later steps from it.
    """
    outputs = sklearn_parsers_map[type(step)](scope, step, inputs, custom_parsers=custom_parsers)
    last = list(scope.operators.values())[-1]
    if last.type == "SklearnConcat" and any(
        isinstance(part.type, DoubleTensorType) for part in last.inputs
    ):
        last.outputs[0].type = DoubleTensorType([None, None])
    return outputs


def _identity(source: str, target: str) -> onnx.NodeProto:
    return onnx.helper.make_node("Identity", [source], [target])


def _unwrapped(estimator: BaseEstimator) -> tuple[BaseEstimator, Decision | None]:
    """Return the estimator that scores, and its decision or that of a ConformalDetector around it.

    The decision is None where the last step is no detector of this package.
    """
    estimator = _found(estimator)
    if not hasattr(estimator, "calibration_scores_"):
        last = _last_step(estimator)
        return estimator, Decision(float(last.offset_)) if isinstance(last, ESTIMATORS) else None
    if not hasattr(estimator, "estimator_"):
        raise ValueError(
            f"A graph holds one detector, but this {type(estimator).__name__} has one a fold."
            " Fit it with cv=None."
        )
    inner = _found(estimator.estimator_)
    if not isinstance(_last_step(inner), ESTIMATORS):
        raise ValueError(
            f"The scores of a {type(estimator).__name__} must come from an aedetect estimator, but"
            f" its estimator ends with {type(_last_step(inner)).__name__}. Export that one alone,"
            " and compute p-values from its scores."
        )
    block_size = block_size_of(estimator)
    return inner, Decision(float(estimator.offset_), estimator.calibration_scores_, block_size)


def _found(estimator: BaseEstimator) -> BaseEstimator:
    """Return the best estimator of a search, and the one that is frozen."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator


def _last_step(estimator: BaseEstimator) -> BaseEstimator:
    return _last_step(estimator[-1]) if isinstance(estimator, Pipeline) else estimator


def _first_step(estimator: BaseEstimator) -> BaseEstimator:
    return _first_step(estimator[0]) if isinstance(estimator, Pipeline) else estimator


def _input_types(estimator: BaseEstimator, dtype: str) -> list[tuple[str, Any]]:
    """Return names and types of the inputs: one table, or one column each for a DataFrame's."""
    first, number = _first_step(estimator), NUMBERS[dtype]
    if coding_of(first) is not None:
        names, strings = input_names(first), text_columns(first)
    elif isinstance(first, ColumnTransformer) and hasattr(first, "feature_names_in_"):
        names = list(first.feature_names_in_)
        strings = list(_string_columns(first, pd.Index(names)))
    else:
        return [("X", number([None, getattr(first, "n_features_in_", None)]))]
    taken = sorted({*OUTPUTS, "p_value"}.intersection(names))
    if taken:
        raise ValueError(
            f"Columns and outputs of a graph need different names, but {taken} are names of both."
            " Rename these columns before fitting."
        )
    return [(name, (StringTensorType if name in strings else number)([None, 1])) for name in names]


def _string_columns(step: BaseEstimator | str, names: pd.Index) -> Iterator[str]:
    """Yield the columns of a step that hold strings, as the categories of its encoders say."""
    if isinstance(step, ColumnTransformer):
        frame = pd.DataFrame(columns=names)
        for _, part, columns in step.transformers_:
            columns = [columns] if isinstance(columns, str) else columns
            yield from _string_columns(part, _safe_indexing(frame, columns, axis=1).columns)
    elif isinstance(step, Pipeline | FeatureUnion):
        for _, part in step.steps if isinstance(step, Pipeline) else step.transformer_list:
            yield from _string_columns(part, names)
    for name, known in zip(names, getattr(step, "categories_", []), strict=False):
        if known.dtype.kind not in "biuf":
            yield name


def _name_inputs(model: onnx.ModelProto, names: list[str]) -> None:
    """Give the inputs the names of the columns, and drop the inputs that no step uses.

    skl2onnx replaces all characters but letters and digits.
    """
    new = {given.name: name for given, name in zip(model.graph.input, names, strict=True)}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = new.get(name, name)
    used = {name for node in model.graph.node for name in node.input}
    inputs = [given for given in model.graph.input if new[given.name] in used]
    for given in inputs:
        given.name = new[given.name]
    model.graph.ClearField("input")
    model.graph.input.extend(inputs)
