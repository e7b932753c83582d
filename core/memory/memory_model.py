"""How much memory an evaluation takes, and how many parts keep it within a bound.

Three things take memory. The process itself does: the interpreter, PyTorch, a model. So do the structure and its
neighbours, in proportion to candidate edges, edges and atoms; most while the list is searched. And so does the
network, in proportion to the edges and atoms of the part that is evaluated, counted once for each layer that works
on them. The network's share is measured: small chains are evaluated and the bytes of all tensors followed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Final, Self, final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from halocline.aggregation import Form
from halocline.context import in_evaluation_context
from halocline.errors import UsageError
from halocline.graph import Graph, NeighbourRule
from halocline.graph.rules import is_ranked, reach
from halocline.memory.live_bytes import peak_bytes
from halocline.model.backbone import Backbone
from halocline.model.chain import chain
from halocline.partition.division import Partitioner
from halocline.partition.geometry import expected_levels
from halocline.partition.part import Cutter, Part, cut_part
from halocline.partition.size import format_size
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.layout import lay_out

#: Bytes of a process that has loaded PyTorch, kernels and a model, and evaluated a few atoms.
PROCESS: Final = 430 * 1024**2

#: Bytes for each candidate edge: at the peak of the search, and kept (three indices, three shifts).
SEARCH, CANDIDATE = 200, 48

#: Bytes for each edge of the graph: three indices, three shifts, a vector, and its place in the part at hand.
EDGE: Final = 80

#: Bytes for each atom: what came in, its copy, results, and what finds the edges of an atom.
ATOM: Final = 400

#: Bytes for each edge of a part besides the network's: indices, vectors, gradients and their copies.
PART_EDGE: Final = 200

#: The two numbers of a model predict tracked bytes within a tenth; allocators keep some more than is asked for.
MARGIN: Final = 1.2

#: Parts are raised by at most this factor at a time, as some numbers of parts only happen to divide badly.
LARGEST_RAISE: Final = 1.1

#: Chains to measure on: atoms, spacing in cutoffs (few or many neighbours), and how many of the atoms are owned.
CHAINS: Final = ((40, 0.7, 40), (80, 0.45, 80), (60, 0.45, 3), (60, 0.7, 20))


@final
@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Bytes that a network takes on a part: ``per_edge`` · edges + ``per_atom`` · atoms.

    Edges are counted for each layer that works on them, and atoms for each hop level that holds them.

    Attributes:
        per_edge: bytes.
        per_atom: bytes.
        form: layout of edges; in tables each slot counts as an edge.
    """

    per_edge: float
    per_atom: float
    form: Form

    @classmethod
    @in_evaluation_context
    def measure(cls, backbone: Backbone, precision: Precision, form: Form, *, compress: bool = False) -> Self:
        """Evaluate small chains by the eager definition and follow the bytes of all tensors.

        Args:
            backbone: the model.
            precision: that it is evaluated in.
            form: layout of edges.
            compress: measure with tables in the place of radial functions. Of flat edges these work on a piece at
                a time, so that large parts take somewhat less than is predicted.

        Raises:
            BackboneError: the backbone cannot work in this form.
            KernelError: it cannot be compressed.
        """
        capabilities = Capabilities.reference(form, kernels=compress)
        frozen = FrozenModel.freeze(backbone, precision, capabilities, compress=compress)
        counts, peaks = [], []
        for atoms, spacing, owned in CHAINS:
            graph = chain(backbone, atoms, seed=0, spacing=spacing)
            part = cut_part(np.arange(atoms) < owned, graph.edges, backbone.hops)
            inputs = lay_out(graph, part, form, precision)
            counts.append(_counts(part, form))
            peaks.append(peak_bytes(partial(energies_and_gradients, frozen.backbone, inputs)))
        relative = np.array(counts) / np.array(peaks)[:, None]
        (per_edge, per_atom), _ = nnls(relative, np.ones(len(peaks)))
        return cls(float(per_edge), float(per_atom), form)

    def network(self, part: Part) -> float:
        """Bytes of the network's tensors on a part, at their peak."""
        edges, atoms = _counts(part, self.form)
        return self.per_edge * edges + self.per_atom * atoms

    def wholes(self, atoms: NDArray[np.int64], edges: NDArray[np.int64], hops: int) -> NDArray[np.float64]:
        """Bytes (S,) that the network takes on each of several whole structures, with a margin.

        Args:
            atoms: (S,), of each structure.
            edges: (S,), likewise.
            hops: receptive field of the model.
        """
        network = self.per_edge * hops * edges + self.per_atom * (hops + 1) * atoms
        return np.asarray(MARGIN * (network + PART_EDGE * edges))

    def room(self, graph: Graph, candidates: int, bound: int) -> int:
        """Bytes that a bound leaves for the network beside the structure and its neighbours; below 0 if none.

        Args:
            graph: of one structure, or of several.
            candidates: edges of the neighbour lists that it was cut from.
            bound: bytes, of the whole process.
        """
        return bound - max(_resident(graph, candidates))

    def parts(
        self,
        graph: Graph,
        candidates: int,
        hops: int,
        partitioner: Partitioner,
        bound: int,
        divided: Graph | None = None,
    ) -> int:
        """The number of parts that keeps an evaluation in turn within so many bytes.

        It is estimated from the geometry of halos, and raised until all parts, really cut, fit.

        Args:
            graph: of the whole structure, or of what a rank holds of it.
            candidates: edges of the neighbour list that the graph was cut from, or as many as are expected.
            hops: receptive field of the model.
            partitioner: which would divide it.
            bound: bytes, of the whole process.
            divided: graph of those of the first atoms that are divided; all by default.

        Raises:
            UsageError: the structure and its neighbours, or the smallest of parts, exceed the bound.
        """
        divided = graph if divided is None else divided
        owned = len(divided.structure)
        room = bound - self._resident(graph, candidates, bound)
        self._require_room(graph, hops, owned, room, bound)
        parts = self._estimated_parts(graph, hops, owned, room)
        while parts < owned:
            largest = self._largest(graph, partitioner.owners(divided, parts), hops)
            if largest <= room:
                break
            parts = max(parts + 1, int(parts * min(largest / room, LARGEST_RAISE)))
        return min(parts, owned)

    def _resident(self, graph: Graph, candidates: int, bound: int) -> int:
        """Bytes that are taken whatever the parts.

        Raises:
            UsageError: more than the bound.
        """
        kept, searching = _resident(graph, candidates)
        needed = max(kept, searching)
        if needed > bound:
            raise UsageError(
                f"The process and the neighbour list of {len(graph.structure)} atoms alone need "
                f"{format_size(needed)}, more than the {format_size(bound)} allowed; allow more."
            )
        return kept

    def _require_room(self, graph: Graph, hops: int, owned: int, room: float, bound: int) -> None:
        """Refuse if not even a part of one atom fits: the one with most neighbours."""
        atoms = len(graph.structure)
        crowded = np.argmax(np.bincount(graph.edges.receivers, minlength=atoms)[:owned], keepdims=True)
        needed = self._taken(Cutter(graph.edges, atoms).cut(crowded, hops))
        if needed > room:
            raise UsageError(
                f"A part of a single atom needs {format_size(needed)} besides the neighbour list, more than "
                f"{format_size(bound)} leave; allow more."
            )

    def _estimated_parts(self, graph: Graph, hops: int, owned: int, room: float) -> int:
        """The smallest number of parts that should fit."""
        few, many = 0, owned  # the latter fits, the former does not
        while many - few > 1:
            middle = (few + many) // 2
            edges, atoms = expected_levels(graph, hops, middle, owned)
            widest = edges[-1] if edges else 0.0
            needed = self._with_margin(self.per_edge * sum(edges) + self.per_atom * sum(atoms), widest)
            few, many = (few, middle) if needed <= room else (middle, many)
        return many

    def _largest(self, graph: Graph, owners: NDArray[np.int64], hops: int) -> float:
        """Bytes that the largest part takes."""
        cutter = Cutter(graph.edges, len(graph.structure))
        order = np.argsort(owners, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(owners[order])) + 1)
        return max(self._taken(cutter.cut(owned, hops)) for owned in groups)

    def _taken(self, part: Part) -> float:
        return self._with_margin(self.network(part), len(part.edges))

    @staticmethod
    def _with_margin(network: float, edges: float) -> float:
        return MARGIN * (network + PART_EDGE * edges)


def expected_candidates(graph: Graph, rule: NeighbourRule, skin: float) -> int:
    """How many candidates a graph was probably cut from, were the density uniform.

    Args:
        graph: of one structure, or of several.
        rule: of the neighbours.
        skin: of the list, Å.
    """
    edges, farthest = len(graph.edges), reach(rule)
    if farthest == math.inf or not edges:
        return edges
    # Ranked edges need not fill the cutoff. In a uniform ball of radius R, squares are 3/5 R² on average.
    ball = math.sqrt(float(graph.squares.mean()) * 5.0 / 3.0) if is_ranked(rule) else farthest
    return round(edges * max(1.0, (farthest + skin) / ball) ** 3)


def _resident(graph: Graph, candidates: int) -> tuple[int, int]:
    """Bytes that stay taken whatever is evaluated, and those while neighbours are searched."""
    fixed = PROCESS + ATOM * len(graph.structure)
    return fixed + CANDIDATE * candidates + EDGE * len(graph.edges), fixed + SEARCH * candidates


def _counts(part: Part, form: Form) -> tuple[int, int]:
    """Edges over all layers, and atoms over all hop levels."""
    if form is Form.EDGES:
        return sum(part.edge_levels), sum(part.levels)
    width = int(np.bincount(part.receivers).max(initial=0)) + 1
    return width * sum(part.levels[:-1]), sum(part.levels)
