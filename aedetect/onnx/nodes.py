"""Nodes of a graph, added one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from skl2onnx.common._container import ModelComponentContainer
from skl2onnx.common._topology import Scope


class Nodes:
    """Adds nodes and constants under names of their own."""

    def __init__(self, scope: Scope, container: ModelComponentContainer) -> None:
        self._scope, self._container = scope, container

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = self._scope.get_unique_variable_name(op_type.lower())
        self._container.add_node(op_type, list(inputs), output, **attributes)
        return output

    def constant(self, kind: int, values: np.ndarray) -> str:
        """Add a constant of an ONNX type and return its name."""
        name = self._scope.get_unique_variable_name("constant")
        self._container.add_initializer(name, kind, values.shape, values.ravel().tolist())
        return name
