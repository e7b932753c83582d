"""The numbers of an evaluated frame, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from halocline.errors import NotFiniteError

if TYPE_CHECKING:
    from halocline.evaluation.frames import Frame
    from halocline.evaluator.result import Result

#: Entries with a number for each atom.
PER_ATOM = ("energies", "forces", "magmoms", "charges")


def numbers_of(frame: Frame, result: Result) -> dict[str, Any]:
    """All that is told of a frame: its place and composition, energies in eV, forces in eV/Å, stress in eV/Å³.

    The greatest force is that of one atom, the pressure, in GPa, minus the mean normal stress; stress and pressure
    are None unless the structure is periodic in all three directions. Magnetic moments, in μB, and charges, in e,
    are there if the model tells them.

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
    }
