"""What a structure states and its model does not take: said, so that nobody believes it was used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

#: Entries of ``atoms.info`` that name an electronic state or a field, and the value that says nothing.
STATES: Mapping[str, float] = {
    "charge": 0,
    "total_charge": 0,
    "net_charge": 0,
    "spin": 0,
    "total_spin": 0,
    "multiplicity": 1,
    "spin_multiplicity": 1,
    "electric_field": 0,
    "external_field": 0,
    "magnetic_field": 0,
}
#: Columns of the same meaning, atom by atom.
STATE_COLUMNS = ("initial_charges", "initial_magmoms")

#: Columns that look like velocities or masses, in units that nobody states; used are ``momenta`` and ``masses``.
_LOOK_ALIKES = {
    "velocities": ("vel", "velo", "velocity", "velocities"),
    "masses": ("mass",),
}


def is_of_structure(name: str) -> bool:
    """Whether an entry or column of this name says what state a structure is in, and so is no result."""
    states = (*STATES, *STATE_COLUMNS, "momenta", "masses")
    return name.lower() in states or any(name.lower() in names for names in _LOOK_ALIKES.values())


def unused_states(atoms: Atoms, taken: Collection[str] = ()) -> dict[str, str]:
    """The charges, spins and fields that a structure states for nothing, by name, as text.

    Args:
        atoms: the structure.
        taken: entries of ``atoms.info`` that the model takes.
    """
    found: dict[str, str] = {}
    for name, neutral in STATES.items() if atoms.info else ():
        if name not in taken and name in atoms.info and _differs(atoms.info[name], neutral):
            found[name] = f"{name} = {atoms.info[name]}"
    for name in STATE_COLUMNS:
        if name in atoms.arrays and atoms.arrays[name].any():
            found[name] = f"{name} of up to {np.abs(atoms.arrays[name]).max():g}"
    return found


def about_states(found: Mapping[str, str]) -> str:
    """Say in a sentence that these change nothing."""
    return (
        f"The structure states {', '.join(found.values())}, which the model does not take: results are those of "
        "the state that the model was trained on."
    )


def unused_columns(atoms: Atoms) -> list[str]:
    """Sentences about columns that dynamics might be expected to use and does not."""
    sentences = []
    for meaning, names in _LOOK_ALIKES.items():
        used = "momenta" if meaning == "velocities" else "masses"
        columns = [name for name in atoms.arrays if name.lower() in names]
        if columns and not atoms.has(used):
            unit = "√(amu·eV)" if used == "momenta" else "u"
            sentences.append(
                f"The column {columns[0]} is not used: its unit is not known. Give {meaning} as {used}, in {unit}."
            )
    return sentences


def _differs(value: Any, neutral: float) -> bool:
    """Whether a value says anything; text that is no number does."""
    try:
        return bool(np.any(np.asarray(value, dtype=np.float64) != neutral))
    except (TypeError, ValueError):
        return value is not None
