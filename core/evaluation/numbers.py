"""The numbers of an evaluated frame, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase import units

from halocline.errors import NotFiniteError
from halocline.structures.write import labelled

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.evaluation.frames import Frame
    from halocline.evaluator.result import Result, Spread

#: What structures are given, by ASE's names; the last two where the model tells them.
_LABELS: Final = ("energy", "energies", "forces", "stress", "magmoms", "charges")
#: Columns of CSV with their units, by the names of `numbers_of`.
COLUMNS: Final = {
    "file": "file",
    "frame": "frame",
    "formula": "formula",
    "atoms": "atoms",
    "energy": "energy_eV",
    "energy_per_atom": "energy_per_atom_eV",
    "max_force": "max_force_eV_per_A",
    "pressure": "pressure_GPa",
}
#: What is told of a committee, likewise.
SPREAD_COLUMNS: Final = {"energy_std": "energy_std_eV", "max_force_std": "max_force_std_eV_per_A"}
#: Of that, what structures are given.
_SPREAD_LABELS: Final = ("energy_std", "energies_std", "forces_std")
#: Entries with a number for each atom.
PER_ATOM: Final = ("energies", "forces", "magmoms", "charges", "energies_std", "forces_std")


def numbers_of(frame: Frame, result: Result) -> dict[str, Any]:
    """All that is told of a frame: its place and composition, energies in eV, forces in eV/Å, stress in eV/Å³.

    The greatest force is that of one atom, the pressure, in GPa, minus the mean normal stress; stress and pressure
    are None unless the structure is periodic in all three directions. Magnetic moments, in μB, and charges, in e,
    are there if the model tells them; the numbers of `spread_of` if it is a committee.

    Raises:
        NotFiniteError: the greatest force or the pressure is too large for a number.
    """
    with np.errstate(over="ignore"):
        force = float(np.linalg.norm(result.forces, axis=1).max())
        pressure = None if result.stress is None else -float(np.trace(result.stress)) / 3.0 / units.GPa
    for quantity, value in (("greatest force", force), ("pressure", pressure)):
        if value is not None and not np.isfinite(value):
            raise NotFiniteError(f"{frame}: The {quantity} is {value}, which is not finite.")
    told = {"magmoms": result.magmoms, "charges": result.charges}
    return {
        "file": frame.file,
        "frame": frame.number,
        "formula": frame.atoms.get_chemical_formula(),
        "atoms": len(frame.atoms),
        "energy": result.energy,
        "energy_per_atom": result.energy / len(frame.atoms),
        "max_force": force,
        "pressure": pressure,
        "energies": result.energies,
        "forces": result.forces,
        "stress": result.stress,
        "outside": [remark.text for remark in result.outside],
        **{name: values for name, values in told.items() if values is not None},
        **({} if result.spread is None else spread_of(result.spread)),
    }


def spread_of(spread: Spread) -> dict[str, Any]:
    """How far the members of a committee are from what is told: roots of mean squares over them.

    Of the energy and of each atom's share of it in eV; of each atom's force, as a vector, and the largest of
    these, in eV/Å.
    """
    return {
        "energy_std": spread.energy,
        "max_force_std": float(spread.forces.max()),
        "energies_std": spread.energies,
        "forces_std": spread.forces,
    }


def with_results(frame: Frame, numbers: Mapping[str, Any]) -> Atoms:
    """The structure of a frame with what was found for it; what it brought of the same has ``REF_`` names."""
    labels = {name: numbers[name] for name in _LABELS if name in numbers}
    return labelled(frame.atoms, labels, {name: numbers[name] for name in _SPREAD_LABELS if name in numbers})
