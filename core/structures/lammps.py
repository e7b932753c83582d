"""LAMMPS files, which know types and masses but seldom elements."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from halocline.errors import StructureError
from halocline.structures.isotopes import MASSES

#: A mass within this many u of an element's is that element's: masses are rounded, and isotopes differ little.
TOLERANCE = 0.3

_DATA = re.compile(rb"^\s*\d+\s+atoms\s*$.*^\s*\d+\s+atom\s+types\b", re.MULTILINE | re.DOTALL)
_SECTION = re.compile(r"^[A-Z][A-Za-z ]*(#.*)?$")


def is_data(data: bytes) -> bool:
    """Whether text begins as a LAMMPS data file does."""
    return _DATA.search(data[:4096]) is not None


def data_options(text: str, name: str) -> dict[str, Any]:
    """Arguments that ASE's reader of data files has to be given: the elements of the types, and the units.

    Raises:
        StructureError: the elements cannot be told from labels, comments or masses.
    """
    labels, masses = _section(text, "Atom Type Labels"), _section(text, "Masses")
    if not labels and not masses:
        raise StructureError(f"{name} does not say which elements its types are; add a section Masses.")
    elements = {
        kind: _element(kind, labels.get(kind, ("", ""))[0], *masses.get(kind, ("", "")), name)
        for kind in labels.keys() | masses.keys()
    }
    return {"Z_of_type": elements} | _units(text.partition("\n")[0])


def dump_options(text: str, name: str) -> dict[str, Any]:
    """Arguments that ASE's reader of dumps has to be given.

    Raises:
        StructureError: there is neither a column ``element`` nor ``mass``.
    """
    columns = re.search(r"^ITEM: ATOMS(.*)$", text, re.MULTILINE)
    if columns and not {"element", "mass"} & set(columns.group(1).split()):
        raise StructureError(
            f"{name} does not say which elements its types are; dump the column element (dump_modify … element)."
        )
    units = re.search(r"^ITEM: UNITS\s+(\w+)", text, re.MULTILINE)
    return {"units": units.group(1)} if units else {}


def _section(text: str, title: str) -> dict[int, tuple[str, str]]:
    """First word and comment of each line of a section, by type."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.partition("#")[0].strip() == title:
            break
    found: dict[int, tuple[str, str]] = {}
    for line in lines:
        words, _, comment = line.partition("#")
        fields = words.split()
        if not fields:
            continue
        if _SECTION.match(words.strip()) or not fields[0].isdigit() or len(fields) < 2:
            break
        found[int(fields[0])] = (fields[1], comment.strip())
    return found


def _units(first_line: str) -> dict[str, Any]:
    stated = re.search(r"units\s*=\s*(\w+)", first_line)
    return {"units": stated.group(1)} if stated else {}


def _element(kind: int, label: str, mass: str, comment: str, name: str) -> int:
    """The atomic number of a type."""
    word = comment.split()[0] if comment else ""
    said = next((symbol for symbol in (label, word) if symbol in atomic_numbers or symbol in MASSES), None)
    number = None if said is None else atomic_numbers.get(said, atomic_numbers["H"])
    weighed = _element_of_mass(float(mass)) if mass else None
    if number is None and weighed is None:
        raise StructureError(
            f"Type {kind} of {name} has the mass {mass or 'nowhere'}, which is no element's; say which element it "
            f"is in its line of the section Masses, as in {kind} 22.99 # Na."
        )
    if number is not None and weighed is not None and number != weighed:
        raise StructureError(
            f"Type {kind} of {name} is called {said}, but its mass {mass} is that of {chemical_symbols[weighed]}; "
            "correct one of them."
        )
    return int(number or weighed or 0)


def _element_of_mass(mass: float) -> int | None:
    if any(abs(mass - isotope) < TOLERANCE / 10 for isotope in MASSES.values()):
        return int(atomic_numbers["H"])
    differences = np.abs(atomic_masses[1:] - mass)
    nearest = int(differences.argmin())
    return nearest + 1 if differences[nearest] <= TOLERANCE else None
