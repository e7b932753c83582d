"""Labelled frames of files of any kind, refused if a file is cut short."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final, overload

import numpy as np
from numpy.typing import NDArray

from halocline.data.chained import Chained
from halocline.errors import StructureError, TrainingError
from halocline.structures import read as structures
from halocline.structures.packed import ENDING, PackedFile, refuse_units
from halocline.structures.source import ending_of, size_of
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


@final
class PackedFrames(Sequence[Frame]):
    """The frames of a packed file, each made when it is asked for; their labels are in the file, too.

    Args:
        file: the file.
        source: as the recipe calls it.
        sha256: its digest.
    """

    def __init__(self, file: PackedFile, source: str, sha256: str) -> None:
        self.file, self.source, self.sha256 = file, source, sha256

    def __len__(self) -> int:
        return len(self.file)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        number = index % len(self)
        return Frame(self.file.bare(number), self.file.path, number, self.source, self.sha256)


@final
class Frames(Sequence[Frame]):
    """The frames of several files, one after another.

    Args:
        parts: of each file; those of packed files are read when they are asked for.

    Attributes:
        parts: likewise.
        packed: whether any of them is packed, so that there may be too many to be held.
    """

    def __init__(self, parts: Sequence[Sequence[Frame]]) -> None:
        self.parts = list(parts)
        self.packed = any(isinstance(part, PackedFrames) for part in parts)
        self._chained = Chained(self.parts)

    def __len__(self) -> int:
        return len(self._chained)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        return self._chained[index]

    @property
    def files(self) -> dict[str, str]:
        """What the recipe calls each file → its SHA-256 when it was read."""
        return {part[0].source: part[0].sha256 for part in self.parts}

    def numbers(self, frame: int) -> NDArray[np.int64]:
        """The atomic numbers of a frame, (N,)."""
        part, place = self._chained.find(frame)
        if isinstance(part, PackedFrames):
            return part.file.numbers(place).astype(np.int64)
        return np.asarray(part[place].atoms.numbers, np.int64)

    def stating(self) -> Iterator[Frame]:
        """Those that may state more than a structure: of packed files, what has entries."""
        for part in self.parts:
            rows = part.file.rows_with_entries() if isinstance(part, PackedFrames) else range(len(part))
            yield from (part[row] for row in rows)


def open_frames(source: str, file: Path, units: Units | None = None) -> Sequence[Frame]:
    """The frames of a file: read now, or of a packed file when they are asked for.

    Args:
        source: what the recipe calls the file.
        file: where it is.
        units: of the file, by default those of its format.

    Raises:
        TrainingError: the file is missing, empty, damaged, ends in the middle of a frame, or changes while it is
            read.
        UsageError: it is packed, and in other units than those that are stated.
    """
    if ending_of(file) != ENDING:
        return list(stream_frames(source, file, units))
    refuse_units(source, units)
    sha256 = digest_of(file)
    with _explained(file):
        return PackedFrames(PackedFile(file.absolute()), source, sha256)


def read_frames(files: Sequence[tuple[str, Path]], units: Units | None = None) -> Frames:
    """The frames of all files, in order; see `open_frames`."""
    return Frames([open_frames(source, file, units) for source, file in files])


def stream_frames(
    source: str, file: Path, units: Units | None = None, skip: Callable[[TrainingError], None] | None = None
) -> Generator[Frame]:
    """The frames of a file, read as they are asked for; see `open_frames`.

    Args:
        source: what the recipe calls the file.
        file: where it is.
        units: of the file, by default those of its format.
        skip: is told of a frame that alone cannot be read, which is then left out; by default it is raised.
    """
    place = str(file.absolute())  # nothing that could stand for standard input
    sha256 = digest_of(file)
    converted = structures.has_units(place)
    of_labels = EV_ANGSTROM if converted or units is None else units
    file_format = None if converted else _FORMATS.get(ending_of(file), structures.EXTENDED_XYZ)
    contents = structures.stream_frames(place, file_format, units if converted else None)
    number = 0
    while True:
        with _explained(file):  # not around the yield: what others raise is theirs
            atoms = next(contents, None)
            if isinstance(atoms, StructureError) and skip is None:
                raise atoms
        if atoms is None:
            break
        if isinstance(atoms, StructureError):
            assert skip is not None
            skip(TrainingError(str(atoms)))
            number += 1
            continue
        _to_angstrom(atoms, of_labels)
        yield Frame(atoms, file, number, source, sha256, of_labels)
        number += 1
    # The reader opens the file itself. Equal digests around it mean that these are the bytes that it saw.
    if digest_of(file) != sha256:
        raise TrainingError(f"The data file {file} changed while it was read; start again once it is complete.")


def say_unused(frames: Frames, taken: Collection[str]) -> None:
    """Say once of each file which charges, spins and fields in it change nothing.

    Args:
        frames: all of them.
        taken: entries of ``atoms.info`` that the model takes.
    """
    states: dict[Path, dict[str, str]] = {}
    for frame in frames.stating():
        states.setdefault(frame.file, {}).update(unused_states(frame.atoms, taken))
    for file, found in states.items():
        if found:
            _LOG.warning("%s: %s", file, about_states(found))


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Say of what goes wrong in the block which data file it is about."""
    try:
        yield
    except StructureError as error:
        raise TrainingError(f"Data that cannot be used: {error}") from error
    except FileNotFoundError as error:
        raise TrainingError(f"There is no data file {file}.") from error
    except OSError as error:
        raise TrainingError(f"Cannot read the data file {file}: {error.strerror}.") from error


def _to_angstrom(atoms: Atoms, units: Units) -> None:
    """Convert positions and cell where they are; labels are converted when they are read."""
    if units.of_length != 1.0:
        atoms.cell *= units.of_length
        atoms.positions *= units.of_length


def digest_of(file: Path) -> str:
    """SHA-256 of a data file as it is now.

    Raises:
        TrainingError: it is missing, no regular file, or cannot be read.
    """
    with _explained(file):
        size_of(str(file.absolute()))  # which refuses pipes: they would be waited for
        return _digest(file)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
