"""Sums of radial functions times harmonics; see the operators of `halocline.plugins.fused.density`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from triton import cdiv

from halocline.plugins.fused.density import Density, read_tabulated, read_weighted
from halocline.plugins.fused.edge_library import Given, Table
from halocline.plugins.triton_operators.blocks import Blocks
from halocline.plugins.triton_operators.density_text import density_text
from halocline.plugins.triton_operators.edges import blocks_of, by_row, read_weights
from halocline.plugins.triton_operators.generated import module_of
from halocline.plugins.triton_operators.launch import launch


def sums_tabulated(*arguments: Any) -> Tensor:
    """Sums of functions from a table."""
    return _sums(read_tabulated(arguments))


def sums_weighted(*arguments: Any) -> Tensor:
    """Sums of given values."""
    return _sums(read_weighted(arguments))


def pull_tabulated(pull: Tensor, *arguments: Any) -> Tensor:
    """The gradient by vectors."""
    return _pull(pull.contiguous(), read_tabulated(arguments))


def pull_weighted(pull: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    """Gradients by vectors and by given values."""
    density, pull = read_weighted(arguments), pull.contiguous()
    return _pull(pull, density), _pull_weights(pull, density)


def _sums(density: Density) -> Tensor:
    found, weights = density.edges.vectors.new_empty(density.shape), density.weights
    grid = density.edges.starts.shape[0], weights.species
    _launch("sums", density, [found, *_read(density)], lambda blocks: grid)
    return found


def _pull(pull: Tensor, density: Density) -> Tensor:
    found, atoms = torch.empty_like(density.edges.vectors), density.edges.starts.shape[0]
    _launch("pull", density, [found, pull, *_read(density)], lambda blocks: (atoms,))
    return found


def _pull_weights(pull: Tensor, density: Density) -> Tensor:
    edges, weights = density.edges, density.weights
    assert isinstance(weights, Given)
    found, rows = torch.empty_like(weights.values), weights.values.shape[0]
    read = pull, edges.vectors, edges.senders, edges.receivers(), *by_row(weights, edges), weights.kinds
    sizes = weights.species, rows, 0  # senders have no features
    _launch("pull_weights", density, [found, *read, *sizes], lambda blocks: (cdiv(rows, blocks["EDGES"]),))
    return found


def _read(density: Density) -> list[Tensor | int | None]:
    weights = density.weights
    return [*density.edges, weights.kinds, *read_weights(weights, density.edges), weights.species]


def _launch(name: str, density: Density, arguments: list[Any], grid: Callable[[Blocks], tuple[int, ...]]) -> None:
    edges, functions = density.edges, density.functions
    module = _module(density.max_degree, functions, isinstance(density.weights, Table))
    sizes = edges.starts.shape[0], edges.senders.shape[0]
    work = edges.senders.shape[0] * functions
    launch(getattr(module, name), [*arguments, *sizes], edges.vectors, blocks_of(functions), grid, work=work)


@cache
def _module(max_degree: int, functions: int, tabulated: bool) -> ModuleType:
    return module_of("density", density_text(max_degree, functions, tabulated=tabulated))
