"""Integrators of owned atoms: ASE's trajectories, and what statistical mechanics says of Langevin's."""

import math

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms

from halocline.backends.ddp.resident.counter_random import common_noise, normals
from halocline.backends.ddp.resident.ensembles import build_integrator
from halocline.backends.ddp.resident.integration import Held, kinetic_energy
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.dynamics import Settings, integrators

#: Å and √(amu·eV) after the steps below: both round, and otherwise do the same. Where atoms are fixed, ASE finds
#: momenta from differences of positions, which adds 1e-14 Å · m / Δt = 1e-12 √(amu·eV) in each of 40 steps.
ROUNDING, OF_DIFFERENCES = 1e-11, 1e-10

FIXED = [0, 3, 17]

STEPS, SEED = 40, 11


class Noise:
    """The generator that ASE's thermostat asks, which answers as ours does at each step."""

    def __init__(self, free):
        self._free, self.step = free, -1

    def standard_normal(self):
        self.step += 1
        return common_noise(SEED, self.step, self._free - 1)[0]

    def standard_gamma(self, shape):
        assert shape == 0.5 * (self._free - 1)
        return 0.5 * common_noise(SEED, self.step, self._free - 1)[1]

    def normal(self, size):
        self.step += 1
        return normals(SEED, self.step, np.arange(size[0]))


def start(settings, fixed):
    atoms = bulk("Ar", "fcc", 5.3, cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=1)
    if fixed:
        atoms.set_constraint(FixAtoms(fixed))
    return integrators.prepare(atoms, settings, np.random.default_rng(2))


@pytest.mark.parametrize("fixed", [[], FIXED], ids=["all move", "some are fixed"])
@pytest.mark.parametrize(
    ("name", "final"), [("nve", None), ("bussi", None), ("bussi", 90.0), ("langevin", None), ("langevin", 90.0)]
)
def test_trajectories_are_those_of_ase(name, final, fixed):
    ensemble = {"ensemble": "nve"} if name == "nve" else {"ensemble": "nvt", "thermostat": name}
    ramp = {} if final is None else {"final_temperature": final, "ramp_steps": 2 * STEPS}
    settings = Settings(temperature=60.0, timestep=5.0, seed=SEED, **ensemble, **ramp)
    atoms = start(settings, fixed)
    free = atoms.get_number_of_degrees_of_freedom()
    mine, calculator = atoms.copy(), LennardJones(sigma=3.4, epsilon=0.0104, rc=5.2, smooth=True)

    def evaluate(held):
        moved = Atoms(mine.numbers, held.positions, cell=mine.cell, pbc=True)
        return Held(held, calculator.get_forces(moved))

    held, ours = (
        evaluate(OwnedAtoms.of(mine, np.arange(len(mine)))),
        build_integrator(settings, free, lambda one: one, np.empty(0)),
    )
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=5.2, smooth=True)
    theirs = integrators.build(atoms, settings, np.random.default_rng(0))
    theirs.rng = Noise(free)
    for step in range(STEPS):
        integrators.set_bath_temperature(theirs, settings.bath_temperature(step))
        integrators.step(theirs, None)
        held = ours.step(held, step, evaluate)
    within = OF_DIFFERENCES if fixed else ROUNDING
    np.testing.assert_allclose(held.atoms.positions, atoms.positions, rtol=0, atol=within)
    np.testing.assert_allclose(held.atoms.momenta, atoms.get_momenta(), rtol=0, atol=within)
    assert kinetic_energy(held.atoms) == pytest.approx(atoms.get_kinetic_energy(), rel=within)


def cloud(count, mass=40.0):
    """Atoms at the origin, at rest."""
    ids = np.arange(count)
    zeros = np.zeros((count, 3))
    fixed = np.zeros(count, bool)
    return OwnedAtoms(ids, np.full(count, 18), np.full(count, mass), zeros.copy(), zeros.copy(), fixed)


def langevin(**changes):
    options = {"temperature": 100.0, "timestep": 20.0, "relaxation_time": 200.0, "seed": 5, **changes}
    settings = Settings(ensemble="nvt", thermostat="langevin", **options)
    return settings, build_integrator(settings, 0, lambda one: one, np.empty(0))


def test_a_langevin_step_is_the_papers_one_number_after_another():
    spring = 0.3
    settings, integrator = langevin(relaxation_time=50.0)
    atoms = cloud(3)
    atoms.positions[:] = np.arange(9).reshape(3, 3) / 9.0
    held, x, p = Held(atoms, -spring * atoms.positions), atoms.positions.tolist(), atoms.momenta.tolist()
    h, mass = settings.timestep * units.fs, 40.0
    c = math.exp(-h / (settings.relaxation_time * units.fs))
    for step in range(4):
        held = integrator.step(held, step, lambda atoms: Held(atoms, -spring * atoms.positions))
        noise = normals(settings.seed, step, atoms.ids)
        for i in range(3):
            for j in range(3):
                p[i][j] += 0.5 * h * -spring * x[i][j]
                x[i][j] += 0.5 * h * p[i][j] / mass
                p[i][j] = c * p[i][j] + math.sqrt((1 - c * c) * mass * units.kB * 100.0) * noise[i][j]
                x[i][j] += 0.5 * h * p[i][j] / mass
                p[i][j] += 0.5 * h * -spring * x[i][j]
    np.testing.assert_allclose(held.atoms.positions, x, rtol=1e-12)
    np.testing.assert_allclose(held.atoms.momenta, p, rtol=1e-12)


def test_harmonic_atoms_have_the_temperature_of_the_bath():
    """BAOAB samples positions of harmonic atoms exactly: <x²> = kT / k at any time step."""
    spring, count = 0.3, 3000
    _, integrator = langevin()
    held = Held(cloud(count), np.zeros((count, 3)))
    for step in range(100):
        held = integrator.step(held, step, lambda atoms: Held(atoms, -spring * atoms.positions))
    numbers = 3 * count
    relative = 4.0 * math.sqrt(2.0 / numbers)  # four deviations of a mean of so many squares
    assert (held.atoms.positions**2).mean() == pytest.approx(units.kB * 100.0 / spring, rel=relative)


def test_free_atoms_diffuse_as_einstein_says():
    """<x²> = 2 (kT τ / m) (t - 3τ/2) from rest, where t is much longer than τ (Uhlenbeck and Ornstein 1930)."""
    settings, integrator = langevin()
    count, steps = 3000, 200
    held = Held(cloud(count), np.zeros((count, 3)))
    for step in range(steps):
        held = integrator.step(held, step, lambda atoms: Held(atoms, np.zeros((count, 3))))
    tau = settings.relaxation_time * units.fs
    time = steps * settings.timestep * units.fs
    expected = 2.0 * units.kB * 100.0 * tau / 40.0 * (time - 1.5 * tau)
    assert (held.atoms.positions**2).mean() == pytest.approx(expected, rel=4.0 * math.sqrt(2.0 / (3 * count)))
    temperature = 2.0 * kinetic_energy(held.atoms) / (3 * count * units.kB)
    assert temperature == pytest.approx(100.0, rel=4.0 * math.sqrt(2.0 / (3 * count)))
