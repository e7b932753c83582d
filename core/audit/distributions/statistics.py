"""Distributions of distances, bonds, angles and hydrogen bonds over many structures, taken in one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Self, final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from halocline.audit.distributions.histogram import Axis, Histogram
from halocline.audit.geometry.angles import bond_angles
from halocline.audit.geometry.bonds import Surroundings
from halocline.audit.geometry.hydrogen_bonds import REACH, HydrogenBonds, hydrogen_bonds
from halocline.audit.geometry.molecules import molecules_of

if TYPE_CHECKING:
    from ase import Atoms

#: Å, to which distances between atoms are counted, if nobody says otherwise.
DEFAULT_REACH: Final = 6.0
#: Å and degrees, widths of bins: a fifteenth of the spread of bonds to hydrogen at 300 K, and less of all else.
_LENGTH: Final = 0.002
_ANGLE: Final = 0.1
#: Å, beyond which there is no bond between any two elements.
_LONGEST_BOND: Final = 7.0

#: What distances between all atoms are called, bonded or not.
DISTANCE: Final = "distance"


@final
class StructureStatistics:
    """The distributions of structures.

    Args:
        reach: Å, to which distances are counted.

    Attributes:
        reach: Å.
        frames: structures that were taken in.
        histograms: by kind and name, see `Axis`.
        formulas: molecules by their formula, in all structures.
        unlike_molecules: structures that are not made of molecules.
        hydrogen_bonds: how many there are in structures made of molecules.
    """

    def __init__(self, reach: float = DEFAULT_REACH) -> None:
        self.reach = reach
        self.frames = self.unlike_molecules = self.hydrogen_bonds = 0
        self.histograms: dict[tuple[str, str], Histogram] = {}
        self.formulas: Counter[str] = Counter()
        self._open = False
        self._ideal: Counter[str] = Counter()

    @classmethod
    def merged(cls, several: Sequence[Self]) -> Self:
        """What would be known had all structures been taken in by one."""
        whole = cls(several[0].reach)
        for each in several:
            whole.frames += each.frames
            whole.unlike_molecules += each.unlike_molecules
            whole.hydrogen_bonds += each.hydrogen_bonds
            whole.formulas += each.formulas
            whole._open |= each._open
            for name, density in each._ideal.items():
                whole._ideal[name] += density
            for histogram in each.histograms.values():
                whole._histogram(histogram.axis).counts += histogram.counts
        return whole

    def add(self, atoms: Atoms) -> None:
        """Take in a structure.

        Raises:
            StructureError: see `Surroundings.of`.
        """
        surroundings = Surroundings.of(atoms, max(self.reach, REACH))
        self.frames += 1
        self._add_distances(surroundings)
        self._add_bonds(surroundings)
        found = hydrogen_bonds(surroundings)
        self._add_hydrogen_bonds(found)
        molecules = molecules_of(surroundings)
        if molecules is None:
            self.unlike_molecules += 1
        else:
            self.formulas.update(molecules.formulas)
            self.hydrogen_bonds += len(found.donors)

    @property
    def is_periodic(self) -> bool:
        """Whether all structures are periodic in three directions, and so have densities."""
        return not self._open

    @property
    def bonds_per_molecule(self) -> float | None:
        """Hydrogen bonds that a molecule takes part in, on average; None without molecules."""
        molecules = sum(self.formulas.values())
        return 2.0 * self.hydrogen_bonds / molecules if molecules else None

    def radial(self, name: str) -> NDArray[np.float64]:
        """g(r) of a pair of elements, in the bins of its distances: 1 where density is that of the whole cell.

        Densities count the atom itself, as its images are counted. Within half of a small cell, where there are
        none, an ideal gas of N atoms has 1 - 1/N.
        """
        histogram = self.histograms[DISTANCE, name]
        return histogram.counts / (self._ideal[name] * shells(histogram.axis))

    def _add_distances(self, surroundings: Surroundings) -> None:
        bins = max(1, int(self.reach / _LENGTH + 1e-6))  # whole ones: part of a bin would look like a gap
        for name, values in _each_pair(surroundings, surroundings.lengths < bins * _LENGTH):
            self._histogram(Axis(name, DISTANCE, "Å", 0.0, _LENGTH, bins, shown=25)).add(values)
        self._add_densities(surroundings)

    def _add_densities(self, surroundings: Surroundings) -> None:
        volume = surroundings.structure.volume
        if volume is None:
            self._open = True
            return
        elements, counts = np.unique(surroundings.structure.numbers, return_counts=True)
        for place, number in enumerate(elements):
            for other, others in zip(elements[place:], counts[place:], strict=True):
                self._ideal[_named((number, other))] += counts[place] * others / volume

    def _add_bonds(self, surroundings: Surroundings) -> None:
        for name, values in _each_pair(surroundings, surroundings.bonded):
            self._histogram(_length_axis(name, "bond length")).add(values)
        for name, values in _by_kind(*bond_angles(surroundings)):
            self._histogram(_angle_axis(name, "bond angle")).add(values)

    def _add_hydrogen_bonds(self, found: HydrogenBonds) -> None:
        for kinds, values, axis, kind in (
            (found.kinds, found.distances, _length_axis, "hydrogen bond length"),
            (found.kinds, found.spans, _length_axis, "donor to acceptor"),
            (found.kinds, found.angles, _angle_axis, "hydrogen bond angle"),
        ):
            for name, some in _by_kind(kinds, values, "{}–H···{}"):
                self._histogram(axis(name, kind)).add(some)
        ends = np.stack([found.kinds[1, found.places], found.acceptor_kinds])
        for name, some in _by_kind(ends, found.acceptor_angles, "H···{}–{}"):
            self._histogram(_angle_axis(name, "angle at the acceptor")).add(some)

    def _histogram(self, axis: Axis) -> Histogram:
        return self.histograms.setdefault((axis.kind, axis.name), Histogram(axis))


def _each_pair(surroundings: Surroundings, chosen: NDArray[np.bool_]) -> Iterable[tuple[str, NDArray[np.float64]]]:
    """Lengths of edges by elements; pairs of one element are counted from both atoms, all others from one."""
    kinds = surroundings.numbers(chosen)
    once = kinds[0] <= kinds[1]
    return _by_kind(kinds[:, once], surroundings.lengths[chosen][once])


def shells(axis: Axis) -> NDArray[np.float64]:
    """(bins,) Å³, volumes between the spheres where bins begin and end."""
    return np.asarray(4.0 / 3.0 * np.pi * np.diff(axis.edges**3))


def _length_axis(name: str, kind: str) -> Axis:
    return Axis(name, kind, "Å", 0.0, _LENGTH, round(_LONGEST_BOND / _LENGTH), shown=10)


def _angle_axis(name: str, kind: str) -> Axis:
    return Axis(name, kind, "°", 0.0, _ANGLE, round(180.0 / _ANGLE), shown=20)


def _named(kind: Iterable[int], pattern: str = "") -> str:
    symbols = [chemical_symbols[number] for number in kind]
    return pattern.format(*symbols) if pattern else "–".join(symbols)


def _by_kind(
    kinds: NDArray[np.int64], values: NDArray[np.float64], pattern: str = ""
) -> Iterable[tuple[str, NDArray[np.float64]]]:
    """The values of each kind, of which there is at least one; kinds are columns of atomic numbers."""
    codes = np.ravel_multi_index(tuple(kinds), (len(chemical_symbols),) * len(kinds))
    for code in np.unique(codes):
        kind = np.unravel_index(code, (len(chemical_symbols),) * len(kinds))
        yield _named(kind, pattern), values[codes == code]
