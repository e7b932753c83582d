"""Neighbours of a structure, and which of them covalent radii take for bonded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from halocline.graph.graph import Edges, Graph
from halocline.graph.radius import radius_edges
from halocline.graph.structure import Structure

if TYPE_CHECKING:
    from ase import Atoms

#: Å. Two atoms are bonded up to this beyond the sum of their covalent radii (B. Cordero et al., Dalton Trans. 2832
#: (2008), as ASE has them). O–H then reaches to 1.27 Å: beyond what it stretches to in water at 300 K, and short
#: of the 1.5 Å where hydrogen bonds begin.
SLACK: Final = 0.3

#: Metals whose neighbours are not bonded to them; else a salt would be one molecule with its solvent.
_IONIC: Final = ("Li", "Na", "K", "Rb", "Cs", "Fr", "Mg", "Ca", "Sr", "Ba", "Ra")

_RADII: Final = np.array(covalent_radii)
_RADII[[atomic_numbers[symbol] for symbol in _IONIC]] = 0.0


@final
@dataclass(frozen=True, slots=True)
class Surroundings:
    """The neighbours of each atom of a structure, each pair in both directions, sorted by receiver.

    Attributes:
        structure: of N atoms.
        edges: E of them.
        vectors: (E, 3) Å, from receiver to sender.
        lengths: (E,) Å.
        bonded: (E,) bool, whether the two are bonded, by `SLACK`.
    """

    structure: Structure
    edges: Edges
    vectors: NDArray[np.float64]
    lengths: NDArray[np.float64]
    bonded: NDArray[np.bool_]

    @classmethod
    def of(cls, atoms: Atoms, reach: float = 0.0) -> Surroundings:
        """Find neighbours up to a distance in Å, and all that are bonded.

        Raises:
            StructureError: it has no atoms, coordinates that are not finite, or two atoms on one point.
        """
        structure = Structure.from_atoms(atoms)
        farthest = 2.0 * float(_RADII[structure.numbers].max()) + SLACK
        graph = Graph.build(structure, radius_edges(structure, max(reach, farthest)))
        lengths = np.sqrt(graph.squares)
        radii = _RADII[structure.numbers]
        first, second = radii[graph.edges.receivers], radii[graph.edges.senders]
        # A radius of 0 stands for a metal that binds to none.
        bonded = (lengths < first + second + SLACK) & (first > 0.0) & (second > 0.0)
        return cls(structure, graph.edges, graph.vectors, lengths, bonded)

    def numbers(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> NDArray[np.int64]:
        """(2, chosen) atomic numbers of receivers and senders."""
        edges = self.edges[chosen]
        return self.structure.numbers[np.stack([edges.receivers, edges.senders])]
