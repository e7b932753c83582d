"""What the translation of one program knows: which fx node became which ONNX value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, fx

#: Element types by torch dtype; programs have no others.
ELEMENT_TYPES: Final = {
    torch.float32: TensorProto.FLOAT,
    torch.float64: TensorProto.DOUBLE,
    torch.int64: TensorProto.INT64,
    torch.bool: TensorProto.BOOL,
}

_NUMPY_TYPES = {torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64, torch.bool: np.bool_}


@final
class Translation:
    """A graph under construction, and the values it has so far.

    Tensors are ONNX values of the same dtype and shape. Sizes, which are Python integers or symbols in fx, are
    int64 vectors of length one, ready to be put together to shapes.

    Attributes:
        builder: takes the nodes.
        names: ONNX value of each fx node that has been translated.
    """

    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder
        self.names: dict[fx.Node, str] = {}

    def tensor(self, value: Any, dtype: torch.dtype | None = None) -> str:
        """The ONNX value of a tensor; numbers and sizes become 0-d tensors.

        Args:
            value: an fx node, or a Python number.
            dtype: what it is needed in; a number must have one.
        """
        if not isinstance(value, fx.Node):
            assert dtype is not None
            return self.builder.constant(np.array(value, _NUMPY_TYPES[dtype]))
        name = self.names[value]
        if not isinstance(value.meta["val"], Tensor):
            name = self.builder.emit("Reshape", name, self.builder.integers())
        if dtype is None or dtype == dtype_of(value):
            return name
        return self.builder.emit("Cast", name, to=ELEMENT_TYPES[dtype])

    def size(self, value: Any) -> str:
        """The ONNX value of a size, (1,) int64."""
        return self.names[value] if isinstance(value, fx.Node) else self.builder.integers(value)

    def shape(self, sizes: Sequence[Any]) -> str:
        """The ONNX value of a shape, (rank,) int64."""
        if any(isinstance(size, fx.Node) for size in sizes):
            return self.builder.emit("Concat", *map(self.size, sizes), axis=0)
        return self.builder.integers(*sizes)


def dtype_of(node: fx.Node) -> torch.dtype:
    """The dtype of an fx node's tensor; int64 for a size."""
    value = node.meta["val"]
    return value.dtype if isinstance(value, Tensor) else torch.int64


def rank_of(node: fx.Node) -> int:
    """The number of dimensions of an fx node's tensor."""
    rank: int = node.meta["val"].ndim
    return rank


def common_dtype(first: Any, second: Any) -> torch.dtype:
    """The dtype in which torch combines two operands, each an fx node or a number."""
    return torch.result_type(_operand(first), _operand(second))


def _operand(value: Any) -> Any:
    """Something of the kind, dtype and rank that decide about promotion; sizes count as Python integers."""
    if not isinstance(value, fx.Node):
        return value
    tensor = value.meta["val"]
    return torch.empty((1,) * tensor.ndim, dtype=tensor.dtype) if isinstance(tensor, Tensor) else 1


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
