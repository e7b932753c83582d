"""Compiled passes over edges: what they are told, how they are put together, and how they are called."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from halocline.native import library
from halocline.plugins.fused.harmonics_source import harmonics_source
from halocline.plugins.fused.operators import SUFFIX, address


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
    """Weights from splines, see `spline_panels`, as functions of the length.

    Attributes:
        values: (panels, F, K + 6, P, 2, 16).
        start: Å, and ``per_length`` 1/Å, see `spline_grid`.
        pairs: (S, S) int64, the number of the function of two kinds of atom; None if there is one function.
        kinds: (n_in,) int64, of atoms; None if nothing differs by them.
        species: how many there are, S.
    """

    values: Tensor
    start: float
    per_length: float
    pairs: Tensor | None
    kinds: Tensor | None
    species: int

    def numbers(self, edges: Edges) -> Tensor | None:
        """Of the functions of edges, (E,); None if there is one."""
        if self.pairs is None or self.kinds is None:
            return None
        senders, receivers = (self.kinds.index_select(0, atoms) for atoms in (edges.senders, edges.receivers()))
        return self.pairs.flatten().index_select(0, senders * self.pairs.shape[0] + receivers)


@final
class Given(NamedTuple):
    """Weights from a tensor.

    Attributes:
        values: (R, P · C).
        rows: (E,) int64, the rows that belong to edges; None where each has its own.
        kinds: as of a `Table`, and so is ``species``.
    """

    values: Tensor
    rows: Tensor | None
    kinds: Tensor | None
    species: int

    def of_edges(self) -> Tensor:
        """(E, P · C)."""
        return self.values if self.rows is None else self.values.index_select(0, self.rows)


class _Edges(ctypes.Structure):
    """`Edges` of product.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_in", "n_out", "count")),
        *((name, ctypes.c_void_p) for name in ("vectors", "senders", "starts")),
    )


class _Radial(ctypes.Structure):
    """`Radial` of product.h, but for the two numbers at its end."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("values", "gradients", "rows", "kinds", "pairs")),
        *((name, ctypes.c_int64) for name in ("species", "functions", "knots", "count")),
    )


class _Radial32(_Radial):
    _fields_ = (("start", ctypes.c_float), ("per_length", ctypes.c_float))


class _Radial64(_Radial):
    _fields_ = (("start", ctypes.c_double), ("per_length", ctypes.c_double))


def text(*names: str) -> str:
    """Files of C++ beside this one."""
    return "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)


def source(
    dtype: torch.dtype,
    channels: int,
    width: int,
    max_degree: int,
    before: str,
    after: str,
    *,
    tabulated: bool,
    by_kind: bool,
) -> str:
    """The C++ of both passes over edges.

    Args:
        dtype: float32 or float64.
        channels: C.
        width: vectors of channels that the pass in reverse works on together.
        max_degree: of the harmonics.
        before: what ``product.h`` needs.
        after: the functions that need it.
        tabulated: weights are from a table; else from a tensor.
        by_kind: edges of a receiver are worked on in the order of their senders' kinds.
    """
    head = f"""#include <algorithm>
#include <cmath>
#include <memory>
#include "lanes.h"
#include "rows.h"

using T = {SUFFIX[dtype]};
using V = halo::Vec<T>;
constexpr int LANES = halo::LANES<T>, CHANNELS = {channels}, WIDTH = {width};
constexpr bool TABULATED = {str(tabulated).lower()}, BY_KIND = {str(by_kind).lower()};
"""
    parts = [head, harmonics_source(max_degree), before, text("product.h", "product_weights.h"), after]
    return "\n".join([*parts, text("product_calls.h")])


def load(name: str, written: str) -> ctypes.CDLL:
    """The library of a `source`, compiled if that was not done before.

    Raises:
        KernelError: it cannot be had here.
    """
    loaded = library(name, written)
    loaded.product_sums.argtypes = (*(ctypes.c_void_p,) * 4, ctypes.c_int)
    loaded.product_pull.argtypes = (*(ctypes.c_void_p,) * 6, ctypes.c_int)
    loaded.product_sums.restype = loaded.product_pull.restype = None
    return loaded


def call_sums(
    loaded: ctypes.CDLL, shape: tuple[int, ...], x: Tensor | None, edges: Edges, weights: Table | Given
) -> Tensor:
    """Messages added up at receivers; of contiguous tensors, as all that follows.

    Args:
        loaded: the library.
        shape: of the result.
        x: features (m, n_in, C); None for messages that have none.
        edges: all.
        weights: on them.
    """
    found = edges.vectors.new_empty(shape)
    told = _edges(x, edges), _radial(weights, None)
    loaded.product_sums(*map(ctypes.byref, told), address(x), found.data_ptr(), torch.get_num_threads())
    return found


def call_pull(
    loaded: ctypes.CDLL,
    pull: Tensor,
    x: Tensor | None,
    edges: Edges,
    weights: Table | Given,
    by_vectors: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by features, vectors and weights, from one by the sums; empty where there is nothing to be had.

    Args:
        loaded: the library.
        pull: of the shape of the sums.
        x: as for the sums, and so are edges and weights.
        edges: all.
        weights: on them.
        by_vectors: (E, 3) or more rows, to which gradients by vectors are added; None for new ones.
    """
    by_x = edges.vectors.new_empty(0) if x is None else torch.zeros_like(x)
    by_weights = edges.vectors.new_empty(0)
    if by_vectors is None:
        by_vectors = torch.zeros_like(edges.vectors)
    if isinstance(weights, Given):
        by_weights = torch.empty_like(weights.values)
    told = _edges(x, edges), _radial(weights, by_weights)
    arrays = (address(each) for each in (x, pull, by_x, by_vectors))
    loaded.product_pull(*map(ctypes.byref, told), *arrays, torch.get_num_threads())
    return by_x, by_vectors, by_weights


def _edges(x: Tensor | None, edges: Edges) -> _Edges:
    sizes = 0 if x is None else x.shape[1], edges.starts.shape[0], edges.senders.shape[0]
    return _Edges(*sizes, *(tensor.data_ptr() for tensor in edges))


def _radial(weights: Table | Given, gradients: Tensor | None) -> Any:
    values = weights.values
    rows, pairs = (None, weights.pairs) if isinstance(weights, Table) else (weights.rows, None)
    pointers = [address(each) for each in (values, gradients, rows, weights.kinds, pairs)]
    kind = _Radial32 if values.dtype == torch.float32 else _Radial64
    if isinstance(weights, Table):
        return kind(*pointers, weights.species, *values.shape[1:3], 0, weights.start, weights.per_length)
    return kind(*pointers, weights.species, 0, 0, values.shape[0])
