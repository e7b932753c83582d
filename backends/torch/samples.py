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
from halocline.lowering.arguments import size_family
from halocline.program.index_sets import WRITTEN

#: What sizes of lists of edges, and of pairs and chains of them, begin with.
_SETS = ("R", "T", "Q")


def samples(manifest: Manifest) -> dict[str, tuple[Tensor, ...]]:
    """Arguments by what is special about their sizes; the first are good to record with, as all sizes differ."""
    found = {
        "some atoms": arguments(manifest, atoms=5, edges=40),
        "more atoms": arguments(manifest, atoms=30, edges=200),
        "one atom": arguments(manifest, atoms=1, edges=0),
    }
    if any(value.name.startswith(("rule_", "triplets_", "quadruplets_")) for value in manifest.inputs):
        found["edges in no list"] = arguments(manifest, atoms=5, edges=40, listed=False)
    return found


def arguments(manifest: Manifest, atoms: int, edges: int, *, listed: bool = True) -> tuple[Tensor, ...]:
    """One set of arguments, always the same.

    Args:
        manifest: of the program.
        atoms: the smallest number of atoms, and of slots in a row; the others are somewhat larger.
        edges: the smallest number of edges and of pairs; the others are somewhat larger, unless it is 0.
        listed: whether lists of some edges, and index sets, are as long; otherwise there is nothing in them.
    """
    random = Generator().manual_seed(atoms)
    return tuple(
        _tensor(value, _shape(value, atoms, edges, listed=listed), manifest, atoms, edges, random)
        for value in manifest.inputs
    )


def _shape(value: Value, atoms: int, edges: int, *, listed: bool) -> tuple[int, ...]:
    """That of one argument."""
    return tuple(
        size if isinstance(size, int) else _size(size, atoms, edges if listed or not size.startswith(_SETS) else 0)
        for size in value.shape
    )


def _tensor(
    value: Value, shape: tuple[int, ...], manifest: Manifest, atoms: int, edges: int, random: Generator
) -> Tensor:
    """One argument."""
    if value.name == "species":
        known = torch.tensor([atomic_numbers[symbol] for symbol in manifest.species])
        return known[torch.randint(len(known), shape, generator=random)]
    for condition in manifest.conditions:
        if value.name == condition["name"]:
            return _condition(condition, shape, getattr(torch, value.dtype), random)
    if value.name == "receivers" and len(shape) == 1:
        return _receivers(manifest, atoms, edges, random)
    if value.name.startswith("rule_") and "E" in _named(manifest) and size_family(str(value.shape[0]))[1] is None:
        return _listed(value, manifest, atoms, edges, shape[0])
    if value.dtype == "int64":  # an index that exists whatever it counts
        found = torch.randint(min(atoms, edges or atoms), shape, generator=random)
        # Edges of a list have the order of all; so have the edges that messages go to.
        return found.sort().values if value.name.startswith("rule_") or value.name.endswith(WRITTEN) else found
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
    ends = _ends(manifest, "E", atoms, edges)
    found, first, done = [], 0, 0
    for level, end in enumerate(ends):
        last = _size(f"n_{level}", atoms, edges)
        found.append(torch.randint(first, max(last, first + 1), (end - done,), generator=random).sort().values)
        first, done = last, end
    return torch.cat(found)


def _listed(value: Value, manifest: Manifest, atoms: int, edges: int, count: int) -> Tensor:
    """Edges of a list, (count,), each once or twice: with many edges in the place of one, none might count.

    Those of each hop level are among its edges.
    """
    if not count:
        return torch.zeros(0, dtype=torch.int64)
    name = str(value.shape[0])
    found, first, done = [], 0, 0
    for last, end in zip(_ends(manifest, "E", atoms, edges), _ends(manifest, name, atoms, edges), strict=True):
        found.append(first + torch.arange(end - done) * (last - first) // (end - done))
        first, done = last, end
    return torch.cat(found)


def _ends(manifest: Manifest, name: str, atoms: int, edges: int) -> list[int]:
    """How many edges there are up to each hop level, of all (``E``) or of a list, named as its size is."""
    inner = (name.lower() if name == "E" else name) + "_"
    levels = sum(size.startswith(inner) for size in _named(manifest))
    return [_size(f"{inner}{level}", atoms, edges) for level in range(levels)] + [_size(name, atoms, edges)]


def _named(manifest: Manifest) -> set[str]:
    """Sizes that are free."""
    return {size for value in manifest.inputs for size in value.shape if isinstance(size, str)}


def _condition(declared: dict[str, Any], shape: tuple[int, ...], dtype: torch.dtype, random: Generator) -> Tensor:
    """Numbers of a condition that the model may be told: tables of embeddings have no others."""
    most = len(declared["choices"]) - 1 if declared["choices"] else declared["most"]
    least = 0 if declared["choices"] else declared["least"]
    least = (0 if most is None else most - 1) if least is None else least
    most = least + 1 if most is None else most
    return torch.randint(math.ceil(least), math.floor(most) + 1, shape, generator=random).to(dtype)


def _size(name: str, atoms: int, edges: int) -> int:
    """A number for the name of a size: inner hop levels are smaller than outer ones."""
    family, level = size_family(name)
    least = atoms if family in ("n", "N", "k", "t") else edges
    if least < 2:
        return least
    return least + (10 + "NkEPtRTQ".index(family[0]) if level is None else level) * math.ceil(least / 10)
