"""Which edges of a graph belong to each rule of its model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.graph.rules import Nearest, NeighbourRule, Radius, narrower


@final
@dataclass(frozen=True, slots=True)
class IndexSets:
    """The lists of a model that asks for several, as places in the one list that its graph has.

    Attributes:
        asked: of the model; None where there is nothing but the edges of the graph.
        places: for each rule of `rules`, the edges that it keeps: (E_r,) int64, increasing.
    """

    asked: NeighbourRule | None
    places: tuple[NDArray[np.int64], ...]

    @property
    def rules(self) -> tuple[Radius | Nearest, ...]:
        """The rules, in order, that need not keep every edge of the graph."""
        return () if self.asked is None else narrower(self.asked)

    def mapped(self, function: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> IndexSets:
        """The same rules with places that a function gives for these."""
        return replace(self, places=tuple(map(function, self.places))) if self.places else self

    def among(self, kept: NDArray[np.bool_]) -> IndexSets:
        """The sets of the graph that has only the kept edges, (E,) bool of this one."""
        return self.mapped(lambda places: np.flatnonzero(self.is_in(places, len(kept))[kept]))

    @staticmethod
    def is_in(places: NDArray[np.int64], edges: int) -> NDArray[np.bool_]:
        """Whether each of so many edges is among those places."""
        found = np.zeros(edges, np.bool_)
        found[places] = True
        return found


NO_SETS: Final = IndexSets(None, ())
