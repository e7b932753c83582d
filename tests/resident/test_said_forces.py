"""Models that say what forces or virials are, which are then no derivatives: ranks move by what they say."""

import numpy as np
import pytest
from ase.constraints import FixAtoms
from ase.io import read
from structures import random_structure
from thread_residents import ThreadCrew
from told_model import told

from halocline.backends.ddp.model import PortableModel
from halocline.backends.ddp.resident.driver import DdpResidents
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.dynamics.records import read_log
from halocline.dynamics.resident_run import run_resident
from halocline.dynamics.snapshot import load_snapshot
from halocline.errors import UsageError

#: Å and √(amu·eV) after so few steps: ranks only change the order of sums.
SAME = 1e-9

STEPS = 12
SAYS = {"forces": ["forces"], "both": ["forces", "virials"], "virials": ["virials"]}


def structure(pbc=True):
    return random_structure(0, symbols=("H", "O"), atoms=24, pbc=pbc, edge=(6.0, 8.0))


@pytest.fixture
def model(request, monkeypatch):
    chosen = told(told=[], says=SAYS[request.param])
    monkeypatch.setattr(PortableModel, "build", lambda portable: chosen.backbone)  # it is no plugin's
    return chosen


def settings(ensemble, **changes):
    options = {"temperature": 300.0, "timestep": 0.25, "frame_interval": 3, "log_interval": 1, "seed": 4}
    return Settings(ensemble=ensemble, **options | changes)


def run(prefix, model, ensemble="nve", ranks=3, atoms=None, exchange=False, thermostat="langevin", **given):
    crew = ThreadCrew(model.backbone, ranks)
    here = DdpResidents(lambda: crew, ranks, exchange=exchange)
    options = {"steps": STEPS, "minimum_distance": 0.0, "direct_forces": True} | given
    baths = {"thermostat": thermostat} if ensemble == "nvt" else {}
    files, start = RunFiles(prefix), structure() if atoms is None else atoms
    run_resident(start, model, here, settings(ensemble, **baths), files, **options)
    return load_snapshot(files.checkpoint), read_log(files.log), read(f"{prefix}.extxyz", ":")


@pytest.mark.parametrize("model", SAYS, indirect=True)
@pytest.mark.parametrize("exchange", [False, True])
@pytest.mark.parametrize("pbc", [True, False])
def test_nve_is_the_trajectory_of_ase(tmp_path, model, exchange, pbc):
    found, log, frames = run(tmp_path / "ranks", model, exchange=exchange, atoms=structure(pbc))
    files, calculator = RunFiles(tmp_path / "ase"), model.calculator(dtype="float64", device="cpu")
    options = {"steps": STEPS, "minimum_distance": 0.0, "direct_forces": True}
    run_dynamics(structure(pbc), calculator, settings("nve"), files, **options)
    expected, other = load_snapshot(files.checkpoint), read_log(files.log)
    np.testing.assert_allclose(found.positions, expected.positions, rtol=0, atol=SAME)
    np.testing.assert_allclose(found.momenta, expected.momenta, rtol=0, atol=SAME)
    for name in log:
        np.testing.assert_allclose(log[name], other[name], rtol=1e3 * SAME, atol=1e3 * SAME)
    for frame, another in zip(frames, read(tmp_path / "ase.extxyz", ":"), strict=True):
        assert frame.calc.results.keys() == another.calc.results.keys()
        for name, values in frame.calc.results.items():
            np.testing.assert_allclose(values, another.calc.results[name], rtol=0, atol=2e-8)  # eight decimals
    has_stress = pbc and ("virials" in map(str, model.backbone.outputs) or model.backbone.derives_forces)
    assert ("stress" in frames[0].calc.results) == has_stress
    assert np.isfinite(log["pressure_GPa"]).all() == has_stress


@pytest.mark.parametrize("model", ["forces"], indirect=True)
def test_fixed_atoms_let_the_centre_move_as_with_ase(tmp_path, model):
    atoms = structure()
    atoms.set_constraint(FixAtoms([0, 5, 11]))
    found, *_ = run(tmp_path / "ranks", model, atoms=atoms)
    files, calculator = RunFiles(tmp_path / "ase"), model.calculator(dtype="float64", device="cpu")
    options = {"steps": STEPS, "minimum_distance": 0.0, "direct_forces": True}
    run_dynamics(atoms, calculator, settings("nve"), files, **options)
    np.testing.assert_allclose(found.positions, load_snapshot(files.checkpoint).positions, rtol=0, atol=SAME)
    np.testing.assert_array_equal(found.positions[[0, 5, 11]], atoms.positions[[0, 5, 11]])
    assert np.abs(found.momenta.sum(axis=0)).max() > 1e-3


@pytest.mark.parametrize("model", ["forces"], indirect=True)
@pytest.mark.parametrize("ranks", [1, 3])
def test_a_thermostat_that_keeps_the_centre_still_does_so_and_restarts_to_the_bit(tmp_path, model, ranks):
    options = {"ensemble": "nvt", "ranks": ranks, "thermostat": "bussi"}
    straight, _, frames = run(tmp_path / "straight", model, **options)
    assert np.linalg.norm(frames[-1].get_forces().sum(axis=0)) > 0.1  # eV/Å: they do not add up to nothing
    np.testing.assert_allclose(straight.momenta.sum(axis=0), 0.0, atol=1e-11)  # rounding of 12 steps
    run(tmp_path / "halting", model, steps=5, **options)
    resumed, *_ = run(tmp_path / "halting", model, resume=True, **options)
    np.testing.assert_equal((straight.positions, straight.momenta), (resumed.positions, resumed.momenta))


@pytest.mark.parametrize("model", ["both", "virials"], indirect=True)
def test_a_cell_follows_the_virial_that_the_model_says(tmp_path, model):
    one, other = (run(tmp_path / str(ranks), model, "npt", ranks)[0] for ranks in (1, 3))
    np.testing.assert_allclose(one.cell, other.cell, rtol=0, atol=SAME)
    np.testing.assert_allclose(one.positions, other.positions, rtol=0, atol=SAME)


@pytest.mark.parametrize("model", SAYS, indirect=True)
def test_what_makes_no_sense_is_refused(tmp_path, model):
    if not model.backbone.derives_forces:
        with pytest.raises(UsageError, match="no derivatives of its energy, which nve would not keep"):
            run(tmp_path / "run", model, "nve", direct_forces=False)
    if "virials" not in map(str, model.backbone.outputs):
        with pytest.raises(UsageError, match="no stress, which npt needs: choose nvt"):
            run(tmp_path / "run", model, "npt")
    assert not RunFiles(tmp_path / "run").checkpoint.exists()
    run(tmp_path / "run", model, "nvt", direct_forces=False)
