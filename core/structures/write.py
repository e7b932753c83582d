"""Structures as extended XYZ."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import output_column_format, per_atom_properties, save_calc_results
from ase.spacegroup import Spacegroup
from ase.stress import voigt_6_to_full_3x3_stress

from halocline.errors import UsageError
from halocline.structures.constraints import move_mask

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)

#: What a name may end in where extended XYZ is written.
EXTENSIONS = (".xyz", ".extxyz")

#: Columns of ASE that are no further columns of a file.
_ATOMS = ("numbers", "positions", "symbols", "species", "pos", "move_mask")
#: How ASE's writer formats a number, and what a reader gets back to the bit.
_EIGHT_DECIMALS, _ALL_DIGITS = "%16.8f", "%22r"


def extended_xyz(frames: Sequence[Atoms], *, exact: bool = False) -> bytes:
    """Format structures as extended XYZ in UTF-8: columns, results, constraints, and entries of the comment line.

    Args:
        frames: results are taken from their calculators as they are, without constraints applied.
        exact: give columns all digits of their numbers, and not eight decimals; the comment line has them anyway.
    """
    lost = {str(name) for atoms in frames for name, value in atoms.info.items() if not _has_a_form(value)}
    if lost:
        _LOG.warning("Extended XYZ has no form for the entry %s; left out.", ", ".join(sorted(lost)))
    return "".join(_text(_plain(atoms), exact=exact) for atoms in frames).encode(errors="replace")


def labelled(atoms: Atoms, results: Mapping[str, Any], others: Mapping[str, Any] | None = None) -> Atoms:
    """A copy that carries results; those that the structure brought move to ``REF_`` names.

    Args:
        atoms: stays as it is.
        results: by ASE's names; None for what there is not.
        others: what ASE has no name for: numbers, and arrays with a row for each atom.
    """
    others = others or {}
    copy: Atoms = atoms.copy()
    for name, value in getattr(atoms.calc, "results", {}).items():
        place = copy.arrays if name in per_atom_properties else copy.info
        place.setdefault(f"REF_{name}", value)
    given = {name: value for name, value in results.items() if value is not None}
    for name in (*given, *others):
        for place in (copy.info, copy.arrays):
            if name in place:  # of results not from extended XYZ, whose reader takes them for such
                place.setdefault(f"REF_{name}", place.pop(name))
    for name, value in others.items():
        (copy.arrays if np.ndim(value) else copy.info)[name] = value
    copy.calc = SinglePointCalculator(copy, **given)
    return copy


def check_output(path: Path, option: str = "--output") -> None:
    """Find out before hours of work that structures cannot be written to a file.

    Args:
        path: of the file.
        option: by which it is given, for messages.

    Raises:
        UsageError: the folder is missing, or the name promises another format than extended XYZ.
    """
    if path.suffix not in EXTENSIONS:
        raise UsageError(f"{option} {path} is written as extended XYZ; let its name end in .extxyz or .xyz.")
    if not path.parent.is_dir():
        raise UsageError(f"The folder of {option} {path} does not exist; make it first.")


def _text(atoms: Atoms, *, exact: bool) -> str:
    """A frame as ASE's own writer gives it, but for the digits of its columns."""
    frame: Atoms = atoms.copy()
    save_calc_results(frame, atoms.calc, calc_prefix="")
    stress = frame.info.get("stress")
    if stress is not None and np.shape(stress) == (6,):
        frame.info["stress"] = voigt_6_to_full_3x3_stress(stress)
    columns = {"symbols": np.array([*frame.symbols], dtype="U2"), "positions": frame.positions}
    if (moves := move_mask(atoms)) is not None:
        columns["move_mask"] = moves
    columns |= {name: column for name, column in frame.arrays.items() if name not in _ATOMS}
    comment, widths, dtype, row = output_column_format(frame, list(columns), columns)
    table = np.zeros(len(frame), dtype)
    for (name, column), width in zip(columns.items(), widths, strict=True):
        if width == 1:
            table[name] = column.reshape(len(frame))
        else:
            for place in range(width):
                table[f"{name}{place}"] = column[:, place]
    if exact:
        row = row.replace(_EIGHT_DECIMALS, _ALL_DIGITS)
    return "".join((f"{len(frame)}\n{comment}\n", *(row % cells for cells in table.tolist())))


def _plain(atoms: Atoms) -> Atoms:
    """The structure with columns that have a form in extended XYZ, and entries that stay on one line."""
    info = {name: _one_line(value) for name, value in atoms.info.items() if _has_a_form(value)}
    columns = {name: _two_dimensional(column) for name, column in atoms.arrays.items()}
    if all(columns[name] is atoms.arrays[name] for name in columns) and info == atoms.info:
        return atoms
    frame: Atoms = atoms.copy()
    frame.info, frame.arrays, frame.calc = info, columns, atoms.calc
    return frame


def _has_a_form(value: Any) -> bool:
    """Whether an entry can be written so that it is read again."""
    if isinstance(value, str | bool | float | int | Spacegroup | np.generic):
        return True
    try:
        json.dumps(value.tolist() if isinstance(value, np.ndarray) else value)
    except (TypeError, ValueError):
        return False
    return value is not None


def _one_line(value: Any) -> Any:
    """Text without line breaks, which would end the comment, and with backslashes that a reader gives back."""
    return " ".join(value.replace("\\", "\\\\").splitlines()) if isinstance(value, str) else value


def _two_dimensional(column: NDArray[Any]) -> NDArray[Any]:
    """Numbers, text or truth values in one or two dimensions."""
    if column.dtype.kind == "u":
        column = column.astype(np.int64)
    return column if column.ndim <= 2 else column.reshape(len(column), -1)
