"""A stand-in of the data object that LAMMPS gives to ``pair_style mliap unified``, and of the ranks around it.

Made after LAMMPS' documentation and what its sources do (src/ML-IAP and src/KOKKOS): names, shapes and dtypes of
arrays, what may be read and what written, what happens to energies, forces and virial.
"""

import itertools

import numpy as np


class Data:
    """One rank at one step.

    Args:
        atoms: of ASE, owned by all ranks.
        mine: (N,) which of them this rank owns.
        cutoff: Å, as far as neighbours are listed.
        elements: chemical symbols of LAMMPS' types.
    """

    def __init__(self, atoms, mine, cutoff, elements):
        ids, positions = self._owned_then_ghosts(atoms, mine, cutoff)
        self.ids, self.nlistatoms, self.ntotal = ids, int(mine.sum()), len(ids)
        symbols = np.array(atoms.get_chemical_symbols())
        self._elems = np.array([elements.index(symbols[each]) for each in ids], np.int32)
        apart = positions[None] - positions[: self.nlistatoms, None]
        near = np.einsum("ijk,ijk->ij", apart, apart) < cutoff**2
        near[np.arange(self.nlistatoms), np.arange(self.nlistatoms)] = False
        self._pairs, self._rij = np.argwhere(near).astype(np.int32), apart[near]
        self.npairs = len(self._rij)
        self.forces, self.virial, self.energies = np.zeros((self.ntotal, 3)), np.zeros((3, 3)), None
        self.energy = np.nan

    @staticmethod
    def _owned_then_ghosts(atoms, mine, cutoff):
        """Images of atoms within the cutoff of any owned one, as LAMMPS has them at least."""
        own = atoms.positions[mine]
        ids, positions = [np.flatnonzero(mine)], [own]
        reach = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)).astype(int) + 1
        reach = reach * atoms.pbc
        for image in itertools.product(*(range(-n, n + 1) for n in reach)):
            moved = atoms.positions + image @ atoms.cell.array
            apart = np.linalg.norm(moved[:, None] - own[None], axis=-1).min(axis=1, initial=np.inf)
            new = (apart < cutoff) & (~mine if not any(image) else True)
            ids.append(np.flatnonzero(new))
            positions.append(moved[new])
        return np.concatenate(ids), np.concatenate(positions)

    def _array(self, values):
        """Arrays of nothing are null pointers; others are LAMMPS' own, which nobody else is to change."""
        if not len(values):
            return None
        values.flags.writeable = False
        return values

    @property
    def elems(self):
        return self._array(self._elems)

    @property
    def iatoms(self):
        return self._array(np.arange(self.nlistatoms, dtype=np.int32))

    @property
    def pair_i(self):
        return self._array(self._pairs[:, 0].copy())

    @property
    def pair_j(self):
        return self._array(self._pairs[:, 1].copy())

    @property
    def rij(self):
        return self._array(self._rij)

    def _set_eatoms(self, values):
        self.energies = np.array(memoryview(values)).reshape(self.nlistatoms)

    eatoms = property(None, _set_eatoms)  # may be written, and not read

    def update_pair_forces(self, fij):
        view = memoryview(fij)
        assert (view.format, view.c_contiguous, view.shape) == ("d", True, (self.npairs, 3))
        (i, j), fij = self._pairs.T, np.array(view)
        np.add.at(self.forces, i, fij)
        np.add.at(self.forces, j, -fij)
        self.virial -= self._rij.T @ fij


class KokkosData(Data):
    """As the package KOKKOS has it on CPUs: energies of atoms may be read, and are filled in their place."""

    @property
    def nlocal(self):
        return self.nlistatoms

    @property
    def eatoms(self):
        if self.energies is None:
            self.energies = np.full(self.nlistatoms, np.nan)
        return self.energies


def step(model, atoms, owners, cutoff, kind=Data):
    """One step of all ranks: energies (N,), forces (N, 3) and the virial (3, 3) as LAMMPS adds them up."""
    energies, forces, virial, energy = np.zeros(len(atoms)), np.zeros((len(atoms), 3)), np.zeros((3, 3)), 0.0
    for rank in range(owners.max() + 1):
        data = kind(atoms, owners == rank, cutoff, model.element_types)
        for call in (model.compute_descriptors, model.compute_gradients, model.compute_forces):
            call(data)
        energy += data.energy
        if data.nlistatoms:
            energies[data.ids[: data.nlistatoms]] = data.energies
        np.add.at(forces, data.ids, data.forces)
        virial += data.virial
    return energy, energies, forces, virial
