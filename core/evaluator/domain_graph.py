"""The graph of a rank's domain where its atoms are now."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Graph, NeighbourRule, Structure, cut_candidates
from halocline.partition import Domain


def domain_graph(
    domain: Domain,
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    rule: NeighbourRule,
) -> Graph:
    """Cut the candidates of a domain to what the rule keeps.

    Args:
        domain: of n atoms.
        positions: (n, 3) Å, of its atoms.
        cell: (3, 3) Å, of the whole structure.
        pbc: (3,), of the whole structure.
        rule: of the model.

    Raises:
        StructureError: two atoms sit on one point.
    """
    structure = Structure(domain.numbers, positions, cell, pbc, domain.conditions)
    return cut_candidates(rule, domain.edges, domain.partners, structure, domain.atoms, domain.decided)
