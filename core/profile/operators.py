"""What an operator costs by its shapes: floating-point operations, and bytes that have to be moved."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from halocline.program.operators import registered

_aten: Final = torch.ops.aten


class Kind(StrEnum):
    """Kinds of operators, in the words of reports."""

    MATRIX = "matrix products"
    ELEMENTWISE = "elementwise"
    REDUCTION = "reductions"
    INDEXED = "gathers and scatters"
    COPY = "copies"
    VIEW = "views"
    OTHER = "other"


_REDUCTIONS: Final = (
    *(_aten.sum, _aten.mean, _aten.prod, _aten.amax, _aten.amin, _aten.cumsum),
    *(_aten.var, _aten.linalg_vector_norm, _aten.logsumexp),
)
_GATHERS: Final = (_aten.index_select, _aten.index, _aten.gather, _aten.embedding, _aten.take)
#: With the place of what is added among the arguments.
_SCATTERS: Final = {
    _aten.index_add: 3,
    _aten.index_add_: 3,
    _aten.scatter_add: 3,
    _aten.scatter_add_: 3,
    _aten.index_put: 2,
    _aten.index_put_: 2,
    _aten._index_put_impl_: 2,
}
_BAGS: Final = (_aten._embedding_bag, _aten._embedding_bag_forward_only)
#: Make tensors of nothing but a shape: other tensors among their arguments are not read.
_FILLS: Final = (
    *(_aten.empty, _aten.zeros, _aten.ones, _aten.full, _aten.arange, _aten.scalar_tensor),
    *(_aten.new_empty, _aten.new_zeros, _aten.new_ones, _aten.new_full, _aten.new_empty_strided),
    *(_aten.empty_like, _aten.zeros_like, _aten.ones_like, _aten.full_like, _aten.fill_, _aten.zero_),
    _aten.empty_strided,
)
_COPIES: Final = (_aten._to_copy, _aten.copy_, _aten.clone, _aten.cat, _aten.stack, _aten.constant_pad_nd)
#: Derivatives of views write into zeros.
_PLACED: Final = (_aten.select_backward, _aten.slice_backward, _aten.slice_scatter, _aten.select_scatter)
#: Of no result are they views by their signatures.
_VIEWS: Final = (_aten._unsafe_view, _aten._reshape_alias, _aten.lift_fresh)


def kind_of(operator: Any) -> Kind:
    """What an operator of ``torch.ops`` does."""
    packet, custom = operator.overloadpacket, registered(operator)
    if packet in flop_registry or (custom is not None and custom.flops is not None):
        return Kind.MATRIX
    if operator.is_view or packet in _VIEWS:
        return Kind.VIEW
    if packet in _FILLS or packet in _COPIES or packet in _PLACED:
        return Kind.COPY
    if packet in _GATHERS or packet in _SCATTERS or packet in _BAGS:
        return Kind.INDEXED
    if packet in _REDUCTIONS:
        return Kind.REDUCTION
    return Kind.ELEMENTWISE if torch.Tag.pointwise in operator.tags else Kind.OTHER


def flops_of(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> float | None:
    """Floating-point operations, by one convention; None where it knows none.

    Products of matrices have two for each term, as torch counts them. Elementwise operators have one for each
    element of their results, exponentials like additions; reductions, and sums at given rows, one for each element
    that is added. What moves, compares or makes numbers has none.
    """
    packet, kind = operator.overloadpacket, kind_of(operator)
    if kind is Kind.MATRIX:
        return matrix_flops_of(operator, args, kwargs, result)
    if kind is Kind.ELEMENTWISE:
        return _elements(() if packet is _aten.where else result)
    if kind is Kind.REDUCTION:
        return _elements(args[0])
    if packet in _SCATTERS:
        return _elements(args[_SCATTERS[packet]])
    if packet in _BAGS:  # weighted sums of rows
        return 2.0 * float(args[1].numel() * args[0].shape[1])
    return None if kind is Kind.OTHER else 0.0


def matrix_flops_of(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> float:
    """Floating-point operations of products of matrices, as torch counts them, and as custom operators say."""
    custom = registered(operator)
    if custom is not None and custom.flops is not None:
        given = tree_map_only(Tensor, lambda tensor: tensor.shape, (tuple(args), dict(kwargs)))
        return float(custom.flops(*given[0], **given[1]))
    count = flop_registry.get(operator.overloadpacket)
    return 0.0 if count is None else float(count(*args, **kwargs, out_val=result))


def bytes_of(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> float:
    """Bytes that cannot be spared: every operand read once, every result written once, rows as often as gathered.

    Caches may hold some of them already. Views move none.
    """
    packet, kind = operator.overloadpacket, kind_of(operator)
    if kind is Kind.VIEW:
        return 0.0
    written = sum(map(_size, _tensors(result)))
    if packet in _FILLS:
        return written
    read = [_size(tensor) for tensor in _tensors((args, kwargs))]
    if packet in _GATHERS:
        source = _tensors(args)
        read[0] = min(read[0], sum(map(_size, _tensors(result)))) if next(source, None) is not None else 0.0
    if packet in _BAGS:
        read[0] = min(read[0], float(args[1].numel() * args[0].shape[1] * args[0].element_size()))
    return sum(read) + written


def computed_in(operator: Any, result: Any) -> Tensor | None:
    """The largest floating result of an operator; None for views, conversions, fills and scalars."""
    if kind_of(operator) is Kind.VIEW or operator.overloadpacket in (_aten._to_copy, *_FILLS):
        return None
    found = [tensor for tensor in _tensors(result) if tensor.is_floating_point() and tensor.ndim]
    return max(found, key=Tensor.numel, default=None)


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _elements(value: Any) -> float:
    return float(sum(tensor.numel() for tensor in _tensors(value) if tensor.is_floating_point()))


def _size(tensor: Tensor) -> float:
    """Bytes of its distinct elements: what is expanded is there once."""
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return float(tensor.element_size() * math.prod(size for size, stride in pairs if stride or size == 0))
