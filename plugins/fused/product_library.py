"""A channelwise product as compiled C++, and the same in plain operations."""

from __future__ import annotations

import ctypes
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor

from halocline.errors import KernelError
from halocline.native import library
from halocline.plugins.equivariance import ChannelwiseProduct, natural_irreps, parse_irreps, spherical_harmonics
from halocline.plugins.fused.harmonics_source import harmonics_source
from halocline.plugins.fused.product_source import ProductSource

_TILES, _WEIGHTS, _CALLS = (
    Path(__file__).with_name(name).read_text(encoding="utf-8")
    for name in ("product.h", "product_weights.h", "product_calls.h")
)

_TYPES: Final = {torch.float32: "float", torch.float64: "double"}

#: Vectors of channels that the pass in reverse works on together, so that what they add up to for an edge is
#: summed over lanes once; and vectors that gradients of a receiver may become when they are contracted with
#: couplings, so that the nearest cache holds them.
_WIDEST: Final = 4
_AT_HAND: Final = 256


@final
class _Edges(ctypes.Structure):
    """`Edges` of product.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_in", "n_out", "count")),
        *((name, ctypes.c_void_p) for name in ("vectors", "senders", "starts")),
    )


class _Radial(ctypes.Structure):
    """`Radial` of product.h, but for the two numbers at its end."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("values", "gradients", "rows", "again", "kinds", "pairs")),
        *((name, ctypes.c_int64) for name in ("species", "functions", "knots")),
    )


@final
class _Radial32(_Radial):
    _fields_ = (("start", ctypes.c_float), ("per_length", ctypes.c_float))


@final
class _Radial64(_Radial):
    _fields_ = (("start", ctypes.c_double), ("per_length", ctypes.c_double))


@final
class Edges(NamedTuple):
    """Edges sorted by receiver.

    Attributes:
        vectors: (E, 3), Å, none of them zero.
        senders: (E,) int64.
        starts: (n_out,) int64, the first edge of each receiver.
    """

    vectors: Tensor
    senders: Tensor
    starts: Tensor

    def receivers(self) -> Tensor:
        """(E,) int64."""
        edges = torch.arange(self.senders.shape[0], device=self.starts.device)
        return torch.searchsorted(self.starts, edges, right=True) - 1


@final
class Table(NamedTuple):
    """Weights from splines; see `FusedProduct.tabulated`."""

    values: Tensor
    start: float
    per_length: float
    kinds: Tensor | None
    pairs: Tensor | None


@final
class Given(NamedTuple):
    """Weights from a tensor (R, P · C); ``rows`` (E,) of it belong to edges, or None where each has its own."""

    values: Tensor
    rows: Tensor | None


@final
class ProductLibrary:
    """Everything that follows from what operators are told of a product.

    Args:
        spec: irreps of features, of harmonics and of results, and the number of channels, with lines in between.

    Raises:
        KernelError: the harmonics are not all those up to a degree.
    """

    def __init__(self, spec: str) -> None:
        *irreps, channels = spec.split("|")
        self.left, self.right, self.out = ([irrep for _, irrep in parse_irreps(text)] for text in irreps)
        self.channels, self.max_degree = int(channels), len(self.right) - 1
        if tuple(self.right) != natural_irreps(self.max_degree):
            raise KernelError(f"its harmonics are {irreps[1]}, not all up to a degree")
        self.source = ProductSource(self.left, self.right, self.out)
        self._loaded: dict[tuple[torch.dtype, bool], ctypes.CDLL] = {}
        self._modules: dict[tuple[torch.dtype, torch.device], ChannelwiseProduct] = {}

    def load(self, dtype: torch.dtype, *, tabulated: bool) -> ctypes.CDLL:
        """The library, compiled if that was not done before.

        Raises:
            KernelError: it cannot be had here.
        """
        key = dtype, tabulated
        if key not in self._loaded:
            loaded = library("product", self.text(dtype, tabulated=tabulated))
            loaded.product_sums.argtypes = (*(ctypes.c_void_p,) * 4, ctypes.c_int)
            loaded.product_pull.argtypes = (*(ctypes.c_void_p,) * 6, ctypes.c_int)
            loaded.product_sums.restype = loaded.product_pull.restype = None
            self._loaded[key] = loaded
        return self._loaded[key]

    def text(self, dtype: torch.dtype, *, tabulated: bool) -> str:
        """The C++ of it."""
        source = self.source
        width = min(_WIDEST, max(1, _AT_HAND // source.contracted))
        head = f"""#include <algorithm>
#include <cmath>
#include <memory>
#include "lanes.h"
#include "rows.h"

using T = {_TYPES[dtype]};
using V = halo::Vec<T>;
constexpr int LANES = halo::LANES<T>, CHANNELS = {self.channels}, WIDTH = {width};
constexpr bool TABULATED = {str(tabulated).lower()};
"""
        harmonics = harmonics_source(self.max_degree)
        return "\n".join([head, harmonics, source.before(), _TILES, _WEIGHTS, source.after(), _CALLS])

    def sums(self, x: Tensor, edges: Edges, weights: Table | Given) -> Tensor:
        """Products (K · n_out, C), added up at receivers; of contiguous tensors, as all that follows."""
        found = x.new_empty(self.shape(edges))
        loaded = self.load(x.dtype, tabulated=isinstance(weights, Table))
        loaded.product_sums(
            ctypes.byref(_edges(x, edges)),
            ctypes.byref(_radial(weights, None, None)),
            x.data_ptr(),
            found.data_ptr(),
            torch.get_num_threads(),
        )
        return found

    def pull(self, pull: Tensor, x: Tensor, edges: Edges, weights: Table | Given) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients by features, vectors and weights (empty if those are from a table), from one by the sums."""
        by_x = torch.zeros_like(x)
        by_vectors = torch.empty_like(edges.vectors)
        by_weights, again = x.new_empty(0), None
        if isinstance(weights, Given):
            by_weights, again = torch.zeros_like(weights.values), _again(weights)
        loaded = self.load(x.dtype, tabulated=isinstance(weights, Table))
        loaded.product_pull(
            ctypes.byref(_edges(x, edges)),
            ctypes.byref(_radial(weights, by_weights, again)),
            x.data_ptr(),
            pull.data_ptr(),
            by_x.data_ptr(),
            by_vectors.data_ptr(),
            torch.get_num_threads(),
        )
        return by_x, by_vectors, by_weights

    def shape(self, edges: Edges) -> tuple[int, int]:
        """Of the sums."""
        return self.source.rows * edges.starts.shape[0], self.channels

    def composite(self, x: Tensor, edges: Edges, weights: Tensor) -> Tensor:
        """What `sums` computes, in plain operations, of weights (E, P, C)."""
        key = x.dtype, x.device
        if key not in self._modules:
            self._modules[key] = ChannelwiseProduct(self.left, self.right, self.out).to(x)
        module, receivers, rows = self._modules[key], edges.receivers(), edges.starts.shape[0]
        directions = edges.vectors / edges.vectors.norm(dim=1, keepdim=True)
        sent = x.transpose(0, 1).index_select(0, edges.senders)

        def add_up(messages: Tensor) -> Tensor:
            return messages.new_zeros((rows, *messages.shape[1:])).index_add(0, receivers, messages)

        sums = module(sent, spherical_harmonics(directions, self.max_degree), weights, add_up)
        places = pairwise(accumulate(module.of_out, initial=0))
        of_out = [torch.stack(sums[first:last], 2).transpose(0, 1) for first, last in places if first < last]
        return torch.cat([each.flatten(0, 2) for each in of_out])


@cache
def product_library(spec: str) -> ProductLibrary:
    """The one of each product in this process."""
    return ProductLibrary(spec)


def _edges(x: Tensor, edges: Edges) -> _Edges:
    sizes = x.shape[1], edges.starts.shape[0], edges.senders.shape[0]
    return _Edges(*sizes, *(tensor.data_ptr() for tensor in edges))


def _radial(weights: Table | Given, gradients: Tensor | None, again: Tensor | None) -> Any:
    values = weights.values
    kind = _Radial32 if values.dtype == torch.float32 else _Radial64
    if isinstance(weights, Given):
        pointers = (_address(each) for each in (values, gradients, weights.rows, again))
        return kind(*pointers)
    species = 0 if weights.pairs is None else weights.pairs.shape[0]
    ends = _address(weights.kinds), _address(weights.pairs)
    return kind(
        values.data_ptr(), None, None, None, *ends, species, *values.shape[1:3], weights.start, weights.per_length
    )


def _again(weights: Given) -> Tensor | None:
    """Whether an edge before it had its row, (E,) of bytes."""
    if weights.rows is None:
        return None
    rows = weights.rows
    here = torch.arange(rows.shape[0])
    first = rows.new_full((weights.values.shape[0],), rows.shape[0]).scatter_reduce(0, rows, here, "amin")
    return (first.index_select(0, rows) != here).to(torch.uint8)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
