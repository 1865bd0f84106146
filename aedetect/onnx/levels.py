"""Cells of a graph's inputs as codes of levels, for detectors with categorical columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from skl2onnx.common._topology import Variable
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from aedetect.estimators.base import BaseAutoencoder
from aedetect.estimators.frames import names_of
from aedetect.model import Categories, Coding, Level
from aedetect.onnx.nodes import Nodes

# A missing cell of text; the last three are what onnxruntime makes of missing cells of pandas.
MISSING = ("", "None", "nan", "<NA>")


def coding_of(estimator: BaseEstimator) -> Coding | None:
    """Return the categorical columns of one of our detectors; None for other estimators."""
    if not isinstance(estimator, BaseAutoencoder):
        return None
    return estimator.detector_.model.columns.coding


def text_columns(estimator: BaseAutoencoder) -> list[str]:
    """Return the names of the columns whose levels are text.

    Raises
    ------
    ValueError
        If a column has levels of several kinds.
    """
    coding, names = coding_of(estimator), input_names(estimator)
    each = {} if coding is None else coding.categories
    return [names[column] for column, c in each.items() if _is_text(c, names[column])]


def input_names(estimator: BaseAutoencoder) -> list[str]:
    """Return the names of the columns, x0, x1 and so on where they have none."""
    return [str(name) for name in names_of(None, estimator)]


def check_place_of_text(estimator: BaseEstimator, first: BaseEstimator) -> None:
    """Refuse a detector of text that is not the first step: other steps would pass it on."""
    for step in _steps(estimator):
        if step is not first and coding_of(step) is not None and text_columns(step):
            raise ValueError(
                f"The column {text_columns(step)[0]!r} of this {type(step).__name__} holds text,"
                " which the steps before it cannot pass on in a graph: a tensor holds either text"
                " or numbers. Export the detector alone and apply the other steps before the graph,"
                " or encode the column by an OrdinalEncoder and name it in categorical_features."
            )


def _steps(estimator: BaseEstimator) -> Iterator[BaseEstimator]:
    """Yield the estimators in Pipelines and other compositions."""
    if isinstance(estimator, Pipeline):
        parts = [part for _, part in estimator.steps]
    elif isinstance(estimator, ColumnTransformer):
        parts = [part for _, part, _ in estimator.transformers_]
    elif isinstance(estimator, FeatureUnion):
        parts = [part for _, part in estimator.transformer_list]
    else:
        yield estimator
        return
    for part in parts:
        yield from _steps(part)


def levels_of(estimator: BaseEstimator) -> dict[str, list[Level]]:
    """Return the levels of each categorical column in the order of their codes."""
    coding = coding_of(estimator)
    if coding is None:
        return {}
    names = input_names(estimator)
    return {names[column]: c.levels for column, c in coding.categories.items()}


def add_codes(nodes: Nodes, inputs: list[Variable], estimator: BaseAutoencoder, number: int) -> str:
    """Add the operators that turn inputs into rows of codes and numbers, of the type ``number``.

    The inputs are one a column, or one of all columns.
    """
    model, names = estimator.detector_.model, input_names(estimator)
    coding = coding_of(estimator)
    assert coding is not None
    columns = []
    for column, name in enumerate(names):
        cells = _cells(nodes, inputs, column, len(names))
        if column not in coding.categories:
            columns.append(nodes.add("Cast", cells, to=number))
            continue
        categories = coding.categories[column]
        codes = _codes(categories, takes_missing=model.takes_missing)
        if _is_text(categories, name):
            codes_of_text = _add_codes_of_text(nodes, cells, categories.levels, codes)
            columns.append(nodes.add("Cast", codes_of_text, to=number))
        else:
            cells = nodes.add("Cast", cells, to=number)
            levels = _distinct(categories.levels, name, number)
            columns.append(_add_codes_of_numbers(nodes, cells, levels, codes, number))
    return nodes.add("Concat", *columns, axis=1)


def _cells(nodes: Nodes, inputs: list[Variable], column: int, n_columns: int) -> str:
    """Return the cells of a column, ``(rows, 1)``."""
    if len(inputs) == n_columns:
        return inputs[column].full_name
    place = nodes.constant(TensorProto.INT64, np.array([column]))
    return nodes.add("Gather", inputs[0].full_name, place, axis=1)


def _codes(categories: Categories, *, takes_missing: bool) -> tuple[float, float]:
    """Return the codes of missing cells and of levels that were never seen."""
    unseen = float(len(categories.levels))
    if takes_missing:
        return np.nan, unseen
    return categories.encode([None]).item(), unseen


def _add_codes_of_text(nodes: Nodes, cells: str, levels: list, codes: tuple[float, float]) -> str:
    missing, unseen = codes
    values = {level: float(code) for code, level in enumerate(levels) if level is not None}
    values = {**dict.fromkeys(MISSING, missing), **values}
    return nodes.add(
        "LabelEncoder",
        cells,
        op_domain="ai.onnx.ml",
        op_version=2,
        keys_strings=list(values),
        values_floats=list(values.values()),
        default_float=unseen,
    )


def _add_codes_of_numbers(
    nodes: Nodes, cells: str, levels: NDArray, codes: tuple[float, float], number: int
) -> str:
    missing, unseen = (nodes.constant(number, np.array([code])) for code in codes)
    # No two levels are equal, so a sum has one summand at most: how far a code is below unseen.
    below = nodes.constant(number, (np.flatnonzero(~np.isnan(levels)) - codes[1])[:, None])
    known = nodes.constant(number, levels[~np.isnan(levels)])
    is_level = nodes.add("Cast", nodes.add("Equal", cells, known), to=number)
    code = nodes.add("Add", nodes.add("MatMul", is_level, below), unseen)
    return nodes.add("Where", nodes.add("IsNaN", cells), missing, code)


def _distinct(levels: list, name: str, number: int) -> NDArray:
    """Return levels as numbers, NaN for missing, which the type must tell apart."""
    dtype = np.float32 if number == TensorProto.FLOAT else np.float64
    numbers = np.array([np.nan if level is None else level for level in levels], dtype=dtype)
    if len(np.unique(numbers)) < len(levels):
        raise ValueError(
            f"Levels of column {name!r} are equal as {np.dtype(dtype)}. Export with"
            " dtype='float64', or convert the column with .astype(str) before fit."
        )
    return numbers


def _is_text(categories: Categories, name: str) -> bool:
    """Return whether the levels are text, not numbers nor booleans; missing cells are of a kind."""
    kinds = {_kind(level): level for level in categories.levels if level is not None}
    if len(kinds) > 1:
        first, second, *_ = kinds.values()
        raise ValueError(
            f"Column {name!r} has levels of several kinds, such as {first!r} and {second!r}, but an"
            " input of a graph has one type. Convert the column with .astype(str) before fit."
        )
    return not kinds or "text" in kinds


def _kind(level: object) -> str:
    if isinstance(level, str):
        return "text"
    return "truth" if isinstance(level, bool) else "number"
