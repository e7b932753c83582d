"""What a run appends to its files: frames of the trajectory, rows of the log."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from halocline.dynamics.step_record import COLUMNS, SPREAD_COLUMNS
from halocline.errors import DynamicsError
from halocline.structures.constraints import writable
from halocline.structures.unused import STATE_COLUMNS, STATES
from halocline.structures.write import extended_xyz

#: Columns that belong to the atoms, whatever step they are at.
_COLUMNS = ("tags", "masses", "momenta", *STATE_COLUMNS)
#: What a frame carries of the calculator's results.
_RESULTS = ("energy", "forces", "stress", "energies")


@final
@dataclass(frozen=True, slots=True)
class FrameResults:
    """What a frame says of the model where no calculator of ASE has computed it.

    Attributes:
        results: by ASE's names.
        taken_entries: of ``atoms.info``, which the model has taken.
    """

    results: dict[str, Any]
    taken_entries: frozenset[str]


def frame_bytes(atoms: Atoms, **info: float) -> bytes:
    """Format a frame as extended XYZ: positions, momenta if any, energies, forces, stress, and what `info` adds.

    If the model is a committee, the spreads of its energy and forces are there as well.

    With it go tags, masses, constraints, and charges and spins, so that another command can go on from it. Nothing
    else of the atoms does: labels that a structure brought are not those of its later frames.
    """
    frame = _frame(atoms, info)
    frame.calc = SinglePointCalculator(frame, **_results(atoms))
    return extended_xyz([frame])


def unlabelled_bytes(atoms: Atoms, **info: float) -> bytes:
    """Format a frame that is to be labelled: as `frame_bytes`, without what the model says of energy and forces.

    Whoever trains on it would take those for labels.
    """
    return extended_xyz([_frame(atoms, info)])


def row_bytes(row: Sequence[str]) -> bytes:
    """Format one line of the log as CSV: numbers and names of columns, which need no quotes."""
    return (",".join(row) + "\n").encode()


def read_log(path: Path, columns: tuple[str, ...] = COLUMNS) -> dict[str, NDArray[np.float64]]:
    """Read a log into one array per column; empty fields become NaN. Of committees it has `SPREAD_COLUMNS`, too.

    Raises:
        DynamicsError: the file cannot be read or does not have these columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if tuple(header) == columns + SPREAD_COLUMNS:
            columns += SPREAD_COLUMNS
        table = np.array([[float(field or "nan") for field in row] for row in rows]).reshape(-1, len(columns))
    except (OSError, ValueError) as error:
        raise DynamicsError(f"{path} cannot be read as a log of a run: {error}.") from error
    if tuple(header) != columns:
        raise DynamicsError(
            f"{path} is not the log of such a run: its columns are {', '.join(header) or 'missing'}."
        )
    return dict(zip(columns, table.T, strict=True))


def _frame(atoms: Atoms, info: Mapping[str, float]) -> Atoms:
    """What a frame holds beside the model's results."""
    frame = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for name in _COLUMNS:
        if atoms.has(name):
            frame.set_array(name, atoms.arrays[name])
    frame.set_constraint(writable(atoms))
    states = {*STATES, *getattr(atoms.calc, "taken_entries", ())}
    frame.info.update({name: atoms.info[name] for name in sorted(states) if name in atoms.info} | dict(info))
    if (spread := getattr(atoms.calc, "spread", None)) is not None:
        frame.info["energy_std"] = spread.energy
        frame.set_array("forces_std", spread.forces)
    return frame


def _results(atoms: Atoms) -> dict[str, Any]:
    """The calculator's results for these atoms that a frame carries, without constraints applied."""
    results = getattr(atoms.calc, "results", {})
    return {name: results[name] for name in _RESULTS if results.get(name) is not None}
