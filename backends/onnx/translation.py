"""What the translation of one program knows: which fx node became which ONNX value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor, fx

from halocline.backends.onnx.builder import GraphBuilder

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
