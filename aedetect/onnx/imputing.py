"""SimpleImputer as ONNX operators.

skl2onnx has it for float32 alone, and for strings that are never missing.
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


def shape_imputer(operator: Operator) -> None:
    """Set the type of what is imputed: that of the input, but float64 for integers."""
    imputer, kind = operator.raw_operator, type(operator.inputs[0].type)
    if kind not in (StringTensorType, FloatTensorType):
        kind = DoubleTensorType
    operator.outputs[0].type = kind([None, _width(imputer)])


def convert_imputer(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
    """Add the operators that fill in what is missing."""
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
    imputer = operator.raw_operator
    number = guess_proto_type(operator.outputs[0].type)

    def add(op_type: str, *inputs: str, **attributes: int) -> str:
        output = scope.get_unique_variable_name(op_type.lower())
        container.add_node(op_type, list(inputs), output, **attributes)
        return output

    def constant(kind: int, values: np.ndarray) -> str:
        name = scope.get_unique_variable_name("constant")
        container.add_initializer(name, kind, values.shape, values.ravel().tolist())
        return name

    x = add("Cast", operator.inputs[0].full_name, to=number)
    value = imputer.missing_values
    is_missing = (
        add("IsNaN", x)
        if pd.isna(value)
        else add("Equal", x, constant(number, np.array([value], dtype=float)))
    )
    statistics = constant(number, imputer.statistics_.astype(float))
    kept = constant(TensorProto.INT64, _kept(imputer))
    parts = [add("Gather", add("Where", is_missing, statistics, x), kept, axis=1)]
    if imputer.indicator_ is not None:
        marked = constant(TensorProto.INT64, imputer.indicator_.features_)
        parts.append(add("Gather", add("Cast", is_missing, to=number), marked, axis=1))
    container.add_node("Concat", parts, operator.outputs[0].full_name, axis=1)


def _kept(imputer: SimpleImputer) -> np.ndarray:
    """Return the numbers of the columns that had a value to learn from; the others are dropped."""
    is_empty = pd.isna(imputer.statistics_) & (not imputer.keep_empty_features)
    return np.flatnonzero(~is_empty)


def _width(imputer: SimpleImputer) -> int:
    """Return the number of columns of what is imputed."""
    n_added = 0 if imputer.indicator_ is None else len(imputer.indicator_.features_)
    return len(_kept(imputer)) + n_added
