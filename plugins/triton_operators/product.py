"""Channelwise products; see `halocline.plugins.fused.product`, of whose operators these are the arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from triton import cdiv

from halocline.plugins.fused.edge_library import Edges, Given, Table
from halocline.plugins.fused.edges import order_by_sender
from halocline.plugins.fused.product import read_tabulated, read_weighted
from halocline.plugins.fused.product_library import ProductLibrary
from halocline.plugins.triton_operators.blocks import Blocks
from halocline.plugins.triton_operators.edges import blocks_of, by_row, read_weights
from halocline.plugins.triton_operators.generated import module_of
from halocline.plugins.triton_operators.launch import launch
from halocline.plugins.triton_operators.product_text import ProductText


def sums_tabulated(*arguments: Any) -> Tensor:
    """Products added up at receivers, with weights from a table."""
    return _sums(*read_tabulated(arguments))


def sums_weighted(*arguments: Any) -> Tensor:
    """The same with given weights."""
    return _sums(*read_weighted(arguments))


def pull_tabulated(pull: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    """Gradients by features and vectors."""
    return _pull(pull.contiguous(), *read_tabulated(arguments))


def pull_weighted(pull: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by features, vectors and given weights."""
    product, x, edges, weights = read_weighted(arguments)
    pull = pull.contiguous()
    return *_pull(pull, product, x, edges, weights), _pull_weights(pull, product, x, edges, weights)


def _sums(product: ProductLibrary, x: Tensor, edges: Edges, weights: Table | Given) -> Tensor:
    out = x.new_empty(product.shape(edges))
    rows = edges.starts.shape[0]
    _launch(
        "sums", product, weights, lambda blocks: (rows,), [out, x, *edges, *read_weights(weights, edges)], x, edges
    )
    return out


def _pull(
    pull: Tensor, product: ProductLibrary, x: Tensor, edges: Edges, weights: Table | Given
) -> tuple[Tensor, Tensor]:
    by_x, by_vectors = torch.empty_like(x), torch.empty_like(edges.vectors)
    order, starts = order_by_sender(edges.senders, x.shape[1])
    read = pull, x, edges.vectors, edges.receivers(), order, starts, *read_weights(weights, edges)
    _launch("pull", product, weights, lambda blocks: (x.shape[1],), [by_x, by_vectors, *read], x, edges)
    return by_x, by_vectors


def _pull_weights(pull: Tensor, product: ProductLibrary, x: Tensor, edges: Edges, weights: Given) -> Tensor:
    found, rows = torch.empty_like(weights.values), weights.values.shape[0]
    read = pull, edges.vectors, edges.senders, edges.receivers(), *by_row(weights, edges), x
    _launch(
        "pull_weights", product, weights, lambda blocks: (cdiv(rows, blocks["EDGES"]),), [found, *read], x, edges
    )
    return found


def _launch(
    name: str,
    product: ProductLibrary,
    weights: Table | Given,
    grid: Callable[[Blocks], tuple[int, ...]],
    arguments: list[Tensor | int | None],
    x: Tensor,
    edges: Edges,
) -> None:
    """Run a kernel of the product."""
    rows = [weights.values.shape[0]] if name == "pull_weights" else []
    sizes = *rows, x.shape[1], edges.starts.shape[0], edges.senders.shape[0]
    launch(
        getattr(_module(product, isinstance(weights, Table)), name),
        [*arguments, *sizes],
        x,
        blocks_of(product.channels),
        grid,
        work=edges.senders.shape[0] * product.channels,
    )


@cache
def _module(product: ProductLibrary, tabulated: bool) -> ModuleType:
    irreps = product.left, product.right, product.out
    return module_of("product", ProductText(*irreps, product.channels, tabulated=tabulated).text())
