"""Steps of a whole structure whose edges stay the same: prepared once, and then two calls of compiled code."""

from __future__ import annotations

import ctypes
from typing import Final, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.graph import LatestCut, Structure
from halocline.graph.compiled import Prepared, address, plain, steps
from halocline.graph.graph import SUSPECT
from halocline.graph.structure import same_bits
from halocline.program.inputs import EdgeInputs, ProgramInputs, ProgramOutputs
from halocline.shares import timed

#: Functions of ``steps.cpp``, by the dtype of outputs.
_SUMS: Final = {torch.float32: "sums_float32", torch.float64: "sums_float64"}


class Moved(NamedTuple):
    """A structure with the same edges as before.

    Attributes:
        inputs: of the program; good until the next structure.
        vectors: (E, 3) Å.
        squares: (E,) Å².
        place: where the vectors lie.
    """

    inputs: ProgramInputs
    vectors: NDArray[np.float64]
    squares: NDArray[np.float64]
    place: int


@final
class PreparedStep:
    """What stays from step to step while the same candidates are edges.

    Before the program runs, one pass over the candidates finds out whether that is so, and writes the vectors to
    where the program reads them. After it, one pass over the edges adds up forces and virial.

    Args:
        functions: of ``steps.cpp``.
        structure: whose elements, cell and conditions stay.
        inputs: of the program.
        cut: by which the edges were found.
    """

    def __init__(self, functions: ctypes.CDLL, structure: Structure, inputs: EdgeInputs, cut: LatestCut) -> None:
        self._structure = structure.copy()  # whoever made it may write to it
        self._told = structure.numbers.tobytes(), structure.cell.tobytes(), structure.pbc.tobytes()
        search, kept, cutoff, room = cut
        self._atoms, self._edges = len(structure), len(kept.edges)
        self._dtype = inputs.vectors.dtype
        vectors = torch.empty((self._edges, 3), dtype=self._dtype)
        self._inputs = inputs.moved(vectors)
        self._repeat, self._sums = functions.repeat, getattr(functions, _SUMS[self._dtype])
        given, searched = kept.measure.for_compiled_code(), plain(search.structure.positions, np.float64)
        ends = [plain(each, np.int64) for each in (kept.edges.receivers, kept.edges.senders)]
        where = vectors.data_ptr()
        self._prepared = Prepared(
            atoms=self._atoms,
            candidates=len(kept.inside),
            edges=self._edges,
            searched=address(searched),
            room=room,
            given=given.candidates,
            square_of_cutoff=cutoff**2,
            square_of_suspect=SUSPECT,
            inside=address(kept.inside),
            receivers=address(ends[0]),
            senders=address(ends[1]),
            narrow=where if self._dtype is torch.float32 else None,
            wide=where if self._dtype is torch.float64 else None,
        )
        self._at = ctypes.addressof(self._prepared)
        self._pointed_to = kept, given, searched, ends

    @classmethod
    def of(cls, structure: Structure, inputs: ProgramInputs, cut: LatestCut) -> PreparedStep | None:
        """A step of this structure; None where there is no compiled code for it. Arguments as for the class.

        None as well where its cell is not that of the search: what has brought images nearer takes from the room
        that atoms have to move.
        """
        functions, vectors = steps.functions, inputs.vectors
        if functions is None or not isinstance(inputs, EdgeInputs):
            return None
        if not same_bits(structure.cell, cut.search.structure.cell):
            return None
        return cls(functions, structure, inputs, cut) if vectors.is_cpu and vectors.dtype in _SUMS else None

    @timed("cut")  # and whatever of the list and the layout is left
    def moved(self, structure: Structure) -> Moved | None:
        """A structure with the same edges, to the bit and in order; None where that is not certain."""
        numbers, cell, pbc = self._told
        if structure.numbers.tobytes() != numbers or structure.cell.tobytes() != cell:
            return None
        if structure.pbc.tobytes() != pbc or not structure.same_conditions(self._structure):
            return None
        positions, edges = plain(structure.positions, np.float64), self._edges
        squares_at = 3 * (edges + 1)
        room = np.empty(squares_at + edges + 1)
        start = address(room)
        if not self._repeat(self._at, address(positions), start, start + squares_at * room.itemsize):
            return None
        vectors, squares = room[: 3 * edges].reshape(-1, 3), room[squares_at : squares_at + edges]
        return Moved(self._inputs, vectors, squares, start)

    @timed("sums")
    def sums(
        self, outputs: ProgramOutputs, moved: Moved
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
        """Energies (N,) in eV, forces (N, 3) in eV/Å and virial (3, 3) in eV; None for outputs of another kind."""
        if len(outputs) > 2 or not (self._is_plain(outputs[0]) and self._is_plain(outputs[1])):
            return None
        energies, gradients = outputs
        atoms = self._atoms
        found = np.empty(4 * atoms + 9)
        self._sums(self._at, gradients.data_ptr(), energies.data_ptr(), moved.place, address(found))
        forces, virial = found[: 3 * atoms].reshape(-1, 3), found[3 * atoms : 3 * atoms + 9].reshape(3, 3)
        return found[3 * atoms + 9 :], forces, virial

    def _is_plain(self, tensor: torch.Tensor) -> bool:
        return tensor.dtype is self._dtype and tensor.is_cpu and tensor.is_contiguous()
