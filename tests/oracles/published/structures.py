"""Structures of the comparison with published models, for every environment; ASE and NumPy alone.

Drawn from seeds in the order below, which is part of what they are.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bcc110, bulk, fcc111, molecule
from ase.symbols import string2symbols
from numpy.typing import NDArray

_FCC = ["Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt", "Rh", "Ir", "Pb", "Ca", "Sr", "Ce", "Yb", "Th"]
_BCC = ["Li", "Na", "K", "V", "Cr", "Fe", "Nb", "Mo", "Ta", "W", "Ba"]
_HCP = ["Mg", "Ti", "Zr", "Co", "Zn", "Y", "Hf", "Re", "Ru"]
_COMPOUNDS = (
    ("NaCl", "rocksalt", 5.64),
    ("MgO", "rocksalt", 4.21),
    ("LiF", "rocksalt", 4.03),
    ("CsCl", "cesiumchloride", 4.12),
    ("GaAs", "zincblende", 5.65),
    ("InP", "zincblende", 5.87),
    ("ZnS", "zincblende", 5.41),
    ("UN", "rocksalt", 4.89),
    ("LaN", "rocksalt", 5.3),
)
_MOLECULES = ["H2O", "CH3CH2OH", "NH3", "SiH4", "PH3", "SH2", "BF3", "CCl4", "CH3Cl", "C6H6"]

_ELEMENTS = string2symbols("LiNaKRbCsMgCaSrBaAlSiGeSnPbCTiZrHfVNbTaCrMoWFeCoNiCuAgAuZnCdPdPtRhIrRuOsReTcScYBeTh")
_SALTS = {"NaCl": 5.6, "MgO": 4.2, "LiF": 4.0, "FeO": 4.3, "MnO": 4.4}
#: Of elements that have no angles in their own crystals.
_WITH_ANGLES = (("CaF2", "fluorite", 5.46), ("ScN", "rocksalt", 4.5))


def wide() -> dict[str, Atoms]:
    """69 structures for SevenNet and Nequix."""
    rng = np.random.default_rng(7)
    found = {f"{s}-fcc": _moved(rng, bulk(s, cubic=True), 0.08, 0.02) for s in _FCC}
    found |= {f"{s}-bcc": _moved(rng, bulk(s, cubic=True).repeat((2, 1, 1)), 0.08, 0.02) for s in _BCC}
    found |= {f"{s}-hcp": _moved(rng, bulk(s).repeat((2, 1, 1)), 0.06, 0.02) for s in _HCP}
    found |= {f"{s}-dia": _moved(rng, bulk(s, cubic=True), 0.08, 0.02) for s in ("Si", "Ge")}
    found["C-dia"] = _moved(rng, bulk("C"), 0.05)
    for name, kind, a in _COMPOUNDS:
        found[name] = _moved(rng, bulk(name, kind, a=a, cubic=kind != "cesiumchloride"), 0.07, 0.01)
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    perovskite = Atoms("BaTiO3", scaled_positions=places, cell=[4.0] * 3, pbc=True)
    found["BaTiO3"] = _moved(rng, perovskite.repeat((2, 1, 1)), 0.08)
    found["Cu-slab"] = _moved(rng, fcc111("Cu", (2, 2, 3), vacuum=6.0), 0.05)
    found["Fe-slab"] = _moved(rng, bcc110("Fe", (2, 1, 3), vacuum=6.0), 0.05)
    for name in _MOLECULES:
        alone = molecule(name)
        alone.set_cell([14.0] * 3)
        alone.center()
        found[name] = _moved(rng, alone, 0.05)
    for s in ("He", "O", "Br", "Xe"):
        found[f"{s}-atom"] = Atoms(s, positions=[(5, 5, 5)], cell=[12.0] * 3)
    found["Si-small"] = _moved(rng, bulk("Si"), 0.03)
    found["Cu-one"] = bulk("Cu")
    found["Hg-small"] = Atoms("Hg", cell=[[3.0, 0, 0], [0.4, 3.1, 0], [0.2, 0.3, 2.9]])
    found["I2-pair"] = Atoms("I2", positions=[(5, 5, 5), (5.3, 6.1, 7.4)], cell=[13.0] * 3)
    corners = np.array([(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)])
    found["Bi-Te-Se"] = Atoms("BiTeSeSb", scaled_positions=rng.random((4, 3)) * 0.15 + corners, cell=[6.0] * 3)
    return {name: _periodic(atoms) for name, atoms in found.items()}


def _moved(rng: np.random.Generator, atoms: Atoms, rattle: float, strain: float = 0.0) -> Atoms:
    """Strained by deviations of ``strain``, then rattled by such of ``rattle`` Å."""
    if strain:
        deformation: NDArray[np.float64] = np.eye(3) + strain * rng.standard_normal((3, 3))
        atoms.set_cell(atoms.cell @ deformation, scale_atoms=True)
    atoms.positions += rattle * rng.standard_normal(atoms.positions.shape)
    return atoms


def for_chgnet() -> dict[str, Atoms]:
    """60 structures for CHGNet."""
    random, found = np.random.RandomState(3), {}
    for seed, s in enumerate(_ELEMENTS):
        atoms = bulk("Sn", "diamond", 6.49) if s == "Sn" else bulk(s)
        atoms.rattle(0.05, seed=seed)
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.02 * random.randn(3, 3)), scale_atoms=True)
        found[s] = atoms
    found["Si8"] = bulk("Si", "diamond", 5.43, cubic=True)
    found["Si8"].rattle(0.1, seed=2)
    for name, a in _SALTS.items():
        found[name] = bulk(name, "rocksalt", a, cubic=True)
        found[name].rattle(0.08, seed=5)
    found["Cu slab"] = fcc111("Cu", (2, 2, 3), vacuum=8)
    found["Cu slab"].rattle(0.05, seed=1)
    for name in ("H2O", "CH3CH2OH", "NH3", "SO2", "CH3Cl", "SiF4"):
        found[f"box {name}"] = molecule(name)
        found[f"box {name}"].center(vacuum=7)
    found["isolated Fe2"] = Atoms("Fe2", [(0, 0, 0), (20, 0, 0)], cell=[40, 20, 20])
    for name, kind, a in _WITH_ANGLES:
        found[name] = bulk(name, kind, a, cubic=True)
        found[name].rattle(0.08, seed=5)
    return {name: _periodic(atoms) for name, atoms in found.items()}


def _periodic(atoms: Atoms) -> Atoms:
    """In three directions, and without the moments that ASE begins with."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
