"""Arguments for any program, of any sizes: to record it with, and to see that compiling changed nothing.

A graph and what was compiled from it must agree on all tensors of the right shapes, whether or not there is a
structure behind them. Hence these are random, and only made so that nothing is singular, and that edges are sorted
by receiver: operators in compiled code would read beyond their ends.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from ase.data import atomic_numbers
from torch import Generator, Tensor

from halocline.lowering import Manifest, Value


def samples(manifest: Manifest) -> dict[str, tuple[Tensor, ...]]:
    """Arguments by what is special about their sizes; the first are good to record with, as all sizes differ."""
    return {
        "some atoms": arguments(manifest, atoms=5, edges=40),
        "more atoms": arguments(manifest, atoms=30, edges=200),
        "one atom": arguments(manifest, atoms=1, edges=0),
    }


def arguments(manifest: Manifest, atoms: int, edges: int) -> tuple[Tensor, ...]:
    """One set of arguments, always the same.

    Args:
        manifest: of the program.
        atoms: the smallest number of atoms, and of slots in a row; the others are somewhat larger.
        edges: the smallest number of edges and of pairs; the others are somewhat larger, unless it is 0.
    """
    random = Generator().manual_seed(atoms)
    return tuple(_tensor(value, manifest, atoms, edges, random) for value in manifest.inputs)


def _tensor(value: Value, manifest: Manifest, atoms: int, edges: int, random: Generator) -> Tensor:
    """One argument."""
    shape = tuple(_size(size, atoms, edges) if isinstance(size, str) else size for size in value.shape)
    if value.name == "species":
        known = torch.tensor([atomic_numbers[symbol] for symbol in manifest.species])
        return known[torch.randint(len(known), shape, generator=random)]
    for condition in manifest.conditions:
        if value.name == condition["name"]:
            return _condition(condition, shape, getattr(torch, value.dtype), random)
    if value.name == "receivers" and len(shape) == 1:
        return _receivers(manifest, atoms, edges, random)
    if value.dtype == "int64":  # an index that exists whatever it counts
        return torch.randint(min(atoms, edges or atoms), shape, generator=random)
    dtype = getattr(torch, value.dtype)
    if value.name == "cell":
        return torch.eye(3, dtype=dtype)
    if value.name in ("mask", "seeds"):
        return torch.randint(2, shape, generator=random).to(dtype)
    # Vectors and shifts are longer than positions differ: no two atoms lie on one point.
    low, high = (0.0, 0.5) if value.name == "positions" else (1.0, 2.0)
    return torch.empty(shape, dtype=dtype).uniform_(low, high, generator=random)


def _receivers(manifest: Manifest, atoms: int, edges: int, random: Generator) -> Tensor:
    """Never decreasing, the edges of each hop level before those of the next."""
    named = {size for value in manifest.inputs for size in value.shape if isinstance(size, str)}
    inner = sum(name.startswith("e_") for name in named)
    ends = [_size(f"e_{level}", atoms, edges) for level in range(inner)] + [_size("E", atoms, edges)]
    found, first, done = [], 0, 0
    for level, end in enumerate(ends):
        last = _size(f"n_{level}", atoms, edges)
        found.append(torch.randint(first, max(last, first + 1), (end - done,), generator=random).sort().values)
        first, done = last, end
    return torch.cat(found)


def _condition(declared: dict[str, Any], shape: tuple[int, ...], dtype: torch.dtype, random: Generator) -> Tensor:
    """Numbers of a condition that the model may be told: tables of embeddings have no others."""
    most = len(declared["choices"]) - 1 if declared["choices"] else declared["most"]
    least = 0 if declared["choices"] else declared["least"]
    least = (0 if most is None else most - 1) if least is None else least
    most = least + 1 if most is None else most
    return torch.randint(math.ceil(least), math.floor(most) + 1, shape, generator=random).to(dtype)


def _size(name: str, atoms: int, edges: int) -> int:
    """A number for the name of a size: inner hop levels are smaller than outer ones."""
    kind, _, level = name.partition("_")
    least = atoms if kind in ("n", "N", "k", "t") else edges
    if least < 2:
        return least
    return least + (int(level) if level else 10 + "NkEPt".index(kind)) * math.ceil(least / 10)
