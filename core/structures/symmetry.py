"""Atoms that symmetry has put beside themselves, because coordinates in the file were rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from halocline.errors import StructureError
from halocline.graph.radius import radius_edges
from halocline.graph.structure import Structure

if TYPE_CHECKING:
    from ase import Atoms

#: Å; no two atoms of a crystal are nearer, the shortest bond is that of H2, 0.74 Å.
NEAREST = 0.5


def refuse_images(atoms: Atoms, where: str) -> None:
    """Refuse a crystal in which symmetry operations of its file lead to one site more than once.

    Raises:
        StructureError: names the nearest pair and its distance.
    """
    if "spacegroup_kinds" not in atoms.arrays or len(atoms) == 0 or atoms.cell.rank != len(atoms.cell):
        return
    structure = Structure(
        atoms.numbers.astype(np.int64), atoms.positions.copy(), atoms.cell.array.copy(), np.array(atoms.pbc)
    )
    edges = radius_edges(structure, NEAREST)
    if len(edges) == 0:
        return
    distances = np.linalg.norm(edges.vectors(structure), axis=1)
    first = int(distances.argmin())
    pair = sorted((int(edges.receivers[first]), int(edges.senders[first])))
    names = " and ".join(f"{atoms.symbols[i]} (atom {i})" for i in pair)
    raise StructureError(
        f"{where}: symmetry puts {names} {distances[first]:.2g} Å apart; nothing is nearer than {NEAREST} Å in a "
        "crystal. Coordinates such as 0.33 for 1/3 were rounded: write them with five digits or more."
    )
