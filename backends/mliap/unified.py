"""The object that LAMMPS reads from a file and calls at each step."""

from __future__ import annotations

from typing import Any, Final, Protocol, final

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from halocline.backends.ddp.model import PortableModel
from halocline.backends.mliap.reach import Pairs, Reach, reach
from halocline.backends.torch.executor import TorchExecutor
from halocline.context import in_evaluation_context
from halocline.errors import NotFiniteError, UsageError
from halocline.graph import Graph, Radius, Structure
from halocline.model.backbone import Backbone
from halocline.program import FrozenModel, Precision
from halocline.program.layout import gather_edges, lay_out

#: Atoms are on a rank with or without a cell; edge vectors are given.
_NO_CELL: Final = np.zeros((3, 3)), np.zeros(3, np.bool_)


class Data(Protocol):
    """What of LAMMPS' data object is read and written; see the documentation of ``pair_style mliap``.

    Attributes:
        nlistatoms: how many atoms the rank owns.
        ntotal: with ghosts.
        npairs: P.
        iatoms: atoms that have neighbours listed, owned ones first.
        elems: (ntotal,) int32, places among the element types; below 0 for atoms of none.
        pair_i: (P,) int32.
        pair_j: (P,) int32.
        rij: (P, 3) float64, Å, from i to j.
        energy: eV, of the owned atoms.
        eatoms: (nlistatoms,) eV.
    """

    nlistatoms: int
    ntotal: int
    npairs: int
    iatoms: NDArray[np.int32]
    elems: NDArray[np.int32]
    pair_i: NDArray[np.int32]
    pair_j: NDArray[np.int32]
    rij: NDArray[np.float64]
    energy: float
    eatoms: NDArray[np.float64]

    def update_pair_forces(self, fij: NDArray[np.float64]) -> None:
        """Add (P, 3) eV/Å to forces on i, take them from those on j, and add to the virial."""


@final
class Unified:
    """A model for ``pair_style mliap unified``. LAMMPS reads the attributes below, sets ``interface`` and calls.

    Args:
        model: that takes all neighbours within one cutoff.
        references: chemical symbol → eV.
        precision: of the network.
        compress: let tables take the place of radial functions.
        manifest: as plain JSON, for whoever opens the file.

    Attributes:
        element_types: chemical symbols, in the order of ``elems``.
        rcutfac: Å, half of how far neighbours are to be listed.
    """

    ndescriptors: Final = 1
    nparams: Final = 1

    def __init__(
        self,
        model: Backbone,
        references: dict[str, float],
        precision: Precision,
        *,
        compress: bool,
        manifest: dict[str, Any],
    ) -> None:
        self.element_types = list(model.species)
        assert isinstance(model.neighbours, Radius)
        self._hops, self._cutoff = model.hops, model.neighbours.cutoff
        self.rcutfac = 0.5 * self._hops * self._cutoff
        self.interface: object = None
        self.manifest = manifest
        self._model, self._precision, self._compress = PortableModel.of(model), precision, compress
        self._numbers = np.array([atomic_numbers[symbol] for symbol in model.species])
        self._references = np.array([references[symbol] for symbol in model.species])
        self._session: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """All but what belongs to this process."""
        return self.__dict__ | {"interface": None, "_session": None}

    def compute_descriptors(self, data: Data) -> None:
        """LAMMPS calls this first; there are none."""

    def compute_gradients(self, data: Data) -> None:
        """LAMMPS calls this second; the third call does all."""

    @in_evaluation_context
    def compute_forces(self, data: Data) -> None:
        """Evaluate what the rank owns.

        Raises:
            UsageError: the data are not what the model needs.
            NotFiniteError: an energy is none.
            StructureError: two atoms sit on one point.
        """
        if data.nlistatoms == 0:
            data.energy = 0.0
            return
        elements, pairs, of_owned = _read(data)
        found = reach(pairs, data.nlistatoms, data.ntotal, self._cutoff, self._hops)
        energies, gradients = self._evaluate(found, self._numbers[elements[found.atoms]])
        energies = energies + self._references[elements[: data.nlistatoms]]
        finite = np.isfinite(energies)
        if not finite.all():
            raise NotFiniteError(f"The energy of atom {finite.argmin()} of this rank is not finite.")
        _write_energies(data, energies)
        if data.npairs:
            forces = np.zeros((data.npairs, 3))
            forces[of_owned] = found.of_pairs(gradients, len(of_owned))
            data.update_pair_forces(forces)

    def _evaluate(
        self, found: Reach, numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies of owned atoms in eV, and the derivatives of their sum by edges, (E, 3) eV/Å."""
        if self._session is None:
            executor = TorchExecutor("cpu")
            frozen = FrozenModel.freeze(
                self._model.build(), self._precision, executor.capabilities, "cpu", compress=self._compress
            )
            self._session, self._form = executor.prepare(frozen), frozen.form
        structure = Structure(numbers, np.zeros((len(numbers), 3)), *_NO_CELL)
        graph = Graph.build(structure, found.edges, found.partners, found.atoms, found.vectors)
        outputs = self._session(lay_out(graph, found.part, self._form, self._precision))
        gradients = gather_edges(outputs.gradients, found.part, self._form)
        return outputs.energies.double().numpy(), gradients.double().numpy()


def _read(data: Data) -> tuple[NDArray[np.int64], Pairs, NDArray[np.int64]]:
    """Elements of all atoms, the pairs of owned atoms, and which of LAMMPS' pairs those are."""
    owned = data.nlistatoms
    elements = np.asarray(_on_cpu(data.elems), np.int64)
    if elements.min() < 0:
        raise UsageError("pair_coeff has NULL for a type, whose atoms the model would not see; name an element.")
    listed = np.sort(_on_cpu(data.iatoms)[:owned])
    if getattr(data, "nlocal", owned) != owned or (listed != np.arange(owned)).any():
        raise UsageError("The model needs all atoms, and pair_style hybrid lists only some; use hybrid/overlay.")
    if data.npairs == 0:
        none = np.empty(0, np.int64)
        return elements, Pairs(none, none, np.empty((0, 3))), none
    of_owned = np.flatnonzero(_on_cpu(data.pair_i) < owned)  # ghosts' own, if they are listed, are not needed
    receivers, senders = (np.asarray(each, np.int64)[of_owned] for each in (data.pair_i, data.pair_j))
    return elements, Pairs(receivers, senders, np.asarray(data.rij)[of_owned]), of_owned


def _on_cpu(values: Any) -> NDArray[Any]:
    if not isinstance(values, np.ndarray):
        raise UsageError("The atoms are on a GPU, and the model runs on CPUs: start LAMMPS without -k on g 1.")
    return values


def _write_energies(data: Data, energies: NDArray[np.float64]) -> None:
    """Of the owned atoms, in the order in which LAMMPS lists them."""
    listed = energies[data.iatoms[: data.nlistatoms]]
    data.energy = float(energies.sum())
    try:
        data.eatoms = listed
    except AttributeError:  # with Kokkos it is read and filled
        data.eatoms[:] = listed
