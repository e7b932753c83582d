"""Times MatGL; run by the interpreter of an environment with MatGL in it, which needs nothing of ours.

Reads structures from standard input, one JSON object a line, and writes the processor seconds that energy, forces
and stress of each took, as a line ``seconds NUMBER``. The argument is the folder of a potential.
"""

from __future__ import annotations

import json
import sys
import time

import matgl
from ase import Atoms
from matgl.ext.ase import PESCalculator


def main() -> None:
    """Answer until the input ends."""
    potential = matgl.load_model(sys.argv[1])
    potential.calc_stresses = True
    calculator = PESCalculator(potential, stress_unit="eV/A3")
    for line in sys.stdin:
        atoms = Atoms(**json.loads(line), pbc=True)
        started = time.process_time()
        calculator.calculate(atoms)
        print("seconds", time.process_time() - started, flush=True)


if __name__ == "__main__":
    main()
