"""The ensembles are what they are called; every check has an analytic answer."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes

from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.dynamics.records import read_log

SIGMAS = 4.0  # standard errors that a mean may be off; seeds are fixed, so this is no coin toss


class Springs(Calculator):
    """Every atom on a spring of its own, k = 1 eV/Å², or free (k = 0): equipartition is exact."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, anchors, stiffness):
        super().__init__()
        self.anchors, self.stiffness = anchors, stiffness

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        stretch = atoms.positions - self.anchors
        self.results = {
            "energy": 0.5 * self.stiffness * float((stretch**2).sum()),
            "forces": -self.stiffness * stretch,
            "stress": np.zeros(6),
        }


def run(prefix, atoms, calculator, steps, **options):
    run_dynamics(atoms, calculator, Settings(**options), RunFiles(prefix), steps=steps, checkpoint_interval=steps)
    return read_log(RunFiles(prefix).log)


def standard_error(values, blocks=20):
    """Of the mean of a correlated series, from means over blocks."""
    means = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(axis=1)
    return means.std(ddof=1) / np.sqrt(blocks)


def energy_error(argon, prefix, timestep, duration=1000.0):
    """Largest deviation of the total energy from its mean over a nve run of argon."""
    settings = argon.settings("nve", timestep=timestep, frame_interval=1000)
    run_dynamics(argon.crystal(), argon.Argon(), settings, RunFiles(prefix), steps=round(duration / timestep))
    total = read_log(RunFiles(prefix).log)["total_eV"]
    return np.abs(total - total.mean()).max()


def test_nve_energy_error_falls_as_timestep_squared(argon, tmp_path):
    """Velocity Verlet is of second order: half the step, a quarter of the error."""
    ratio = energy_error(argon, tmp_path / "long", 20.0) / energy_error(argon, tmp_path / "short", 10.0)
    assert 3.5 < ratio < 4.5


def test_nve_keeps_momentum_and_counts_its_degrees_of_freedom(argon, tmp_path):
    log = run(tmp_path / "run", argon.crystal(), argon.Argon(), 5, ensemble="nve", temperature=60.0, timestep=5.0)
    free = 3 * len(argon.crystal()) - 3
    np.testing.assert_allclose(log["temperature_K"], 2 * log["kinetic_eV"] / free / units.kB, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("thermostat", ["langevin", "bussi"])
def test_thermostats_sample_the_canonical_ensemble(tmp_path, thermostat):
    """Means of kinetic and potential energy, and the spread of the kinetic energy, are those of Boltzmann."""
    anchors = np.random.default_rng(1).uniform(0, 20, (32, 3))
    log = run(
        tmp_path / "run",
        Atoms("Ar32", positions=anchors),
        Springs(anchors, 1.0),
        8_000,
        ensemble="nvt",
        thermostat=thermostat,
        temperature=300.0,
        timestep=2.0,
        relaxation_time=50.0,
        frame_interval=8_000,
    )
    kinetic, potential = log["kinetic_eV"][1000:], log["potential_eV"][1000:]
    free = 3 * len(anchors) - (3 if thermostat == "bussi" else 0)
    mean = 0.5 * free * units.kB * 300.0
    assert abs(kinetic.mean() - mean) < SIGMAS * standard_error(kinetic)
    variance = (kinetic - mean) ** 2
    assert abs(variance.mean() - mean**2 * 2 / free) < SIGMAS * standard_error(variance)
    if thermostat == "langevin":  # rescaling alone cannot mix uncoupled springs
        assert abs(potential.mean() - mean) < SIGMAS * standard_error(potential)


@pytest.mark.slow
def test_npt_holds_an_ideal_gas_at_its_pressure(tmp_path):
    """P<V> = (N + 1) kT, and the volume fluctuates by <V> / sqrt(N + 1)."""
    count, temperature, pressure = 50, 300.0, 0.1
    volume = (count + 1) * units.kB * temperature / (pressure * units.GPa)
    edge = volume ** (1 / 3)
    positions = np.random.default_rng(2).uniform(0, edge, (count, 3))
    log = run(
        tmp_path / "run",
        Atoms(f"Ar{count}", positions=positions, cell=[edge] * 3, pbc=True),
        Springs(positions, 0.0),
        8_000,
        ensemble="npt",
        temperature=temperature,
        pressure=pressure,
        timestep=2.0,
        relaxation_time=50.0,
        barostat_time=100.0,
        frame_interval=8_000,
    )
    volumes, pressures = log["volume_A3"][1000:], log["pressure_GPa"][1000:]
    assert abs(volumes.mean() - volume) < SIGMAS * standard_error(volumes)
    assert abs(pressures.mean() - pressure) < SIGMAS * standard_error(pressures)
    spread = (volumes - volume) ** 2
    assert abs(spread.mean() - volume**2 / (count + 1)) < SIGMAS * standard_error(spread)
