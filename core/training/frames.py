"""Frames of extended-xyz files, refused if a file is cut short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import ase.io

from halocline.errors import TrainingError

if TYPE_CHECKING:
    from ase import Atoms


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
    try:
        _refuse_truncated(file)
        frames = ase.io.read(file, index=":", format="extxyz")
    except FileNotFoundError:
        raise TrainingError(f"There is no data file {file}.") from None
    except (OSError, ValueError, KeyError, IndexError, UnicodeDecodeError) as error:  # what ASE's reader raises
        raise TrainingError(f"Cannot read {file} as extended xyz: {error}.") from error
    if not frames:
        raise TrainingError(f"{file} holds no frame.")
    return [Frame(atoms, file, number) for number, atoms in enumerate(frames)]


def _refuse_truncated(file: Path) -> None:
    """Follow the atom counts through the file: a reader that stops at its end would not notice a missing part."""
    text = file.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        raise TrainingError(f"{file} does not end with a line break: it is cut short, copy it again.")
    lines = text.rstrip().splitlines()
    start = 0
    while start < len(lines):
        if not lines[start].strip().isdigit():
            raise TrainingError(f"Line {start + 1} of {file} should be a number of atoms: {lines[start][:40]!r}.")
        end = start + 2 + int(lines[start])
        if end > len(lines):
            raise TrainingError(
                f"The last frame of {file} should have {lines[start].strip()} atoms, "
                f"but {max(0, len(lines) - start - 2)} follow: it is cut short, copy it again."
            )
        start = end
