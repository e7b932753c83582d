"""Write ``answers.json``: what simple-dftd3 gives for rattled molecules, a slab and crystals, in atomic units.

Run in an environment of its own: ``pip install dftd3==1.7.0 tomlkit ase numpy``.
"""

import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.units import Bohr
from dftd3.interface import DispersionModel, RationalDampingParam, ZeroDampingParam

DAMPINGS = {"bj": RationalDampingParam, "zero": ZeroDampingParam}

#: Functional, damping, three-body term, and cutoffs of pairs, coordination numbers and triples in Bohr.
CASES = [
    ("pbe", "bj", False, None),
    ("pbe", "zero", False, None),
    ("b3lyp", "bj", False, None),
    ("revpbe", "zero", False, None),
    ("pbe", "bj", True, None),
    ("tpss", "zero", True, None),
    ("pbe", "bj", False, (94.868, 40.0, 40.0)),
]


def structures():
    rng = np.random.default_rng(7)
    octahedron = [[0, 0, 0], [2, 0, 0], [-2, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 2], [0, 0, -2]]
    near = molecule("C6H6")
    near.translate([0.3, -0.2, 3.5])
    waters = [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], [2.7, 0.1, 0.2], [3.3, 0.8, 0.1], [3.1, -0.7, 0.4]]
    slab = fcc111("Pt", (1, 1, 3), vacuum=6.0, periodic=False)
    slab.pbc = [True, True, False]
    found = {
        "water": molecule("H2O"),
        "benzene dimer": molecule("C6H6") + near,
        "uranium hexafluoride": Atoms("UF6", octahedron),
        "sodium chloride": bulk("NaCl", "rocksalt", a=5.64),
        "magnesium": bulk("Mg"),
        "gold": bulk("Au"),
        "wet crystal": Atoms("OHHOHH", waters, cell=[[5.2, 0, 0], [0.3, 4.6, 0], [0.2, -0.4, 4.9]], pbc=True),
        "slab": slab,
    }
    for atoms in found.values():
        atoms.rattle(0.04, rng=rng)
    return found


def answer(atoms, functional, damping, atm, cutoffs):
    periodic = {"lattice": atoms.cell.array / Bohr, "periodic": atoms.pbc} if atoms.pbc.any() else {}
    model = DispersionModel(atoms.numbers, atoms.positions / Bohr, **periodic)
    if cutoffs:
        pairs, coordination, triples = cutoffs
        model.set_realspace_cutoff(disp2=pairs, disp3=triples, cn=coordination)
    found = model.get_dispersion(DAMPINGS[damping](method=functional, atm=atm), grad=True)
    return {
        "energy": float(found["energy"]),
        "gradient": found["gradient"].tolist(),
        "virial": found["virial"].tolist() if periodic else None,
    }


def main():
    frames, results = [], []
    for name, atoms in structures().items():
        given = {"symbols": atoms.get_chemical_symbols(), "positions": atoms.positions.tolist()}
        frames.append({"name": name, **given, "cell": atoms.cell.array.tolist(), "pbc": atoms.pbc.tolist()})
        for case in CASES:
            told = dict(zip(("functional", "damping", "atm", "cutoffs"), case, strict=True))
            results.append({"frame": name, **told, **answer(atoms, *case)})
    Path(__file__).with_name("answers.json").write_text(
        json.dumps({"made": "dftd3 1.7.0, atomic units", "frames": frames, "results": results}) + "\n"
    )


if __name__ == "__main__":
    main()
