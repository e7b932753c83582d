"""Frames of extended-xyz files, refused if a file is cut short."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from halocline.errors import StructureError, TrainingError
from halocline.structures import read as structures
from halocline.structures.unused import about_states, unused_states

if TYPE_CHECKING:
    from ase import Atoms


_LOG = logging.getLogger(__name__)


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """One structure as it was read.

    Attributes:
        atoms: with whatever labels the file holds.
        file: where it comes from.
        number: its place in that file, from 0.
    """

    atoms: Atoms
    file: Path
    number: int

    def __str__(self) -> str:
        return f"frame {self.number} of {self.file.name}"


def read_frames(files: Sequence[Path]) -> list[Frame]:
    """Read all frames of all files, in order.

    Raises:
        TrainingError: a file is missing, empty, damaged, or ends in the middle of a frame.
    """
    return [frame for file in files for frame in _read(file)]


def _read(file: Path) -> list[Frame]:
    if not file.exists():
        raise TrainingError(f"There is no data file {file}.")
    try:
        frames = structures.read_frames(str(file), structures.EXTENDED_XYZ)
    except StructureError as error:
        raise TrainingError(f"Data that cannot be used: {error}") from error
    states = {name: text for atoms in frames for name, text in unused_states(atoms).items()}
    if states:
        _LOG.warning("%s: %s", file, about_states(states))
    return [Frame(atoms, file, number) for number, atoms in enumerate(frames)]
