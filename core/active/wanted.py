"""Frames that are to be labelled by somebody else, and the file that comes back."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
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

#: In the folder of a later one: SHA-256 of the answers that it is fitted to.
ANSWERS_FILE: Final = "answers.json"


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


def hold_answers(folder: Path, answers: Mapping[str, str], *, begun: bool) -> None:
    """Keep what an iteration is fitted to; or, if it has been, refuse what is no longer that.

    Args:
        folder: of the iteration.
        answers: folder's name of an earlier iteration → SHA-256 of its `LABELLED_FILE`.
        begun: whether a model of the iteration is there.

    Raises:
        TrainingError: an answer has changed since, or the file cannot be read or written.
    """
    path = folder / ANSWERS_FILE
    try:
        if not begun:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(dict(answers), indent=1).encode() + b"\n")
            return
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else answers
    except OSError as error:
        raise TrainingError(f"Cannot use {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise TrainingError(
            f"{path} is damaged ({error}); remove it to go on with the answers as they are."
        ) from error
    for name, digest in answers.items():
        if before.get(name) != digest:
            raise TrainingError(
                f"{folder.parent / name / LABELLED_FILE} has changed since {folder.name} was fitted to it. "
                f"Restore it; or, to have its frames fitted as they are now, remove {folder} and the folders of "
                "all later iterations."
            )


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
