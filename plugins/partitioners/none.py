"""No partition: one part owns everything."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.graph import Graph
from halocline.partition.division import Partitioner


@final
class WholePartitioner(Partitioner):
    """Gives all atoms to part 0, however many parts there are."""

    def owners(self, graph: Graph, parts: int) -> NDArray[np.int64]:
        """See `Partitioner.owners`."""
        del parts
        return np.zeros(len(graph.structure), np.int64)
