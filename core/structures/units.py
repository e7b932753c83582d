"""The units that files of labelled structures are written in; within Halocline there are only eV and Å."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, final

from ase import units

from halocline.errors import unknown_name

#: Name of a unit of energy → how many eV it is.
ENERGIES: Final[Mapping[str, float]] = {
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
    "Hartree": units.Hartree,
    "Rydberg": units.Rydberg,
}
#: Name of a unit of length → how many Å it is.
LENGTHS: Final[Mapping[str, float]] = {"Å": 1.0, "Bohr": units.Bohr, "nm": units.nm, "pm": units.nm * 1e-3}

#: Names of all that can be stated.
_ALL: Final = frozenset(("energy", "length", "forces_are"))

#: What a file calls forces: -dE/dx, or the gradients dE/dx.
ForcesAre = Literal["forces", "gradients"]


@final
@dataclass(frozen=True, slots=True)
class Units:
    """In which units a file is written: forces in ``energy`` per ``length``, stress per its cube.

    Attributes:
        energy: one of `ENERGIES`.
        length: one of `LENGTHS`, of positions and cells, too.
        forces_are: whether the file has forces or the gradients of the energy.
        stated: names of those that somebody has stated; all others give way to what a format says.

    Raises:
        UsageError: there is no such unit.
    """

    energy: str = "eV"
    length: str = "Å"
    forces_are: ForcesAre = "forces"
    stated: frozenset[str] = field(default=_ALL, compare=False, repr=False)

    def __post_init__(self) -> None:
        for what, name, known in (("energy", self.energy, ENERGIES), ("length", self.length, LENGTHS)):
            if name not in known:
                raise unknown_name(f"unit of {what}", name, known)

    def over(self, others: Units) -> Units:
        """What was stated, and in all else the units of a format."""
        return replace(others, **{name: getattr(self, name) for name in self.stated})

    @property
    def of_energy(self) -> float:
        """Factor from the file's energies to eV."""
        return ENERGIES[self.energy]

    @property
    def of_length(self) -> float:
        """Factor from the file's lengths to Å."""
        return LENGTHS[self.length]

    @property
    def of_forces(self) -> float:
        """Factor from what the file calls forces to forces in eV/Å."""
        sign = -1.0 if self.forces_are == "gradients" else 1.0
        return sign * self.of_energy / self.of_length

    @property
    def of_stress(self) -> float:
        """Factor from the file's stress to eV/Å³."""
        return self.of_energy / self.of_length**3


def stated_units(energy: str | None, length: str | None, forces_are: ForcesAre | None) -> Units | None:
    """The units that somebody has stated, the rest being those of a format, or ours; None if nothing was said.

    Raises:
        UsageError: there is no such unit.
    """
    given = {"energy": energy, "length": length, "forces_are": forces_are}
    stated = frozenset(name for name, unit in given.items() if unit is not None)
    return Units(energy or "eV", length or "Å", forces_are or "forces", stated) if stated else None


#: Those of ASE, and of every file that says nothing else.
EV_ANGSTROM: Final = Units()
