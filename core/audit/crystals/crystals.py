"""Crystals whose volume and bulk modulus are known from density functional theory."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ase import Atoms, units
from ase.build import bulk
from ase.collections import dcdft

#: Of the elemental crystals, which ASE carries.
ELEMENTS_SOURCE = (
    "K. Lejaeghere, V. Van Speybroeck, G. Van Oost and S. Cottenier, Error estimates for solid-state "
    "density-functional theory predictions: an overview by means of the ground-state elemental crystals, "
    "Crit. Rev. Solid State Mater. Sci. 39, 1 (2014), doi:10.1080/10408436.2013.772503; PBE with WIEN2k, "
    "as in ase.collections.dcdft"
)

_COMPOUNDS = Path(__file__).with_name("compounds.toml")


@final
@dataclass(frozen=True, slots=True)
class Crystal:
    """A crystal in which a change of volume moves no atom against the others, or is not allowed to.

    Attributes:
        name: the formula.
        atoms: some cell of it, with the magnetic moments that the reference has.
        volume: where the reference has its minimum, Å³/atom.
        bulk_modulus: of the reference, GPa; None if it is not known.
        source: of the reference.
    """

    name: str
    atoms: Atoms
    volume: float
    bulk_modulus: float | None
    source: str


def elements() -> list[Crystal]:
    """The 71 elemental crystals of the Delta test (`ELEMENTS_SOURCE`), in the order of atomic numbers."""
    return [
        Crystal(
            name=symbol,
            atoms=dcdft[symbol],
            volume=dcdft.data[symbol]["wien2k_volume"],
            bulk_modulus=dcdft.data[symbol]["wien2k_B"],
            source=ELEMENTS_SOURCE,
        )
        for symbol in dcdft.names
    ]


def compounds() -> list[Crystal]:
    """Cubic binary compounds; where each number was read stands in ``compounds.toml``."""
    content = tomllib.loads(_COMPOUNDS.read_text(encoding="utf-8"))
    return [crystal for source in content["sources"] for crystal in _of_source(source)]


def _of_source(source: dict[str, Any]) -> Iterator[Crystal]:
    """The crystals of a source, which has volumes and bulk moduli of primitive cells, or lattice constants."""
    for formula, lattice, size, *moduli in source["crystals"]:
        volume = size if moduli else _primitive(formula, lattice, size).get_volume()
        atoms = _primitive(formula, lattice, 1.0)
        atoms.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
        yield Crystal(
            name=formula,
            atoms=atoms,
            volume=volume / len(atoms),
            bulk_modulus=moduli[0] / units.GPa if moduli else None,
            source=f"{source['citation']}; {source['name']}",
        )


def _primitive(formula: str, lattice: str, a: float) -> Atoms:
    """The primitive cell; the atom that occurs once comes first in fluorite."""
    symbols = Atoms(formula).symbols
    singles = sorted(set(symbols), key=lambda symbol: list(symbols).count(symbol))
    name = f"{singles[0]}{singles[1]}2" if lattice == "fluorite" else formula
    return bulk(name, lattice, a=a)
