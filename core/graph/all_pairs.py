"""The search of small structures: compiled code holds every atom against every image that can be near one.

A search by a tree costs a millisecond however few atoms there are. Here there is one call, and neither images nor
pairs are sorted. `halocline.graph.radius` is the definition.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.compiled import Searched, address, plain, steps
from halocline.graph.graph import Edges
from halocline.graph.lattice import Lattice, lattice_of
from halocline.graph.structure import Structure, volume_of

#: Atoms times images up to which all are held against each other. A nanosecond each, less than a tree takes.
MOST_PAIRS: Final = 1 << 24

#: Edges that there is room for at first, beside those that a crystal of even density has.
_ROOM_FOR_EACH: Final = 16


@final
class _Cell(NamedTuple):
    """What a search needs of a cell, in one piece of memory each; steps of dynamics have the same one."""

    lattice: NDArray[np.float64]
    inverse: NDArray[np.float64]
    heights: NDArray[np.float64]
    transform: NDArray[np.int64]
    axes: NDArray[np.int64]
    components: NDArray[np.int64]
    values: NDArray[np.float64]


def radius_edges_of_few(structure: Structure, cutoff: float, lattice: Lattice, reach: float) -> Edges | None:
    """What `radius_edges` finds.

    Args:
        structure: N atoms.
        cutoff: Å.
        lattice: of its cell.
        reach: Å, see `halocline.graph.radius.Images`.

    Returns:
        The edges; None where the structure is too large for this, or nothing is compiled.
    """
    functions, atoms = steps.functions, len(structure)
    if functions is None:
        return None
    if atoms**2 * math.prod(1.0 + 2.0 * reach / float(height) for height in lattice.heights) > MOST_PAIRS:
        return None
    cell = _cell(structure.cell.tobytes(), structure.pbc.tobytes())
    positions = plain(structure.positions, np.float64)
    given = Searched(
        atoms=atoms,
        directions=len(cell.lattice),
        positions=address(positions),
        terms=len(cell.values),
        reach=reach,
        square_of_cutoff=cutoff**2,
        **{name: _place(values) for name, values in cell._asdict().items()},
    )
    room = _expected(structure, reach)
    while True:
        receivers, senders, shifts = (
            np.empty(room, np.int64),
            np.empty(room, np.int64),
            np.empty((room, 3), np.int64),
        )
        found = functions.search(ctypes.addressof(given), room, *map(address, (receivers, senders, shifts)))
        if found <= room:
            return Edges(receivers[:found], senders[:found], shifts[:found])
        room = found


@functools.lru_cache(maxsize=16)
def _cell(cell: bytes, pbc: bytes) -> _Cell:
    vectors, periodic = np.frombuffer(cell).reshape(3, 3), np.frombuffer(pbc, np.bool_)
    lattice = lattice_of(Structure(np.zeros(0, np.int64), np.zeros((0, 3)), vectors, periodic))
    transform = np.zeros((len(lattice.vectors), 3), np.int64)
    transform[:, periodic] = lattice.transform
    # In the order in which `Offsets` adds them.
    terms = [(axis, component) for axis in np.flatnonzero(periodic) for component in np.flatnonzero(vectors[axis])]
    axes, components = np.array(terms, np.int64).reshape(-1, 2).T
    return _Cell(
        lattice=np.ascontiguousarray(lattice.vectors),
        inverse=np.ascontiguousarray(lattice.inverse),
        heights=np.ascontiguousarray(lattice.heights),
        transform=transform,
        axes=np.ascontiguousarray(axes),
        components=np.ascontiguousarray(components),
        values=vectors[axes, components],
    )


def _place(values: NDArray[Any]) -> int | None:
    return address(values) if values.size else None


def _expected(structure: Structure, reach: float) -> int:
    """About how many edges there are; a little more of even density, and few where density is not known."""
    atoms = len(structure)
    room = atoms * (_ROOM_FOR_EACH + min(atoms, _ROOM_FOR_EACH))
    if structure.pbc.all():
        room += int(atoms**2 * 4.0 / 3.0 * math.pi * reach**3 / volume_of(structure.cell))
    return room
