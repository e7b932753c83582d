"""Constant pressure on ranks is ASE's barostat, with the same random numbers."""

import numpy as np
import pytest
from ase.build import bulk
from thread_residents import ThreadCrew

import halocline
from halocline.backends.ddp.resident.counter_random import common_noise, normals
from halocline.backends.ddp.resident.driver import DdpResidents
from halocline.dynamics import RunFiles, Settings, integrators
from halocline.dynamics.records import read_log
from halocline.dynamics.resident_run import run_resident
from halocline.dynamics.snapshot import load_snapshot

#: Å and √(amu·eV) after so many steps: ranks only change the order of sums, and chaos has no time yet.
SAME = 1e-9

STEPS, SEED = 30, 3


class Noise:
    """The generator that ASE's integrator asks, which answers as ours does at each step."""

    step = 0

    def normal(self, size=None):
        if size is not None:
            return normals(SEED, self.step, np.arange(size[0]))
        self.step += 1  # the cell's number is the last of a step
        return common_noise(SEED, self.step - 1, 1.0)[0]


def ase_run(atoms, model, settings):
    """Atoms, volumes and kinetic energies after each step, by ASE."""
    atoms = integrators.prepare(atoms, settings, np.random.default_rng(SEED))
    atoms.calc = model.calculator(dtype="float64", device="cpu")
    integrator, volumes, kinetic = integrators.build(atoms, settings, np.random.default_rng(0)), [], []
    integrator.rng = Noise()
    for step in range(STEPS):
        volumes.append(atoms.get_volume())
        kinetic.append(atoms.get_kinetic_energy())
        integrators.set_bath_temperature(integrator, settings.bath_temperature(step))
        integrators.step(integrator, None)
    return atoms, integrators.get_state(integrator), volumes, kinetic


@pytest.mark.parametrize(
    ("temperature", "pressure", "strained"),
    [(80.0, -0.2, 1.01), (1.0, 3.0, 0.97)],
    ids=["warm and pulled", "cold and squeezed"],
)
def test_it_is_ases_on_ranks_that_change_in_number(tmp_path, temperature, pressure, strained):
    """Where it is cold, hardly anything but strain makes lists old."""
    model = halocline.load("lennard-jones-argon")
    changes = {"final_temperature": 2.0 * temperature, "ramp_steps": 50, "timestep": 6.0}
    # The mass of the barostat goes with the temperature.
    changes["barostat_time"] = 300.0 * (80.0 / temperature) ** 0.5
    settings = Settings(ensemble="npt", temperature=temperature, pressure=pressure, seed=SEED, **changes)
    atoms, files = bulk("Ar", "fcc", 5.4, cubic=True) * (3, 2, 2), RunFiles(tmp_path / "run")
    for ranks, steps in ((3, STEPS // 2), (2, STEPS)):
        crew = ThreadCrew(model.backbone, ranks)
        here = DdpResidents(lambda crew=crew: crew, ranks)
        options = {"minimum_distance": 0.0, "resume": ranks == 2}
        run_resident(atoms, model, here, settings, files, steps=steps, **options)
    expected, state, volumes, kinetic = ase_run(atoms, model, settings)
    found = load_snapshot(files.checkpoint)
    np.testing.assert_allclose(found.cell, expected.cell.array, rtol=0, atol=SAME)
    np.testing.assert_allclose(found.positions, expected.positions, rtol=0, atol=SAME)
    np.testing.assert_allclose(found.momenta, expected.get_momenta(), rtol=0, atol=SAME)
    assert found.integrator == pytest.approx(state, rel=1e-7)
    log = read_log(files.log)
    np.testing.assert_allclose(log["volume_A3"][:-1], volumes, rtol=1e-9)
    np.testing.assert_allclose(log["kinetic_eV"][:-1], kinetic, rtol=1e-7)
    length = found.placing["cell"][0, 0] / atoms.cell.array[0, 0]
    assert length > strained if strained > 1.0 else length < strained, length
