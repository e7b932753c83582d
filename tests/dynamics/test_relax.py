"""Relaxation ends in a minimum, says when it does not, and keeps its steps."""

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.constraints import FixAtoms
from ase.io import read, write

from halocline.cli.main import main
from halocline.dynamics import Settings
from halocline.dynamics.goal import OPTIMISERS, Goal
from halocline.dynamics.records import read_log
from halocline.dynamics.relaxation import RELAXATION_COLUMNS, relax
from halocline.errors import DynamicsError, StructureError, UsageError

MODEL = ["-m", "lennard-jones-argon", "--dtype", "float64"]


def relaxed(atoms, calculator, tmp_path, **goal):
    return relax(atoms, calculator, Goal(**goal), path=tmp_path / "steps.extxyz", log=tmp_path / "log.csv")


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_optimiser_finds_the_crystal(argon, tmp_path, optimiser):
    atoms = argon.crystal()
    atoms.rattle(0.05, seed=5)
    end, last = relaxed(atoms, argon.Argon(), tmp_path, optimiser=optimiser, fmax=1e-3)
    assert last.converged
    assert np.linalg.norm(end.get_forces(), axis=1).max() < 1e-3
    log = read_log(tmp_path / "log.csv", RELAXATION_COLUMNS)
    assert log["step"].tolist() == list(range(last.step + 1))
    assert log["energy_eV"][-1] < log["energy_eV"][0]
    assert len(read(tmp_path / "steps.extxyz", ":")) == last.step + 1


@pytest.mark.parametrize("pressure", [0.0, 0.5])
def test_cell_reaches_its_pressure(argon, tmp_path, pressure):
    fmax = 1e-4
    end, last = relaxed(argon.crystal(), argon.Argon(), tmp_path, cell=True, pressure=pressure, fmax=fmax)
    assert last.converged
    # The criterion bounds V (p - p0) / N by fmax.
    assert abs(last.pressure - pressure) < fmax * len(end) / end.get_volume() / units.GPa


def test_fixed_atoms_stay_and_the_start_is_not_changed(argon, tmp_path):
    atoms = argon.crystal()
    atoms.rattle(0.05, seed=5)
    atoms.set_constraint(FixAtoms([0]))
    before = atoms.positions.copy()
    end, _ = relaxed(atoms, argon.Argon(), tmp_path, fmax=1e-2)
    np.testing.assert_array_equal(end.positions[0], before[0])
    np.testing.assert_array_equal(atoms.positions, before)


def test_failing_calculator_stops_and_keeps_its_steps(argon, tmp_path):
    atoms = argon.crystal()
    atoms.rattle(0.05, seed=5)
    calculator = argon.Argon()
    calculate, calls = calculator.calculate, []

    def fail_at_fourth(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("out of memory")
        calculate(*args, **kwargs)

    calculator.calculate = fail_at_fourth
    with pytest.raises(DynamicsError, match="RuntimeError: out of memory"):
        relaxed(atoms, calculator, tmp_path, fmax=1e-6)
    assert len(read(tmp_path / "steps.extxyz", ":")) == 3


def test_goals_that_mean_nothing_are_refused(argon, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'fire'"):
        Goal(optimiser="fired")
    with pytest.raises(UsageError, match="fmax"):
        Goal(fmax=0.0)
    with pytest.raises(UsageError, match="--cell"):
        Goal(pressure=1.0)
    with pytest.raises(StructureError, match="periodic in all three"):
        relaxed(Atoms("Ar2", positions=[(0, 0, 0), (0, 0, 4)]), argon.Argon(), tmp_path, cell=True)


def test_command_writes_the_relaxed_dimer(tmp_path, monkeypatch, capsys):
    """The minimum of the pair potential is known: r = 2^(1/6) σ, but for the smooth cutoff's last digits."""
    monkeypatch.chdir(tmp_path)
    write("dimer.xyz", Atoms("Ar2", positions=[(0, 0, 0), (0, 0, 4.2)]))
    assert main(["relax", "dimer.xyz", *MODEL, "--fmax", "1e-5", "--json", "--plot", "--max-steps", "200"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["converged"]
    assert read(result["structure"]).get_distance(0, 1) == pytest.approx(2 ** (1 / 6) * 3.4, abs=0.02)
    assert (tmp_path / result["plot"]).exists()
    assert main(["relax", "dimer.xyz", *MODEL]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["relax", "dimer.xyz", *MODEL, "--fmax", "1e-5", "--max-steps", "1", "--overwrite"]) == 1
    printed = capsys.readouterr()
    assert "not converged after 1 steps" in printed.err
    assert len(read("relaxed-steps.extxyz", ":")) == 2
    assert (tmp_path / "relaxed.extxyz").exists()


def test_hydrostatic_cells_keep_their_shape(argon, tmp_path):
    atoms = argon.crystal()
    atoms.set_cell(atoms.cell * [[1.0], [1.02], [0.97]], scale_atoms=True)
    end, last = relaxed(atoms, argon.Argon(), tmp_path, cell=True, hydrostatic=True, pressure=0.3, fmax=1e-4)
    assert last.converged
    assert last.pressure == pytest.approx(0.3, abs=1e-4 * len(end) / end.get_volume() / units.GPa)
    shape = end.cell.array @ np.linalg.inv(atoms.cell.array)
    np.testing.assert_allclose(shape, shape[0, 0] * np.eye(3), atol=1e-10)
    assert abs(shape[0, 0] - 1.0) > 1e-3


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Goal, {"cell": "False"}),
        (Goal, {"fmax": "0.1"}),
        (Goal, {"max_steps": 2.5}),
        (Settings, {"frame_interval": 2.5}),
        (Settings, {"seed": True}),
        (Settings, {"temperature": "300"}),
        (Settings, {"ensemble": None}),
        (Settings, {"ramp_steps": 1.5, "final_temperature": 3.0}),
    ],
)
def test_values_of_another_type_are_refused(kind, wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong)).replace('_', ' ')} must be"):
        kind(**wrong)


def test_numbers_of_numpy_are_numbers():
    settings = Settings(temperature=np.float32(250.0), seed=np.int64(3), timestep=1)
    assert (type(settings.temperature), type(settings.seed), settings.timestep) == (float, int, 1.0)
    assert Goal(cell=np.bool_(True)).cell is True
