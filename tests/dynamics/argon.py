"""Solid argon with an ASE potential, as fixtures and as a program that tests can kill.

python argon.py PREFIX ENSEMBLE STEPS [--resume]
"""

import sys
import time
from pathlib import Path

from ase.build import bulk
from ase.calculators.lj import LennardJones

from halocline.dynamics import RunFiles, Settings, run_dynamics

ENSEMBLES = {
    "nve": {"ensemble": "nve"},
    "langevin": {"ensemble": "nvt", "thermostat": "langevin"},
    "bussi": {"ensemble": "nvt", "thermostat": "bussi"},
    "npt": {"ensemble": "npt", "pressure": 0.1, "barostat_time": 200.0},
}
CHECKPOINT_INTERVAL = 7


class Argon(LennardJones):
    """ASE's Lennard-Jones, whose neighbour list would otherwise remember the past in the order of its sums."""

    def __init__(self):
        super().__init__(sigma=3.4, epsilon=0.0104, rc=5.2, smooth=True)

    def calculate(self, *args, **kwargs):
        self.nl = None
        super().calculate(*args, **kwargs)


def crystal():
    """32 atoms, large enough for every ensemble."""
    return bulk("Ar", "fcc", 5.3, cubic=True) * (2, 2, 2)


def settings(name, **changes):
    return Settings(**{"temperature": 60.0, "timestep": 5.0, "frame_interval": 3, **ENSEMBLES[name], **changes})


def run(prefix, name, steps, **options):
    options = {"checkpoint_interval": CHECKPOINT_INTERVAL, **options}
    return run_dynamics(crystal(), Argon(), settings(name), RunFiles(Path(prefix)), steps=steps, **options)


if __name__ == "__main__":
    # Slow steps: the test must be able to kill in the middle of them.
    run(
        sys.argv[1],
        sys.argv[2],
        int(sys.argv[3]),
        resume="--resume" in sys.argv,
        on_step=lambda _: time.sleep(0.01),
    )
