"""KBinsDiscretizer and Binarizer as ONNX operators.

skl2onnx compares with the edges of bins in float32, gives float32 whatever it declares, and has no
sparse one-hot codes. Its Binarizer gives 1 for a float64 value that equals the threshold.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from skl2onnx.common._container import ModelComponentContainer
from skl2onnx.common._topology import Operator, Scope
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, guess_proto_type
from sklearn.preprocessing import KBinsDiscretizer

from aedetect.onnx.nodes import Nodes


def shape_bins(operator: Operator) -> None:
    """Set the type of the bins: the input's, or float64 for integers."""
    bins = operator.raw_operator
    is_float32 = isinstance(operator.inputs[0].type, FloatTensorType)
    width = len(bins.n_bins_) if bins.encode == "ordinal" else int(bins.n_bins_.sum())
    kind = FloatTensorType if is_float32 else DoubleTensorType
    operator.outputs[0].type = kind([None, width])


def convert_bins(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
    """Add the operators that count how many inner edges a value has reached."""
    bins, nodes = operator.raw_operator, Nodes(scope, container)
    last_axis = nodes.constant(TensorProto.INT64, np.array([2]))
    # In float64, as scikit-learn compares: an edge is often a training value.
    x = nodes.add("Cast", operator.inputs[0].full_name, to=TensorProto.DOUBLE)
    x = nodes.add("Unsqueeze", x, last_axis)  # (rows, features, 1)
    edges = nodes.constant(TensorProto.DOUBLE, _inner_edges(bins))
    reached = nodes.add("Cast", nodes.add("GreaterOrEqual", x, edges), to=TensorProto.INT64)
    place = nodes.add("ReduceSum", reached, last_axis, keepdims=0)
    if bins.encode != "ordinal":
        features = np.repeat(np.arange(len(bins.n_bins_)), bins.n_bins_)
        places = np.concatenate([np.arange(n_bins) for n_bins in bins.n_bins_])
        place = nodes.add("Gather", place, nodes.constant(TensorProto.INT64, features), axis=1)
        place = nodes.add("Equal", place, nodes.constant(TensorProto.INT64, places))
    number = guess_proto_type(operator.outputs[0].type)
    container.add_node("Cast", place, operator.outputs[0].full_name, to=number)


def _inner_edges(bins: KBinsDiscretizer) -> np.ndarray:
    """Return the edges between bins, ``(n_features, most)``, filled up with NaN."""
    inner = [edges[1:-1] for edges in bins.bin_edges_]
    most = max(1, *map(len, inner))
    # No value reaches NaN; infinity would reach infinity.
    return np.array([np.append(edges, [np.nan] * (most - len(edges))) for edges in inner])


def convert_binarizer(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
    """Add the operators that compare values with the threshold."""
    nodes = Nodes(scope, container)
    number = guess_proto_type(operator.outputs[0].type)
    threshold = np.array([operator.raw_operator.threshold], dtype=float)
    x = nodes.add("Cast", operator.inputs[0].full_name, to=number)
    above = nodes.add("Greater", x, nodes.constant(number, threshold))
    container.add_node("Cast", above, operator.outputs[0].full_name, to=number)
