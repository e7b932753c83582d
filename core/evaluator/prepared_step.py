"""Steps of a whole structure between two searches: prepared once, and then two calls of compiled code."""

from __future__ import annotations

import ctypes
from typing import Final, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.graph import LatestCut, Structure, Surroundings
from halocline.graph.compiled import SAME, UNSURE, Prepared, address, plain, steps
from halocline.graph.graph import SUSPECT
from halocline.graph.structure import same_bits
from halocline.program.inputs import EdgeInputs, ProgramInputs, ProgramOutputs
from halocline.shares import timed

#: Functions of ``steps.cpp``, by the dtype of outputs.
_SUMS: Final = {torch.float32: "sums_float32", torch.float64: "sums_float64"}

#: Numbers of each candidate that ``follow`` has room for.
_COLUMNS: Final = 6


class Moved(NamedTuple):
    """The same structure with atoms elsewhere.

    Attributes:
        inputs: of the program; good until the next structure.
        surroundings: of its edges.
        vectors: (E, 3) Å.
        squares: (E,) Å².
        place: where the vectors lie.
    """

    inputs: ProgramInputs
    surroundings: Surroundings
    vectors: NDArray[np.float64]
    squares: NDArray[np.float64]
    place: int


@final
class PreparedStep:
    """What stays from step to step while the same candidates are, and the edges of the last one.

    Before the program runs, one pass over the candidates finds out which are edges, and writes the vectors to
    where the program reads them; where edges are others, another one prepares them. After it, one pass over the
    edges adds up forces and virial.

    Args:
        functions: of ``steps.cpp``.
        structure: whose elements, cell and conditions stay.
        inputs: of the program.
        cut: by which the edges were found.
        surroundings: of these.
        follows: whether there may be other edges.

    Attributes:
        has_edges_of_cut: whether the edges are those of the cut still.
    """

    def __init__(
        self,
        functions: ctypes.CDLL,
        structure: Structure,
        inputs: EdgeInputs,
        cut: LatestCut,
        surroundings: Surroundings,
        *,
        follows: bool,
    ) -> None:
        self._structure = structure.copy()  # whoever made it may write to it
        self._told = structure.numbers.tobytes(), structure.cell.tobytes(), structure.pbc.tobytes()
        self.has_edges_of_cut, self._surroundings = True, surroundings
        search, kept, cutoff, room = cut
        candidates, dtype = len(kept.inside), inputs.vectors.dtype
        self._vectors = torch.empty((candidates, 3), dtype=dtype)
        self._inputs = inputs.moved(self._vectors[: len(kept.edges)])
        self._follow, self._sums = functions.follow, getattr(functions, _SUMS[dtype])
        given, searched = kept.measure.for_compiled_code(), plain(search.structure.positions, np.float64)
        ends = [plain(each, np.int64) for each in (kept.edges.receivers, kept.edges.senders)]
        partners = None if search.partners is None or not follows else plain(search.partners, np.int64)
        where = self._vectors.data_ptr()
        self._prepared = Prepared(
            atoms=len(structure),
            candidates=candidates,
            rows=0 if inputs.row_starts is None else len(inputs.row_starts),
            searched=address(searched),
            room=room,
            given=given.candidates,
            partners=None if partners is None else address(partners),
            square_of_cutoff=cutoff**2,
            square_of_suspect=SUSPECT,
            narrow=where if dtype is torch.float32 else None,
            wide=where if dtype is torch.float64 else None,
            edges=len(kept.edges),
            inside=address(kept.inside),
            receivers=address(ends[0]),
            senders=address(ends[1]),
        )
        self._at = ctypes.addressof(self._prepared)
        self._pointed_to = given, searched, partners
        self._edges: tuple[object, ...] = kept.inside, *ends  # which it points to as well
        self._spare: tuple[NDArray[np.bool_], NDArray[np.int64]] | None = None
        # False while compiled code knows of edges that this object does not; for good, if that is interrupted.
        self._is_consistent = True

    @classmethod
    def of(
        cls,
        structure: Structure,
        inputs: ProgramInputs,
        cut: LatestCut,
        surroundings: Surroundings,
        *,
        follows: bool,
    ) -> PreparedStep | None:
        """A step of this structure; None where there is no compiled code for it. Arguments as for the class.

        None as well where its cell is not that of the search: what has brought images nearer takes from the room
        that atoms have to move.
        """
        functions, vectors = steps.functions, inputs.vectors
        if functions is None or not isinstance(inputs, EdgeInputs):
            return None
        if not same_bits(structure.cell, cut.search.structure.cell):
            return None
        if not vectors.is_cpu or vectors.dtype not in _SUMS:
            return None
        one_list = inputs.sets.asked is None
        return cls(functions, structure, inputs, cut, surroundings, follows=follows and one_list)

    @timed("cut")  # and whatever of the list and the layout is left
    def moved(self, structure: Structure) -> Moved | None:
        """A structure between the same candidates, to the bit and in order; None where that is not certain."""
        if not self._is_consistent:
            return None
        numbers, cell, pbc = self._told
        if structure.numbers.tobytes() != numbers or structure.cell.tobytes() != cell:
            return None
        if structure.pbc.tobytes() != pbc or not structure.same_conditions(self._structure):
            return None
        prepared = self._prepared
        positions, candidates = plain(structure.positions, np.float64), prepared.candidates
        inside, found = spare = self._spare or (
            np.empty(candidates, np.bool_),
            np.empty(_COLUMNS * candidates + prepared.rows, np.int64),
        )
        squares_at = 3 * (candidates + 1)
        room = np.empty(squares_at + candidates + 1)
        start = address(room)
        places = address(positions), start, start + squares_at * room.itemsize, address(inside), address(found)
        self._is_consistent = False
        edges_are = self._follow(self._at, *places)
        if edges_are == UNSURE:
            return None
        if edges_are == SAME:
            self._spare = spare
        else:
            self._take(inside, found)
        self._is_consistent = True
        edges = prepared.edges
        vectors, squares = room[: 3 * edges].reshape(-1, 3), room[squares_at : squares_at + edges]
        return Moved(self._inputs, self._surroundings, vectors, squares, start)

    def _take(self, inside: NDArray[np.bool_], found: NDArray[np.int64]) -> None:
        """Edges are others now: those that compiled code has found."""
        prepared = self._prepared
        edges, pairs = prepared.edges, prepared.pairs
        columns = found[: _COLUMNS * prepared.candidates].reshape(_COLUMNS, -1)
        receivers, senders = columns[1, :edges], columns[2, :edges]
        assert isinstance(self._inputs, EdgeInputs)
        self._inputs = self._inputs.with_edges(
            self._vectors[:edges],
            senders=torch.from_numpy(senders),
            receivers=torch.from_numpy(receivers),
            pairs=torch.from_numpy(columns[3, :pairs]),
            pair_of=torch.from_numpy(columns[4, :edges]),
            row_starts=torch.from_numpy(found[columns.size :]),
            opposite=torch.from_numpy(columns[5, :edges]),
        )
        self._surroundings = self._surroundings.of_other_edges(receivers, senders)
        self._edges, self._spare, self.has_edges_of_cut = (inside, found), None, False

    @timed("sums")
    def sums(
        self, outputs: ProgramOutputs, moved: Moved
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
        """Energies (N,) in eV, forces (N, 3) in eV/Å and virial (3, 3) in eV; None for outputs of another kind."""
        if len(outputs) > 2 or not (self._is_plain(outputs[0]) and self._is_plain(outputs[1])):
            return None
        energies, gradients = outputs
        atoms = self._prepared.atoms
        found = np.empty(4 * atoms + 9)
        self._sums(self._at, gradients.data_ptr(), energies.data_ptr(), moved.place, address(found))
        forces, virial = found[: 3 * atoms].reshape(-1, 3), found[3 * atoms : 3 * atoms + 9].reshape(3, 3)
        return found[3 * atoms + 9 :], forces, virial

    def _is_plain(self, tensor: torch.Tensor) -> bool:
        return tensor.dtype is self._vectors.dtype and tensor.is_cpu and tensor.is_contiguous()
