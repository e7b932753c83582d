"""Make ``lennard-jones-argon`` from the parameters of A. Rahman, Phys. Rev. 136, A405 (1964).

Run ``python -m halocline.zoo.recipes.lennard_jones_argon FILE``; it prints the size and the SHA-256 for the index.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from halocline.checkpoint import Checkpoint, save_checkpoint
from halocline.cli.output import emit

#: Rahman's ε/k_B, K.
WELL_DEPTH = 120.0
#: Rahman's σ, Å.
SIGMA = 3.4
#: Å; the usual 2.5 σ. Rahman used 2.25 σ.
CUTOFF = 8.5
#: Of σ: nearer than atoms of liquid or solid come, where 1/r¹² is steeper than argon is. A pair has 43 ε there.
NEAREST = 0.8
#: Boltzmann's constant, eV/K: exact since the SI of 2019.
BOLTZMANN = 1.380649e-23 / 1.602176634e-19

ARGON = Checkpoint(
    backbone="lennard-jones",
    config={"species": ["Ar"], "epsilon": [WELL_DEPTH * BOLTZMANN], "sigma": [SIGMA], "cutoff": CUTOFF},
    tensors={},
    reference_energies={"Ar": 0.0},
    card={
        "name": "lennard-jones-argon",
        "summary": "Liquid and solid argon with the Lennard-Jones potential of Rahman (1964).",
        "level_of_theory": "empirical pair potential: ε/k_B = 120 K, σ = 3.4 Å",
        "training_data": "none: parameters from the literature",
        "citation": ["A. Rahman, Phys. Rev. 136, A405 (1964), doi:10.1103/PhysRev.136.A405"],
        "licence": {"code": "Apache-2.0", "weights": "Apache-2.0"},
        "units": {"length": "Å", "energy": "eV"},
        "shortest_distances": {"Ar-Ar": round(NEAREST * SIGMA, 4)},
        "notes": "Cut off smoothly at 8.5 Å; Rahman truncated the energy at 7.65 Å. There was no training: the "
        "shortest distance is 0.8 σ.",
    },
)


def main() -> None:
    """Write the checkpoint and print what pins it."""
    parser = argparse.ArgumentParser(description="Make lennard-jones-argon.")
    parser.add_argument("file", type=Path, help="where to write it")
    path: Path = parser.parse_args().file
    save_checkpoint(path, ARGON)
    data = path.read_bytes()
    emit(f'size = {len(data)}\nsha256 = "{hashlib.sha256(data).hexdigest()}"')


if __name__ == "__main__":
    main()
