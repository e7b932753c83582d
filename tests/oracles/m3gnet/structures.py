"""Structures on which M3GNet models are compared with their upstream packages; the same ones in every run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, bcc110, bulk, diamond100, fcc111, graphene, molecule, surface
from ase.collections import g2
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from ase.spacegroup import crystal

#: The elements of the universal models: all up to plutonium, but five.
ELEMENTS = tuple(s for s in chemical_symbols[1:95] if s not in {"Po", "At", "Rn", "Fr", "Ra"})

#: Elements whose crystals ASE knows, by lattice.
_CUBIC = ["Cu", "Fe", "Si", "W", "Al", "Ag", "Pt", "Na", "Ge", "Nb", "Pb", "V"]
_HEXAGONAL = ["Mg", "Ti", "Zn", "Co", "Zr", "Gd"]
_ROCKSALT = {
    "LiF": 4.03,
    "NaCl": 5.64,
    "KBr": 6.6,
    "MgO": 4.21,
    "TiN": 4.24,
    "PbTe": 6.46,
    "UN": 4.89,
    "ThC": 5.34,
}
_ZINCBLENDE = {"GaAs": 5.65, "BN": 3.62, "InSb": 6.48, "CdSe": 6.05, "BeO": 3.8}
_CAESIUM_CHLORIDE = {"CsCl": 4.12, "CsI": 4.57, "NiAl": 2.89}
_PEROVSKITE = {"BaTiO3": 4.02, "SrVO3": 3.84, "KTaO3": 3.99, "EuTiO3": 3.9}
_FLUORITE = {"CaF2": 5.46, "CeO2": 5.41, "UO2": 5.47}
_MOLECULES = ["SiH4", "PH3", "CH3Cl", "SO2", "Li2", "SiF4", "CH3SH", "AlCl3", "BF3", "Cl2"]


def universal() -> dict[str, Atoms]:
    """Crystals, surfaces and molecules in which every element of the universal models occurs."""
    structures = dict(_crystals()) | dict(_surfaces()) | dict(_molecules_in_boxes())
    organics = organic()
    structures |= {name: organics[name] for name in list(organics)[::6]}
    return structures | dict(_remaining_elements(structures))


def organic() -> dict[str, Atoms]:
    """Molecules, free and in boxes, and crystals of hydrogen, carbon, nitrogen and oxygen."""
    names = [name for name in g2.names if set(molecule(name).symbols) <= set("HCNO") and len(molecule(name)) > 1]
    structures = {}
    for seed, name in enumerate(names[::2]):
        structures[f"free {name}"] = _rattled(molecule(name), 0.04, seed)
    for seed, name in enumerate(names[1::8]):
        structures[f"{name} in a box"] = _rattled(_boxed(name, 6.5), 0.04, seed)
    structures["diamond, two atoms"] = bulk("C", "diamond", a=3.567)
    structures["diamond, strained"] = _strained(bulk("C", "diamond", a=3.567, cubic=True), 0.02, seed=1)
    structures["graphite, four atoms"] = bulk("C", "hcp", a=2.46, c=6.71)
    structures["ice-like, small cell"] = _boxed("H2O", 3.1)
    structures["dinitrogen, small cell"] = _boxed("N2", 3.3)
    return structures


def _crystals() -> Iterator[tuple[str, Atoms]]:
    for seed, symbol in enumerate(_CUBIC):
        yield f"{symbol}, one cell", bulk(symbol)
        yield f"{symbol}, strained", _strained(_rattled(bulk(symbol, cubic=True), 0.06, seed), 0.02, seed)
    for seed, symbol in enumerate(_HEXAGONAL):
        yield f"{symbol}, rattled", _rattled(bulk(symbol).repeat((2, 1, 1)), 0.05, seed)
    for lattice, table in (("rocksalt", _ROCKSALT), ("zincblende", _ZINCBLENDE)):
        for seed, (formula, a) in enumerate(table.items()):
            yield f"{formula}, rattled", _rattled(bulk(formula, lattice, a=a, cubic=True), 0.05, seed)
    for seed, (formula, a) in enumerate(_CAESIUM_CHLORIDE.items()):
        yield f"{formula}, strained", _strained(bulk(formula, "cesiumchloride", a=a), 0.02, seed)
    for seed, (formula, a) in enumerate(_PEROVSKITE.items()):
        yield f"{formula}, rattled", _rattled(perovskite(formula, a), 0.05, seed)
    for seed, (formula, a) in enumerate(_FLUORITE.items()):
        yield f"{formula}, rattled", _rattled(bulk(formula, "fluorite", a=a, cubic=True), 0.05, seed)
    yield "ZnO, strained", _strained(bulk("ZnO", "wurtzite", a=3.25, c=5.2), 0.02, seed=3)
    rutile = crystal(
        ["Sn", "O"], [(0, 0, 0), (0.307, 0.307, 0)], spacegroup=136, cellpar=[4.74, 4.74, 3.19, 90, 90, 90]
    )
    yield "SnO2, rattled", _rattled(rutile, 0.05, seed=4)


def _surfaces() -> Iterator[tuple[str, Atoms]]:
    platinum = fcc111("Pt", (2, 2, 3), vacuum=7)
    add_adsorbate(platinum, molecule("CO"), 2.0, "ontop", mol_index=1)
    for name, slab in {
        "CO on Pt(111)": platinum,
        "Fe(110)": bcc110("Fe", (2, 2, 3), vacuum=7),
        "Si(100)": diamond100("Si", (2, 2, 4), vacuum=7),
        "MgO(001)": surface(bulk("MgO", "rocksalt", a=4.21, cubic=True), (0, 0, 1), 2, vacuum=7),
        "graphene": graphene(size=(2, 2, 1), vacuum=7),
    }.items():
        slab.pbc = True  # the upstream packages know periodic and free structures, and nothing between
        yield name, _rattled(slab, 0.03, seed=len(slab))


def _molecules_in_boxes() -> Iterator[tuple[str, Atoms]]:
    for seed, name in enumerate(_MOLECULES):
        yield f"{name} in a box", _rattled(_boxed(name, 11.0), 0.03, seed)


def _remaining_elements(structures: dict[str, Atoms]) -> Iterator[tuple[str, Atoms]]:
    """Two atoms of the rocksalt lattice for every element that does not occur yet, with oxygen or chlorine."""
    known = {symbol for atoms in structures.values() for symbol in atoms.symbols}
    for seed, symbol in enumerate(s for s in ELEMENTS if s not in known):
        partner = ("O", "Cl")[seed % 2]
        bond = max(1.9, covalent_radii[atomic_numbers[symbol]] + covalent_radii[atomic_numbers[partner]])
        yield (
            f"{symbol}{partner}, one cell",
            _strained(bulk(f"{symbol}{partner}", "rocksalt", a=2.04 * bond), 0.02, seed),
        )


def perovskite(formula: str, a: float) -> Atoms:
    """The cubic cell ABO3 of five atoms."""
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    return Atoms(formula, scaled_positions=places, cell=[a, a, a], pbc=True)


def _boxed(name: str, side: float) -> Atoms:
    atoms = molecule(name)
    atoms.set_cell([side, 1.04 * side, 1.09 * side])
    atoms.center()
    atoms.pbc = True
    return atoms


def _rattled(atoms: Atoms, size: float, seed: int) -> Atoms:
    atoms.rattle(size, seed=seed)
    return atoms


def _strained(atoms: Atoms, size: float, seed: int) -> Atoms:
    strain = np.random.default_rng(seed).normal(0.0, size, (3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    return atoms
