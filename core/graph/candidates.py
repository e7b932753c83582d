"""All pairs that can be neighbours of a structure, until an atom has moved too far."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from halocline.graph.edges import Edges
from halocline.graph.nearest import nearest_edges
from halocline.graph.radius import radius_edges
from halocline.graph.rules import Nearest, NeighbourRule, single_rules
from halocline.graph.structure import Structure


def search(rule: NeighbourRule, structure: Structure, skin: float = 0.0) -> tuple[Edges, NDArray[np.int64] | None]:
    """Search a structure.

    Args:
        rule: of the model.
        structure: as it is now.
        skin: Å, by which candidates may be longer than the cutoff. Nearest neighbours without a cutoff are those
            of this very structure.

    Returns:
        Edges, and the opposite of each, (E,) int64; None where the list is not symmetric.

    Raises:
        StructureError: as for `radius_edges`.
    """
    if isinstance(rule, Nearest) and rule.is_plain:
        return nearest_edges(structure, rule.count), None
    rules = single_rules(rule)
    counts = [each.count for each in rules if isinstance(each, Nearest) and each.cutoff == math.inf]
    cutoff = max((each.cutoff for each in rules if each.cutoff < math.inf), default=0.0)
    found = [radius_edges(structure, cutoff + skin)] if cutoff else []
    if counts:
        nearest = nearest_edges(structure, max(counts))
        found += [nearest, nearest.opposite()]
    candidates = found[0] if len(found) == 1 else Edges.joined(found).sorted().different()
    return candidates, candidates.partners()
