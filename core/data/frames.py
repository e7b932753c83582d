"""Frames of extended-xyz files, refused if a file is cut short."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from halocline.errors import StructureError, TrainingError
from halocline.structures import read as structures
from halocline.structures.source import size_of
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
        source: the file as the recipe calls it, before variables in it are expanded.
        sha256: digest of the file when it was read.
    """

    atoms: Atoms
    file: Path
    number: int
    source: str
    sha256: str

    def __str__(self) -> str:
        return f"frame {self.number} of {self.file.name}"


def read_frames(files: Sequence[tuple[str, Path]]) -> list[Frame]:
    """Read all frames of all files, in order.

    Args:
        files: what the recipe calls each file, and where it is.

    Raises:
        TrainingError: a file is missing, empty, damaged, ends in the middle of a frame, or changes while it is
            read.
    """
    return [frame for source, file in files for frame in _read(source, file)]


def say_unused(frames: Sequence[Frame], taken: Collection[str]) -> None:
    """Say once of each file which charges, spins and fields in it change nothing.

    Args:
        frames: all of them.
        taken: entries of ``atoms.info`` that the model takes.
    """
    states: dict[Path, dict[str, str]] = {}
    for frame in frames:
        states.setdefault(frame.file, {}).update(unused_states(frame.atoms, taken))
    for file, found in states.items():
        if found:
            _LOG.warning("%s: %s", file, about_states(found))


def _read(source: str, file: Path) -> list[Frame]:
    place = str(file.absolute())  # nothing that could stand for standard input
    try:
        size_of(place)  # which refuses pipes: they would be waited for
        sha256 = _digest(file)
        frames = structures.read_frames(place, structures.EXTENDED_XYZ)
        # The reader opens the file itself. Equal digests around it mean that these are the bytes that it saw.
        if _digest(file) != sha256:
            raise TrainingError(
                f"The data file {file} changed while it was read; start again once it is complete."
            )
    except StructureError as error:
        raise TrainingError(f"Data that cannot be used: {error}") from error
    except FileNotFoundError as error:
        raise TrainingError(f"There is no data file {file}.") from error
    except OSError as error:
        raise TrainingError(f"Cannot read the data file {file}: {error.strerror}.") from error
    return [Frame(atoms, file, number, source, sha256) for number, atoms in enumerate(frames)]


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
