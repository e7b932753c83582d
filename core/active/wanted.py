"""Frames that are to be labelled by somebody else, and the file that comes back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from ase import Atoms

from halocline.data.duplicates import SAME
from halocline.data.frames import open_frames
from halocline.errors import TrainingError
from halocline.files import write_atomically
from halocline.structures.unused import STATE_COLUMNS, STATES
from halocline.structures.write import extended_xyz

if TYPE_CHECKING:
    from halocline.data.frames import Frame

#: In the folder of an iteration: what is asked for, and what is answered.
WANTED_FILE: Final = "to_label.extxyz"
LABELLED_FILE: Final = "labelled.extxyz"


def ask(folder: Path, frames: Sequence[Atoms], taken: Collection[str]) -> Path:
    """Write frames without labels, with all digits of their positions.

    Args:
        folder: of an iteration.
        frames: with whatever labels they have.
        taken: entries of ``atoms.info`` that the model takes.

    Raises:
        TrainingError: the file cannot be written.
    """
    path = folder / WANTED_FILE
    try:
        write_atomically(path, extended_xyz([_bare(atoms, taken) for atoms in frames], exact=True))
    except OSError as error:
        raise TrainingError(f"Cannot write {path}: {error.strerror or error}.") from error
    return path


def answered(folder: Path, asked: Sequence[Atoms]) -> int | None:
    """How many frames came back labelled; None while the file is not there.

    Frames may be left out, where a calculation has failed, but not moved or put in another order.

    Args:
        folder: of an iteration.
        asked: the frames that were to be labelled.

    Raises:
        TrainingError: the file holds another frame, or none.
    """
    path = folder / LABELLED_FILE
    if not path.exists():
        return None
    frames = open_frames(path.name, path)
    rest = iter(asked)
    for frame in frames:
        if not any(_is_same(frame, each) for each in rest):
            raise TrainingError(
                f"{frame} in {folder} is none of the frames of {WANTED_FILE} that come after the one before it. "
                "Keep their order, atoms, positions, cells and periodicity; frames may be left out."
            )
    return len(frames)


def _is_same(frame: Frame, asked: Atoms) -> bool:
    atoms = frame.atoms
    if len(atoms) != len(asked) or (atoms.numbers != asked.numbers).any() or (atoms.pbc != asked.pbc).any():
        return False
    moved = np.abs(atoms.positions - asked.positions).max(initial=0.0)
    return bool(moved < SAME and np.abs(atoms.cell.array - asked.cell.array).max() < SAME)


def _bare(atoms: Atoms, taken: Collection[str]) -> Atoms:
    """The structure and its state, without anything that could be taken for a label."""
    bare = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for name in ("tags", "masses", *STATE_COLUMNS):
        if atoms.has(name):
            bare.set_array(name, atoms.arrays[name])
    bare.info = {name: value for name, value in atoms.info.items() if name in STATES or name in taken}
    return bare
