"""Makes a model of mace-torch and times it; run by the interpreter of an environment with mace-torch in it.

The argument is a JSON object: the file to write the model to, its cutoff and numbers of layers and channels,
degree and elements. Structures are read from standard input, one JSON object a line. For each a line ``seconds
NUMBER ENERGY`` is written: what neighbours, energy, forces and stress took of the processor, and the energy in eV.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # e3nn 0.4.4 keeps constants in a pickle

import numpy as np
import torch
from ase import Atoms
from e3nn import o3
from mace import modules
from mace.calculators import MACECalculator


def made(asked: dict) -> torch.nn.Module:
    """A model in the sizes of the foundation models, with random weights."""
    torch.manual_seed(0)
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    degrees = range(asked["degree"] + 1)
    return modules.ScaleShiftMACE(
        r_max=asked["cutoff"],
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=asked["layers"],
        num_elements=len(asked["elements"]),
        hidden_irreps=o3.Irreps("+".join(f"{asked['channels']}x{degree}{'eo'[degree % 2]}" for degree in degrees)),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(asked["elements"])),
        avg_num_neighbors=50.0,
        atomic_numbers=asked["elements"],
        correlation=3,
        gate=torch.nn.functional.silu,
        radial_MLP=[64, 64, 64],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def main() -> None:
    """Answer until the input ends."""
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    model = made(asked)
    torch.save(model, asked["file"])
    calculator = MACECalculator(models=[model], device="cpu", default_dtype="float32")
    for line in sys.stdin:
        atoms = Atoms(**json.loads(line), pbc=True)
        started = time.process_time()
        calculator.calculate(atoms)
        seconds = time.process_time() - started
        print("seconds", seconds, float(calculator.results["energy"]), flush=True)


if __name__ == "__main__":
    main()
