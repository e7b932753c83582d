"""Labelled frames of files of any kind, refused if a file is cut short."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from halocline.errors import StructureError, TrainingError
from halocline.structures import read as structures
from halocline.structures.source import size_of
from halocline.structures.units import EV_ANGSTROM, Units
from halocline.structures.unused import about_states, unused_states

if TYPE_CHECKING:
    from ase import Atoms

_LOG = logging.getLogger(__name__)

#: ASE's names of formats by what names of files end in, where they are not extended XYZ and say nothing of units.
_FORMATS: Final = {".db": "db", ".traj": "traj"}


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
        units: in which its labels are; positions and cell are in Å.
    """

    atoms: Atoms
    file: Path
    number: int
    source: str
    sha256: str
    units: Units = EV_ANGSTROM

    def __str__(self) -> str:
        return f"frame {self.number} of {self.file.name}"


def read_frames(files: Sequence[tuple[str, Path]], units: Units | None = None) -> list[Frame]:
    """Read all frames of all files, in order.

    Args:
        files: what the recipe calls each file, and where it is.
        units: of the files, by default those of their formats.

    Raises:
        TrainingError: a file is missing, empty, damaged, ends in the middle of a frame, or changes while it is
            read.
    """
    return [frame for source, file in files for frame in _read(source, file, units)]


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


def _read(source: str, file: Path, units: Units | None) -> list[Frame]:
    place = str(file.absolute())  # nothing that could stand for standard input
    try:
        size_of(place)  # which refuses pipes: they would be waited for
        sha256 = _digest(file)
        converted = structures.has_units(place)
        frames = (
            structures.read_frames(place, units=units)
            if converted
            else structures.read_frames(place, _FORMATS.get(file.suffix, structures.EXTENDED_XYZ))
        )
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
    of_labels = EV_ANGSTROM if converted or units is None else units
    for atoms in frames:
        _to_angstrom(atoms, of_labels)
    return [Frame(atoms, file, number, source, sha256, of_labels) for number, atoms in enumerate(frames)]


def _to_angstrom(atoms: Atoms, units: Units) -> None:
    """Convert positions and cell where they are; labels are converted when they are read."""
    if units.of_length != 1.0:
        atoms.cell *= units.of_length
        atoms.positions *= units.of_length


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
