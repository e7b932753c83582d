"""Langevin steps of our own are ASE's, to the bit."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.velocitydistribution import thermalize_momenta

from halocline.dynamics.langevin import Langevin
from halocline.dynamics.moving_atoms import MovingAtoms

BAROSTAT = {"externalstress": -0.1 * units.GPa, "P_tau": 100.0, "P_mass": 1e4}


def moved(kind, *, fixed=(), without_momenta=False, steps=12, **options):
    """Positions, momenta and cell, and the next random number, after some steps that heat up."""
    atoms = MovingAtoms.of(bulk("Cu", cubic=True) * (2, 2, 1))
    atoms.numbers[::3] = 79
    rng = np.random.default_rng(3)
    if not without_momenta:
        thermalize_momenta(atoms, 200.0, rng=rng)
    atoms.set_constraint([FixAtoms(list(fixed))] if fixed else [])
    atoms.calc = EMT()
    integrator = kind(atoms, 2.0 * units.fs, temperature_K=300.0, hydrostatic=True, T_tau=50.0, rng=rng, **options)
    for number in range(steps):
        integrator.set_temperature(300.0 + number)
        integrator.step()
    return [
        each.tobytes() for each in (atoms.positions, atoms.get_momenta(), atoms.cell.array, rng.normal(size=3))
    ]


@pytest.mark.filterwarnings("ignore:.*LangevinBAOAB has not been tested with constraints")
@pytest.mark.parametrize(
    "options",
    [{}, {"fixed": (0, 3)}, {"without_momenta": True}, BAROSTAT],
    ids=["free", "fixed", "at rest", "barostat"],
)
def test_every_step_is_that_of_ase(options):
    assert moved(Langevin, **options) == moved(LangevinBAOAB, **options)


def test_without_a_temperature_only_forces_move(monkeypatch):
    """Friction of zero, which ASE's constructor knows only without a bath."""
    for kind in (Langevin, LangevinBAOAB):
        monkeypatch.setattr(
            kind, "set_temperature", lambda self, kelvin, from_init=False: setattr(self, "gamma", 0.0)
        )
    assert moved(Langevin) == moved(LangevinBAOAB)
