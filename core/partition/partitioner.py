"""The partitioner interface."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Graph


class Partitioner(ABC):
    """Says which part owns which atom, and nothing else.

    Halos, trimming and communication follow from the owners and the model's hops in one place, for all
    partitioners alike.
    """

    @abstractmethod
    def owners(self, graph: Graph, parts: int) -> NDArray[np.int64]:
        """Assign each atom to a part.

        Args:
            graph: the structure with its edges; balancing edges balances the work.
            parts: how many parts there are; some may stay empty.

        Returns:
            (N,) int64, between 0 and ``parts - 1``.
        """
