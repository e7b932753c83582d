"""Longest-pack-first histogram packing: many small structures into packs of one fixed size, and their inputs.

M. M. Krell et al., "Efficient sequence packing without cross-contamination", arXiv 2107.02027. The packing works
on the histogram of sizes, so its time depends on the largest size and not on the number of structures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.aggregation import Form
from halocline.errors import UsageError
from halocline.graph import Graph, JointGraph
from halocline.partition import whole
from halocline.program import Precision, TableInputs
from halocline.program.capacity import Capacity, pad
from halocline.program.layout import lay_out


@final
@dataclass(frozen=True, slots=True)
class _Packs:
    """Packs that are filled alike.

    Attributes:
        count: how many there are.
        sizes: atoms of the structures in each of them.
    """

    count: int
    sizes: tuple[int, ...]


@final
@dataclass(slots=True)
class _Packer:
    """Packs by the room that is left in them.

    Attributes:
        atoms: that a pack holds.
        structures: that a pack holds.
        by_room: [room] → packs that can take another structure; closed ones have no room.
    """

    atoms: int
    structures: int
    by_room: list[list[_Packs]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_room = [[] for _ in range(self.atoms + 1)]

    def add(self, size: int, number: int) -> None:
        """Add structures of one size to the fullest packs that can take them, or else to new ones."""
        while number:
            room = next((r for r in range(size, self.atoms + 1) if self.by_room[r]), None)
            packs = _Packs(number, ()) if room is None else self.by_room[room].pop()
            number -= self._fill(packs, size, number)

    def _fill(self, packs: _Packs, size: int, number: int) -> int:
        """Put up to ``number`` structures of one size into packs, each with as many as it can take.

        Returns:
            How many structures went in.
        """
        room = self.atoms - sum(packs.sizes)
        each = min(room // size, self.structures - len(packs.sizes), number)
        filled = min(packs.count, number // each)
        self._put(_Packs(filled, packs.sizes + (size,) * each))
        if packs.sizes:
            self._put(_Packs(packs.count - filled, packs.sizes))
        return filled * each

    def _put(self, packs: _Packs) -> None:
        if packs.count:
            full = len(packs.sizes) == self.structures
            self.by_room[0 if full else self.atoms - sum(packs.sizes)].append(packs)


def pack(sizes: Sequence[int] | NDArray[np.int64], atoms_limit: int, graphs_limit: int) -> list[NDArray[np.int64]]:
    """Distribute structures over packs.

    Args:
        sizes: atoms of each structure.
        atoms_limit: that a pack holds.
        graphs_limit: structures that a pack holds.

    Returns:
        The numbers of the structures in each pack.

    Raises:
        UsageError: a structure is empty or larger than a pack.
    """
    lengths = np.asarray(sizes, np.int64)
    if graphs_limit < 1 or ((lengths < 1) | (lengths > atoms_limit)).any():
        raise UsageError(
            f"Packs of at most {graphs_limit} structures and {atoms_limit} atoms cannot hold structures of "
            f"{lengths.min(initial=atoms_limit)} to {lengths.max(initial=0)} atoms; make the packs larger."
        )
    packer = _Packer(atoms_limit, graphs_limit)
    histogram = np.bincount(lengths, minlength=1)
    for size in np.flatnonzero(histogram)[::-1]:
        packer.add(int(size), int(histogram[size]))
    return _assign(lengths, [packs for alike in packer.by_room for packs in alike])


def pack_inputs(graphs: Sequence[Graph], capacity: Capacity) -> TableInputs:
    """The inputs of whole structures in one pack, in float32; no edge leads from one structure to another.

    Args:
        graphs: of the structures, which follow one another.
        capacity: of the program, for whole structures; the rest is padding.

    Raises:
        UsageError: they do not fit.
    """
    joint = JointGraph.of(graphs).graph
    part = whole(len(joint.structure), joint.edges, len(capacity.levels) - 1)
    inputs = lay_out(joint, part, Form.TABLE, Precision.FLOAT32)
    assert isinstance(inputs, TableInputs)
    return pad(inputs, capacity)


def efficiency(
    sizes: Sequence[int] | NDArray[np.int64], packs: Sequence[NDArray[np.int64]], atoms_limit: int
) -> float:
    """The part of all places for atoms that is taken."""
    return float(np.sum(sizes)) / (len(packs) * atoms_limit) if packs else 1.0


def _assign(lengths: NDArray[np.int64], plan: list[_Packs]) -> list[NDArray[np.int64]]:
    """Hand out the structures of each size in order."""
    order = np.argsort(lengths, kind="stable")
    taken = np.concatenate([[0], np.cumsum(np.bincount(lengths, minlength=1))])  # [size] → first of this size
    packs: list[NDArray[np.int64]] = []
    for alike in plan:
        columns = []
        for size in alike.sizes:
            columns.append(order[taken[size] : taken[size] + alike.count])
            taken[size] += alike.count
        packs.extend(np.stack(columns, axis=1))
    return packs
