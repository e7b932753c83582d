"""Collect the nodes of an ONNX graph; the same thing is never computed or stored twice."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper


@final
class GraphBuilder:
    """Grows a graph node by node.

    Attributes:
        nodes: in an order in which they can run.
        constants: tensors that are stored in the model.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._emitted: dict[tuple[Any, ...], str] = {}
        self._stored: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def constant(self, values: NDArray[Any]) -> str:
        """Store a tensor, in the dtype that it has; return its name."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._stored:
            name = f"constant_{len(self._stored)}"
            self._stored[key] = name
            self.constants.append(numpy_helper.from_array(values, name))
        return self._stored[key]

    def integers(self, *values: int) -> str:
        """Store a vector of integers, as shapes and axes are."""
        return self.constant(np.array(values, np.int64))

    def emit(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, unless there is one that does the same; return its output's name."""
        key = (operator, inputs, *((name, str(value)) for name, value in sorted(attributes.items())))
        if key not in self._emitted:
            name = f"{operator.lower()}_{len(self.nodes)}"
            self._emitted[key] = name
            self.nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return self._emitted[key]

    def name_output(self, value: str, name: str) -> None:
        """Make a value known under the name of one of the graph's outputs."""
        self.nodes.append(helper.make_node("Identity", [value], [name], f"output_{name}"))
