"""What a file of results says of each frame, by the ending of its name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from halocline.errors import UsageError
from halocline.evaluation.numbers import PER_ATOM
from halocline.structures.constraints import warn_of_unwritable
from halocline.structures.write import EXTENSIONS, extended_xyz, labelled

if TYPE_CHECKING:
    from halocline.evaluation.frames import Frame

#: Voigt order of ASE, and the places of a tensor that it names.
_VOIGT: Final = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}
#: What structures are given, by ASE's names; the last two where the model tells them.
_LABELS: Final = ("energy", "energies", "forces", "stress", "magmoms", "charges")
#: Columns of CSV with their units, by the names of `numbers_of`.
_COLUMNS: Final = {
    "file": "file",
    "frame": "frame",
    "formula": "formula",
    "atoms": "atoms",
    "energy": "energy_eV",
    "energy_per_atom": "energy_per_atom_eV",
    "max_force": "max_force_eV_per_A",
    "pressure": "pressure_GPa",
}


class Form(Protocol):
    """How frames are written, one after another."""

    def header(self) -> bytes:
        """The bytes that a file begins with, before the first frame."""

    def record(self, frame: Frame, numbers: Mapping[str, Any]) -> bytes:
        """The bytes that stand for a frame with the numbers of `numbers_of`."""


def form_of(path: Path) -> Form:
    """The form that the ending of a name asks for.

    Raises:
        UsageError: there is none for it, or the folder is missing.
    """
    if path.suffix not in FORMS:
        raise UsageError(
            f"--output {path} names no form of results; let its name end in .extxyz or .xyz for structures, or in "
            ".csv or .jsonl for a line for each."
        )
    if not path.parent.is_dir():
        raise UsageError(f"The folder of --output {path} does not exist; make it first.")
    return FORMS[path.suffix]()


@final
class ExtendedXYZ:
    """Structures with results, in all digits; labels that they brought move to ``REF_`` names."""

    def header(self) -> bytes:
        """Empty: frames stand one after another."""
        return b""

    def record(self, frame: Frame, numbers: Mapping[str, Any]) -> bytes:
        """The structure with its numbers, as a frame of extended XYZ."""
        warn_of_unwritable(frame.atoms)
        labels = {name: numbers[name] for name in _LABELS if name in numbers}
        return extended_xyz([labelled(frame.atoms, labels)], exact=True)


@final
class CommaSeparated:
    """A line of numbers for each frame, and a first one with their names and units."""

    def header(self) -> bytes:
        """The line with the names of the columns."""
        stress = [f"stress_{name}_eV_per_A3" for name in _VOIGT]
        return csv_line([*_COLUMNS.values(), *stress, "outside"])

    def record(self, frame: Frame, numbers: Mapping[str, Any]) -> bytes:
        """The numbers in all digits, empty where there is none."""
        del frame
        stress = numbers["stress"]
        components = ["" if stress is None else float(stress[place]) for place in _VOIGT.values()]
        return csv_line([*(numbers[name] for name in _COLUMNS), *components, "; ".join(numbers["outside"])])


@final
class JSONLines:
    """An object for each frame, one a line, with the names and units of ``--json``; without arrays of atoms."""

    def header(self) -> bytes:
        """Empty: each line stands for itself."""
        return b""

    def record(self, frame: Frame, numbers: Mapping[str, Any]) -> bytes:
        """The numbers as one JSON object, on a line."""
        del frame
        kept = {name: value for name, value in numbers.items() if name not in PER_ATOM}
        kept["stress"] = None if kept["stress"] is None else kept["stress"].tolist()
        return json.dumps(kept, allow_nan=False).encode() + b"\n"


FORMS: Final[Mapping[str, type[Form]]] = {
    **dict.fromkeys(EXTENSIONS, ExtendedXYZ),
    ".csv": CommaSeparated,
    ".jsonl": JSONLines,
}


def csv_line(cells: Sequence[Any]) -> bytes:
    """A line of CSV; numbers have all their digits."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode(errors="replace")
