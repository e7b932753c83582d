"""Structures from files of any format that ASE reads, or from standard input as extended XYZ."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from ase import Atoms
from ase.io import read

from halocline.errors import StructureError
from halocline.structures.constraints import simplify
from halocline.structures.write import EXTENSIONS

#: The file argument that stands for standard input.
STANDARD_INPUT = "-"


def read_frames(source: str) -> list[Atoms]:
    """Read all frames of a file.

    Args:
        source: path of a file, or `STANDARD_INPUT`.

    Raises:
        StructureError: it is missing, empty, cut off or not understood.
    """
    try:
        if source == STANDARD_INPUT:
            _check_last_line(source, text := sys.stdin.read())
            frames = read(io.StringIO(text), index=":", format="extxyz")
        else:
            if source.endswith(EXTENSIONS):
                _check_last_line(source, Path(source).read_bytes().decode(errors="replace"))
            frames = read(Path(source), index=":", do_not_split_by_at_sign=True)
    except StructureError:
        raise
    except Exception as error:  # every one of ASE's readers fails in its own way
        raise StructureError(f"{_name(source)} cannot be read as structures: {_reason(error)}.") from error
    if not frames:
        raise StructureError(f"{_name(source)} holds no structure.")
    for atoms in frames:
        simplify(atoms)
    return list(frames)


def _check_last_line(source: str, text: str) -> None:
    """A file cut inside its last line reads without complaint, its last number shortened."""
    if text and not text.endswith("\n"):
        raise StructureError(
            f"{_name(source)} ends within a line, so it was probably cut off; if not, end it with a newline."
        )


def _name(source: str) -> str:
    return "Standard input" if source == STANDARD_INPUT else source


def _reason(error: Exception) -> str:
    """Say in one line what went wrong; many readers raise errors without words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    words = " ".join(str(error).split()).rstrip(".")
    return words or f"it does not follow the format that its name suggests ({type(error).__name__})"
