"""Whether labels are in the units they are taken for, as far as their magnitude tells."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, final

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii
from numpy.typing import NDArray

from halocline.data.frames import Frames
from halocline.data.labels import Labels
from halocline.graph import Contacts
from halocline.structures.units import ENERGIES, LENGTHS

#: eV/Å; the root mean square of force components of atoms in motion lies between. In eleven labelled
#: sets of molecules, metals, silicon and water it is 0.26 to 2.2; the same in kcal/mol/Å is 23 times as much, in
#: Hartree/Bohr a 51st part.
FORCES: Final = (0.03, 8.0)
#: eV/Å for each atom of a frame: forces that add up to more belong to a field, to fixed atoms, or are wrong.
NET_FORCE: Final = 0.01
#: The energy of all electrons of an atom is about this times Z^(7/3) in Hartree (L. H. Thomas, E. Fermi), and
#: in truth the part of it that is given here, from carbon to uranium.
_THOMAS_FERMI, _PART_OF_IT = 0.7687, (0.7, 0.97)
#: The shortest distance of two atoms in this many sums of their covalent radii, but for noble gases.
_NEAREST: Final = (0.4, 1.45)
_NOBLE: Final = frozenset((2, 10, 18, 36, 54, 86))
#: Å; the energy between two frames that differ by less follows from their mean forces.
_SMALL_STEP: Final = 0.25
#: How many pairs of frames, and which correlation, let a factor between energies and forces be told to this part.
_PAIRS, _CORRELATION, _TOLERANCE = 5, 0.9, 0.15
_HARTREE_PER_BOHR: Final = units.Hartree / units.Bohr
#: Frames of a file that are looked at before it is trained on.
_LOOKED_AT: Final = 1000

_LOG = logging.getLogger(__name__)


@final
class Magnitudes:
    """Gathers what tells about units, frame by frame; nothing of a frame is kept but the last one.

    Attributes:
        forces: RMS of all force components, eV/Å; None without forces.
        largest_force: of a single atom, eV/Å.
        net_force: the largest |ΣF|/N of any frame, eV/Å.
        unbalanced: how many frames have more than `NET_FORCE`.
    """

    def __init__(self) -> None:
        self.largest_force = self.net_force = 0.0
        self.unbalanced = 0
        self._squares, self._components = 0.0, 0
        self._energy, self._electrons = 0.0, 0.0
        self._last: tuple[Atoms, Labels] | None = None
        self._products = np.zeros(3)  # Σ work², Σ work ΔE, Σ ΔE² between frames that are near each other
        self._pairs = 0

    @property
    def forces(self) -> float | None:
        """RMS of all force components, eV/Å; None without forces."""
        return float(np.sqrt(self._squares / self._components)) if self._components else None

    def add(self, atoms: Atoms, labels: Labels) -> None:
        """Take in a frame."""
        if labels.forces is not None:
            self._squares += float((labels.forces**2).sum())
            self._components += labels.forces.size
            self.largest_force = max(self.largest_force, float(np.linalg.norm(labels.forces, axis=1).max()))
            net = float(np.linalg.norm(labels.forces.sum(0))) / len(atoms)
            self.net_force = max(self.net_force, net)
            self.unbalanced += net > NET_FORCE
        if labels.energy is not None and (atoms.numbers > 1).any():
            self._energy += labels.energy
            self._electrons += float((_THOMAS_FERMI * atoms.numbers ** (7.0 / 3.0)).sum())
        if self._last is not None:
            self._compare(*self._last, atoms, labels)
        self._last = atoms, labels

    def remarks(self, contacts: Contacts | None = None, reach: float = 0.0) -> Iterator[str]:
        """Sentences about what seems to be in other units. Nothing of it is corrected.

        Args:
            contacts: how near atoms come in frames of several, if somebody has measured it.
            reach: Å, as far as was measured.
        """
        yield from self._of_forces()
        yield from self._of_energies()
        yield from self._of_work()
        if contacts is not None:
            yield from _of_lengths(contacts, reach)

    def _of_forces(self) -> Iterator[str]:
        rms, (least, most) = self.forces, FORCES
        if rms is None or rms == 0.0 or least <= rms <= most:
            return
        if rms > most:
            others = {"kcal/mol/Å": ENERGIES["kcal/mol"], "kJ/mol/Å": ENERGIES["kJ/mol"], "meV/Å": 1e-3}
            usual = [f"{rms * factor:.3g} if they are in {name}" for name, factor in others.items()]
            yield (
                f"Forces are large for eV/Å: their RMS is {rms:.3g}; it would be {', '.join(usual)}. State the "
                "unit of the file if it is another."
            )
        else:
            yield (
                f"Forces are small for atoms in motion: their RMS is {rms:.3g} eV/Å. Either these are minima, or "
                f"they are in Hartree/Bohr, and the RMS is {rms * _HARTREE_PER_BOHR:.3g} eV/Å; state the unit of "
                "the file then."
            )

    def _of_energies(self) -> Iterator[str]:
        if self._energy >= 0.0:
            return
        least, most = _PART_OF_IT
        for name in ("Hartree", "Rydberg", "kcal/mol", "kJ/mol"):
            part = -self._energy * ENERGIES[name] / units.Hartree / self._electrons
            if least <= part <= most:
                yield (
                    f"Energies have the size of total energies of all electrons in {name}, and not in eV; state "
                    "the unit of the file if they are."
                )

    def _of_work(self) -> Iterator[str]:
        squares, product, energies = self._products
        if self._pairs < _PAIRS or not squares or not energies:
            return
        correlation, slope = product / np.sqrt(squares * energies), product / squares
        if abs(correlation) < _CORRELATION or abs(slope - 1.0) < _TOLERANCE:
            return
        if slope < 0.0:
            yield (
                "Energies rise along what is called forces, from frame to frame: these are gradients. State that "
                "forces_are gradients."
            )
        if abs(abs(slope) - 1.0) >= _TOLERANCE:
            near = [name for name, factor in _factors().items() if abs(abs(slope) / factor - 1.0) < _TOLERANCE]
            guess = f", as with {near[0]}" if near else ""
            yield (
                f"Between frames that are near each other energies change {abs(slope):.3g} times as much as the "
                f"work of the forces says{guess}: energies and forces are in units that do not belong together."
            )

    def _compare(self, before: Atoms, old: Labels, atoms: Atoms, new: Labels) -> None:
        """Compare the energy between two frames with the work of their mean forces, if they are near."""
        if old.energy is None or new.energy is None or old.forces is None or new.forces is None:
            return
        same = len(before) == len(atoms) and (before.numbers == atoms.numbers).all()
        if not same or (before.cell.array != atoms.cell.array).any():
            return
        step = _nearest(atoms.positions - before.positions, atoms)
        if not 0.0 < np.abs(step).max() < _SMALL_STEP:
            return
        work = -float((0.5 * (old.forces + new.forces) * step).sum())
        gain = new.energy - old.energy
        self._products += np.array([work * work, work * gain, gain * gain])
        self._pairs += 1


def warn_of_magnitudes(frames: Frames, labels: Sequence[Labels]) -> None:
    """Say of each file what its first frames tell about units and net forces.

    Args:
        frames: of all files.
        labels: of the frames.
    """
    first = 0
    for part in frames.parts:
        magnitudes, count = Magnitudes(), min(len(part), _LOOKED_AT)
        for place in range(count):
            if len(part[place].atoms):
                magnitudes.add(part[place].atoms, labels[first + place])
        for remark in magnitudes.remarks():
            _LOG.warning("%s: %s", part[0].file, remark)
        if magnitudes.unbalanced:
            _LOG.warning(
                "%s: the forces of %d of its first %d frames do not add up to zero, but to as much as %.2g eV/Å "
                "for each atom, as beside fixed atoms or in a field; no model of energies can give such forces.",
                *(part[0].file, magnitudes.unbalanced, count, magnitudes.net_force),
            )
        first += len(part)


def _nearest(vectors: NDArray[np.float64], atoms: Atoms) -> NDArray[np.float64]:
    """Vectors to the nearest image, for steps that are short beside the cell."""
    if not atoms.pbc.any():
        return vectors
    cell = atoms.cell.complete()
    scaled = cell.scaled_positions(vectors)
    scaled -= np.where(atoms.pbc, np.round(scaled), 0.0)
    shortest: NDArray[np.float64] = scaled @ cell.array
    return shortest


def _factors() -> Mapping[str, float]:
    """How many times as large a change of energy is as the work, if units do not belong together."""
    found = {"energies in eV and forces in Hartree/Bohr": _HARTREE_PER_BOHR}
    found["forces per Bohr and positions in Å"] = 1.0 / LENGTHS["Bohr"]
    for name in ("kcal/mol", "kJ/mol", "Hartree", "Rydberg", "meV"):
        found[f"energies in {name} and forces in eV/Å"] = 1.0 / ENERGIES[name]
        found[f"energies in eV and forces in {name}/Å"] = ENERGIES[name]
    return found


def _of_lengths(contacts: Contacts, reach: float) -> Iterator[str]:
    usual = [z for z in contacts.elements.tolist() if z not in _NOBLE]
    at = np.searchsorted(contacts.elements, usual)
    if not len(at):
        return
    radii = covalent_radii[usual]
    parts = contacts.shortest[np.ix_(at, at)] / (radii[:, None] + radii)
    nearest, (least, most) = float(parts.min()), _NEAREST
    if nearest < least:
        yield (
            f"Atoms come as near as {nearest:.2g} of the sum of their covalent radii; are positions in nm, or not "
            "Cartesian?"
        )
    elif nearest > most:
        far = f"{nearest:.3g} times the sum of their covalent radii" if nearest < np.inf else f"{reach:g} Å"
        yield f"No atoms are nearer than {far}; are positions in Bohr?"
