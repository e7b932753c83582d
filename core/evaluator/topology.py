"""A step of a whole structure on one device: positions and cell in; energies, forces, virial and contacts out.

The reference for all of it is the way by NumPy: `cut_at`, `lay_out`, `Tally`, `Contacts`. It serves executors that
want tables or fixed sizes, structures in parts and ranks. Here nothing of the size of the edges is brought to the
device or back, nothing is sorted, and vectors are formed once. On the CPU the numbers are the same to the bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.errors import StructureError
from halocline.evaluator.device_search import DevicePairs
from halocline.evaluator.runner import Contribution
from halocline.graph import Contacts, Structure
from halocline.graph.contacts import NO_ATOM
from halocline.graph.graph import COINCIDENT
from halocline.program import EdgeInputs, Precision, ProgramOutputs
from halocline.program.geometry import edge_vectors, forces_from_gradients, virial_from_gradients
from halocline.program.layout import condition_tensors
from halocline.shares import timed


@final
class Geometry(NamedTuple):
    """Where the atoms are, and the E candidates that are edges there; all of it on the device.

    Attributes:
        inputs: of the program.
        vectors: (E, 3) float64, Å.
        squares: (E,) float64, Å², of their lengths.
        codes: (E,) int64, which two elements they connect.
        before: (C + 1,) int64, how many edges there are among the first so many candidates.
    """

    inputs: EdgeInputs
    vectors: Tensor
    squares: Tensor
    codes: Tensor
    before: Tensor


@final
@dataclass(frozen=True, slots=True)
class Topology:
    """What of a whole structure stays between two searches for neighbours, on the device where its program runs.

    Attributes:
        searched: the structure of N atoms as it was when its C candidates were found.
        told: the same atoms with what the model is told of them.
        cutoff: Å, at which candidates are cut.
        precision: of the program.
        species: (N,) int64, atomic numbers.
        conditions: name → (N,); see `ProgramInputs`.
        seeds: (N,) ones in the precision.
        hops: H of the program.
        receivers: (C,) int64.
        senders: (C,) int64.
        shifts: (C, p) float64, by which of the p periodic vectors of the cell.
        partners: (C,) int64, the opposite of each candidate.
        rows: (N + 1,) int64, where the candidates of each receiver begin, and where the last ones end.
        elements: (K,) int64 on the CPU, atomic numbers, ascending.
        kinds: (N,) int64, which of them each atom is.
        codes: (C,) int64, K times the receiver's element and the sender's.
    """

    searched: Structure
    told: Structure
    cutoff: float
    precision: Precision
    species: Tensor
    conditions: dict[str, Tensor]
    seeds: Tensor
    hops: int
    receivers: Tensor
    senders: Tensor
    shifts: Tensor
    partners: Tensor
    rows: Tensor
    elements: NDArray[np.int64]
    kinds: Tensor
    codes: Tensor

    @classmethod
    @timed("layout")
    def of(
        cls, searched: Structure, pairs: DevicePairs, cutoff: float, hops: int, precision: Precision
    ) -> Topology:
        """Lay out what a search has found, on the device where it was made.

        Args:
            searched: the structure, with what the model is told of it.
            pairs: all within the cutoff and a skin.
            cutoff: Å.
            hops: of the program.
            precision: likewise.
        """
        device = pairs.receivers.device
        elements, kinds = np.unique(searched.numbers, return_inverse=True)
        kind = torch.from_numpy(kinds).to(device)
        return cls(
            searched=searched,
            told=searched,
            cutoff=cutoff,
            precision=precision,
            species=torch.from_numpy(searched.numbers).to(device),
            conditions=condition_tensors(searched, precision, str(device)),
            seeds=torch.ones(len(searched), dtype=precision.torch, device=device),
            hops=hops,
            receivers=pairs.receivers,
            senders=pairs.senders,
            shifts=pairs.shifts,
            partners=pairs.partners,
            rows=torch.searchsorted(pairs.receivers, torch.arange(len(searched) + 1, device=device)),
            elements=elements,
            kinds=kind,
            codes=kind.index_select(0, pairs.receivers) * len(elements) + kind.index_select(0, pairs.senders),
        )

    def telling(self, structure: Structure) -> Topology:
        """The same between atoms of which the model is told something else."""
        conditions = condition_tensors(structure, self.precision, str(self.species.device))
        return replace(self, told=structure, conditions=conditions)

    @timed("cut")
    def geometry(self, structure: Structure) -> Geometry:
        """Form the vectors of all candidates, and keep those that are nearer than the cutoff.

        Args:
            structure: covered by the search.
        """
        # One transfer for everything that has moved. Rows of open directions may hold anything.
        lattice = structure.cell[structure.pbc]
        given = torch.from_numpy(np.concatenate((structure.positions, lattice))).to(self.species.device)
        positions, periodic = given[: len(structure)], given[len(structure) :]
        senders, receivers = positions.index_select(0, self.senders), positions.index_select(0, self.receivers)
        vectors = edge_vectors(senders, receivers, self.shifts, periodic)
        x, y, z = vectors.unbind(1)
        squares = x * x + z * z + y * y  # in the order of `squared_lengths`
        inside = squares < self.cutoff**2
        before = torch.nn.functional.pad(inside.cumsum(0), (1, 0))
        places = inside.nonzero().squeeze(1)  # a GPU is waited for here, and for the results
        vectors = vectors.index_select(0, places)
        return Geometry(
            inputs=self._inputs(places, before, vectors),
            vectors=vectors,
            squares=squares.index_select(0, places),
            codes=self.codes.index_select(0, places),
            before=before,
        )

    def _inputs(self, places: Tensor, before: Tensor, vectors: Tensor) -> EdgeInputs:
        """What `lay_out` makes of the same edges.

        Args:
            places: (E,) int64, of the edges among the candidates.
            before: see `Geometry`.
            vectors: (E, 3) float64, Å.
        """
        atoms, edges = self.species.shape[0], places.shape[0]
        here = torch.arange(edges, device=places.device)
        # Opposite candidates are equally long to the bit, so both are edges or none is.
        opposite = before.index_select(0, self.partners.index_select(0, places))
        opens = opposite > here
        pair_of = (opens.cumsum(0) - 1).index_select(0, torch.minimum(here, opposite))
        # The second edge of each pair is written behind the end, and cut off.
        targets = torch.where(opens, pair_of, edges // 2)
        pairs = here.new_empty(edges // 2 + 1).scatter_(0, targets, here)[: edges // 2]
        return EdgeInputs(
            species=self.species,
            conditions=self.conditions,
            vectors=vectors.to(self.precision.torch),
            seeds=self.seeds,
            levels=(atoms,) * (self.hops + 1),
            mask=None,
            senders=self.senders.index_select(0, places),
            receivers=self.receivers.index_select(0, places),
            edge_levels=(edges,) * self.hops,
            pairs=pairs,
            pair_of=pair_of,
            pair_levels=(edges // 2,) * self.hops,
            row_starts=before.index_select(0, self.rows[: atoms if self.hops else 0]),
            opposite=opposite,
        )

    def contribution(
        self, geometry: Geometry, outputs: ProgramOutputs, others: dict[str, NDArray[np.float64]]
    ) -> Contribution:
        """What the outputs of the program mean.

        Args:
            geometry: on which it ran.
            outputs: what it returned.
            others: those beside energies and gradients, by name.

        Raises:
            StructureError: two atoms sit on one point.
        """
        atoms, size = len(self.searched), len(self.elements)
        sums, nearest = self._sums(geometry, outputs), self._nearest(geometry)
        # One transfer for everything that comes back; whole numbers up to 2^53 are exact.
        found = torch.cat([each.reshape(-1).double() for each in (*sums, *nearest)]).cpu().numpy()
        lengths = (atoms, 3 * atoms, 9, size**2, size**2, size**2, size, size)
        energies, forces, virial, squares, *whole = np.split(found, np.cumsum(lengths)[:-1])
        ends = np.stack(whole[:2], 1).astype(np.int64)
        _refuse_coincident(squares, ends)
        contacts = Contacts(
            elements=self.elements,
            shortest=np.sqrt(squares).reshape(size, size),
            pairs=ends.reshape(size, size, 2),
            fewest=whole[2].astype(np.int64),
            most=whole[3].astype(np.int64),
        )
        return Contribution(energies, forces.reshape(-1, 3), virial.reshape(3, 3), contacts, others)

    @timed("sums")
    def _sums(self, geometry: Geometry, outputs: ProgramOutputs) -> tuple[Tensor, Tensor, Tensor]:
        """Energies, forces and virial."""
        inputs, pulls = geometry.inputs, outputs.gradients.double()
        forces = forces_from_gradients(pulls, inputs.receivers, inputs.senders, self.species.shape[0])
        return outputs.energies, forces, virial_from_gradients(pulls, geometry.vectors)

    @timed("result")
    def _nearest(self, geometry: Geometry) -> tuple[Tensor, ...]:
        """By two elements the nearest atoms, squared and by their numbers; by one, fewest and most neighbours."""
        size, inputs, codes, squares = len(self.elements), geometry.inputs, geometry.codes, geometry.squares
        nearest = squares.new_full((size**2,), math.inf).scatter_reduce_(0, codes, squares, "amin")
        edges = squares.shape[0]
        order = torch.arange(edges, device=codes.device)
        candidates = torch.where(squares == nearest.index_select(0, codes), order, edges)
        first = codes.new_full((size**2,), edges).scatter_reduce_(0, codes, candidates, "amin")
        # Of elements that are no neighbours there is no first edge: its ends are -1, read behind the last one.
        receivers, senders = (
            torch.nn.functional.pad(each, (0, 1), value=-1).index_select(0, first)
            for each in (inputs.receivers, inputs.senders)
        )
        counts = geometry.before.index_select(0, self.rows).diff()
        fewest, most = (
            counts.new_full((size,), start).scatter_reduce_(0, self.kinds, counts, how)
            for start, how in zip(NO_ATOM, ("amin", "amax"), strict=True)
        )
        return nearest, torch.minimum(receivers, senders), torch.maximum(receivers, senders), fewest, most


def _refuse_coincident(squares: NDArray[np.float64], ends: NDArray[np.int64]) -> None:
    """Refuse a structure in which two atoms sit on one point.

    Args:
        squares: (K²,) Å², of the shortest distance by two elements.
        ends: (K², 2), the atoms between which it is.
    """
    shortest = int(squares.argmin())
    if math.sqrt(squares[shortest]) < COINCIDENT:
        lower, higher = ends[shortest]
        raise StructureError(f"Atoms {lower} and {higher} sit on one point; remove or move one of them.")
