"""SimpleImputer as ONNX operators.

skl2onnx converts it for float32 alone, and for strings without missing cells.
"""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
from onnx import TensorProto
from skl2onnx.common._container import ModelComponentContainer
from skl2onnx.common._topology import Operator, Scope
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    StringTensorType,
    guess_proto_type,
)
from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer
from sklearn.impute import SimpleImputer

from aedetect.onnx.nodes import Nodes


def shape_imputer(operator: Operator) -> None:
    """Set the type of the imputed columns: the input's, or float64 for integers."""
    imputer, kind = operator.raw_operator, type(operator.inputs[0].type)
    if kind not in (StringTensorType, FloatTensorType):
        kind = DoubleTensorType
    operator.outputs[0].type = kind([None, _width(imputer)])


def convert_imputer(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
    """Add the operators that fill missing cells."""
    if isinstance(operator.inputs[0].type, StringTensorType):
        _convert_strings(scope, operator, container)
    else:
        _convert_numbers(scope, operator, container)


def _convert_strings(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
    imputer = copy.copy(operator.raw_operator)
    if _width(imputer) != len(imputer.statistics_):
        raise NotImplementedError("SimpleImputer adds or drops columns of strings.")
    # A tensor of strings holds "nan" where a DataFrame's column holds NaN.
    imputer.missing_values = str(imputer.missing_values)
    operator.raw_operator = imputer
    convert_sklearn_imputer(scope, operator, container)


def _convert_numbers(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
    imputer, nodes = operator.raw_operator, Nodes(scope, container)
    number = guess_proto_type(operator.outputs[0].type)
    x = nodes.add("Cast", operator.inputs[0].full_name, to=number)
    value = imputer.missing_values
    is_missing = (
        nodes.add("IsNaN", x)
        if pd.isna(value)
        else nodes.add("Equal", x, nodes.constant(number, np.array([value], dtype=float)))
    )
    statistics = nodes.constant(number, imputer.statistics_.astype(float))
    kept = nodes.constant(TensorProto.INT64, _kept(imputer))
    parts = [nodes.add("Gather", nodes.add("Where", is_missing, statistics, x), kept, axis=1)]
    if imputer.indicator_ is not None:
        marked = nodes.constant(TensorProto.INT64, imputer.indicator_.features_)
        parts.append(nodes.add("Gather", nodes.add("Cast", is_missing, to=number), marked, axis=1))
    container.add_node("Concat", parts, operator.outputs[0].full_name, axis=1)


def _kept(imputer: SimpleImputer) -> np.ndarray:
    """Return the numbers of the columns that had a value in fit; the others are dropped."""
    is_empty = pd.isna(imputer.statistics_) & (not imputer.keep_empty_features)
    return np.flatnonzero(~is_empty)


def _width(imputer: SimpleImputer) -> int:
    """Return the number of imputed columns, with those of the indicator."""
    n_added = 0 if imputer.indicator_ is None else len(imputer.indicator_.features_)
    return len(_kept(imputer)) + n_added
