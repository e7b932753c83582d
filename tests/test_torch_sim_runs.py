"""Relaxation and dynamics of all structures of a file by torch-sim: outcomes are those of ASE, and read back."""

import json
import warnings

import numpy as np
import pytest
from ase.build import bulk, make_supercell
from ase.constraints import FixAtoms
from ase.io import read, write
from ase.md.velocitydistribution import thermalize_momenta

import halocline
from halocline.cli.main import main
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.dynamics.goal import Goal
from halocline.dynamics.records import read_log
from halocline.dynamics.relaxation import relax

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # torch-sim scripts functions when it is imported
    torch_sim = pytest.importorskip("torch_sim", reason="torch-sim is not installed")

from halocline.engines.torch_sim import HaloclineModel, dynamics, movers, relaxation
from halocline.errors import StructureError, UsageError

MODEL = ["-m", "lennard-jones-argon", "--dtype", "float64", "--engine", "torch-sim"]

#: eV per atom between minima of two optimisers that end below FMAX: half of F² / k, with k above 0.1 eV/Å².
SAME_MINIMUM = 2e-5
FMAX = 2e-3
#: Å between paths of the same integrator, 40 steps long: rounding, which grows with the motion.
SAME_PATH = 1e-7
#: Of energies and stresses in files, which have eight decimals.
WRITTEN = 1e-8
#: eV per atom within which the energy stays, where 1 meV per atom is exchanged.
DRIFT = 1e-5


def crystals():
    """Cells of 4, 8 and 1 atoms that differ in shape, rattled, with atoms outside of their cells."""
    cube = bulk("Ar", "fcc", a=5.1, cubic=True)
    found = [cube, make_supercell(cube, np.diag([2, 1, 1])), bulk("Ar", "fcc", a=5.4)]
    for number, atoms in enumerate(found):
        atoms.rattle(0.08, seed=number)
        atoms.positions += [-0.2, 0.1, 7.0]
    return found


@pytest.fixture
def potential():
    return halocline.load("lennard-jones-argon")


@pytest.fixture
def model(potential):
    return HaloclineModel(potential, dtype="float64", stress=False, errors="keep")


@pytest.fixture
def start(tmp_path):
    path = tmp_path / "start.extxyz"
    write(path, crystals())
    return path


@pytest.mark.parametrize(
    "options", [[], ["--cell"], ["--cell", "--hydrostatic", "--pressure", "0.3"]], ids=" ".join
)
def test_minima_are_those_of_ase(start, tmp_path, potential, capsys, options):
    out = tmp_path / "relaxed.extxyz"
    arguments = ["relax", str(start), *MODEL, "--fmax", str(FMAX), *options, "-o", str(out), "--json"]
    assert main([*arguments, "--batch-atoms", "8"]) == 0
    told = json.loads(capsys.readouterr().out)["structures"]
    ends = read(out, ":")
    assert [atoms.info["structure"] for atoms in ends] == [0, 1, 2]
    goal = Goal(
        optimiser="fire",
        fmax=FMAX,
        cell="--cell" in options,
        hydrostatic="--hydrostatic" in options,
        pressure=0.3 if "--pressure" in options else 0.0,
    )
    calculator = potential.calculator(dtype="float64")
    for atoms, end, row in zip(crystals(), ends, told, strict=True):
        expected, last = relax(atoms, calculator, goal, path=tmp_path / "s.extxyz", log=tmp_path / "s.csv")
        assert last.converged
        assert row["converged"]
        assert row["fmax_eV_per_A"] < FMAX
        assert row["energy_eV"] / len(atoms) == pytest.approx(
            expected.get_potential_energy() / len(atoms), abs=SAME_MINIMUM
        )
        again = potential(end, dtype="float64")
        assert end.get_potential_energy() == pytest.approx(again.energy, abs=1e-6)  # positions have 8 decimals
        np.testing.assert_allclose(end.get_forces(), again.forces, rtol=0, atol=1e-6)
        np.testing.assert_allclose(end.get_stress(voigt=False), again.stress, rtol=0, atol=1e-7)


def test_every_step_of_a_relaxation_is_read_back(start, tmp_path, capsys):
    out = tmp_path / "relaxed.extxyz"
    assert main(["relax", str(start), *MODEL, "--max-steps", "3", "-o", str(out)]) == 1
    assert "not converged" in capsys.readouterr().err
    log = read_log(out.with_suffix(".csv"), relaxation.COLUMNS)
    frames = read(tmp_path / "relaxed-steps.extxyz", ":")
    for number, atoms in enumerate(crystals()):
        own = [frame for frame in frames if frame.info["structure"] == number]
        assert [frame.info["step"] for frame in own] == list(range(len(own)))
        np.testing.assert_allclose(own[0].positions, atoms.positions, atol=WRITTEN)
        energies = log["energy_eV"][log["structure"] == number]
        np.testing.assert_allclose([frame.get_potential_energy() for frame in own], energies, atol=WRITTEN)


def alone(atoms, calculator, settings, prefix, steps):
    """Frames of a structure that ASE moves."""
    run_dynamics(atoms, calculator, settings, RunFiles(prefix), steps=steps)
    return read(prefix.with_suffix(".extxyz"), ":")


def test_paths_at_constant_energy_are_those_of_ase(start, tmp_path, potential, capsys):
    """Seeds count on; positions go on through the faces of cells, as torch-sim's own do not."""
    out = tmp_path / "many"
    options = ["--ensemble", "nve", "--temperature", "40", "--timestep", "4", "--seed", "5", "--interval", "20"]
    assert main(["md", str(start), *MODEL, *options, "--steps", "40", "-o", str(out), "--batch-atoms", "8"]) == 0
    assert "T (K)" in capsys.readouterr().out
    frames, log = read(f"{out}.extxyz", ":"), read_log(tmp_path / "many.csv", dynamics.COLUMNS)
    calculator = potential.calculator(dtype="float64")
    for number, atoms in enumerate(crystals()[:2]):
        settings = Settings(ensemble="nve", temperature=40.0, timestep=4.0, seed=5 + number, frame_interval=20)
        expected = alone(atoms, calculator, settings, tmp_path / f"alone{number}", 40)
        own = [frame for frame in frames if frame.info["structure"] == number]
        assert [frame.info["step"] for frame in own] == [0, 20, 40]
        for frame, other in zip(own, expected, strict=True):
            np.testing.assert_allclose(frame.positions, other.positions, rtol=0, atol=SAME_PATH)
            np.testing.assert_allclose(frame.get_momenta(), other.get_momenta(), rtol=0, atol=SAME_PATH)
            np.testing.assert_allclose(frame.get_stress(), other.get_stress(), rtol=0, atol=SAME_PATH)
        of_ase = read_log(tmp_path / f"alone{number}.csv")
        for name in ("time_fs", "total_eV", "temperature_K", "pressure_GPa"):
            mine = log[name][log["structure"] == number]
            np.testing.assert_allclose(mine, of_ase[name], rtol=1e-6, atol=SAME_PATH, err_msg=name)
        assert np.ptp(of_ase["potential_eV"]) / len(atoms) > 1e-3
        assert np.ptp(log["total_eV"][log["structure"] == number]) / len(atoms) < DRIFT


def test_the_bath_has_its_temperature_and_runs_repeat(tmp_path, model):
    """2 × 48 degrees of freedom, 24 relaxation times, the last 18 counted: 3.4 % is one standard deviation."""
    block = make_supercell(bulk("Ar", "fcc", a=5.3, cubic=True), np.diag([2, 2, 1]))
    settings = Settings(temperature=30.0, timestep=4.0, relaxation_time=50.0, frame_interval=100)
    for prefix, steps in (("a", 300), ("b", 5)):
        output = RunFiles(tmp_path / prefix)
        dynamics.run_many([block, block], model, settings, output, steps=steps, batch_atoms=16)
    log, again = (read_log(tmp_path / f"{prefix}.csv", dynamics.COLUMNS) for prefix in "ab")
    assert log["temperature_K"][log["step"] > 75].mean() == pytest.approx(30.0, rel=0.14)
    first = (log["structure"] == 0) & (log["step"] <= 5)  # the second begins where the bath of the first ends
    np.testing.assert_array_equal(log["total_eV"][first], again["total_eV"][again["structure"] == 0])
    assert len(set(log["kinetic_eV"][log["step"] == 0])) == 2


def test_every_batch_has_noise_of_its_own(tmp_path, model):
    """Of structures that start alike, also in momenta, one after the other."""
    block = bulk("Ar", "fcc", a=5.3, cubic=True)
    block.rattle(0.05, seed=1)
    thermalize_momenta(block, 30, rng=np.random.default_rng(0))
    settings = Settings(temperature=30.0, timestep=4.0, relaxation_time=50.0)
    dynamics.run_many([block, block], model, settings, RunFiles(tmp_path / "a"), steps=3, batch_atoms=4)
    log = read_log(tmp_path / "a.csv", dynamics.COLUMNS)
    first, second = (log["total_eV"][log["structure"] == number] for number in (0, 1))
    assert first[0] == second[0]
    assert not (first[1:] == second[1:]).any()


def test_a_bath_that_is_heated_is_followed(tmp_path, model):
    settings = Settings(temperature=1.0, final_temperature=60.0, ramp_steps=60, timestep=4.0, relaxation_time=20.0)
    block = make_supercell(bulk("Ar", "fcc", a=5.3, cubic=True), np.diag([2, 2, 1]))
    dynamics.run_many([block], model, settings, RunFiles(tmp_path / "hot"), steps=90)
    log = read_log(tmp_path / "hot.csv", dynamics.COLUMNS)
    assert log["temperature_K"][log["step"] < 5].mean() < 10
    assert log["temperature_K"][log["step"] > 70].mean() > 30


def test_what_blows_up_is_taken_out_and_the_others_go_on(tmp_path, capsys):
    structures = [bulk("Ar", "fcc", a=5.3, cubic=True) for _ in range(3)]
    hot = np.zeros((4, 3))
    hot[0, 0] = 40.0 * 7.6  # 1.5 Å in a step, which is within half a cell
    structures[1].set_momenta(hot)
    write(tmp_path / "start.extxyz", structures)
    out = tmp_path / "md"
    arguments = ["md", str(tmp_path / "start.extxyz"), *MODEL, "--temperature", "30", "--timestep", "2"]
    assert main([*arguments, "--steps", "4", "-o", str(out), "--json"]) == 1
    said = capsys.readouterr()
    assert "structure 1 was taken out" in said.err
    told = json.loads(said.out)
    assert [row["steps"] == 4 for row in told["structures"]] == [True, False, True]
    log = read_log(tmp_path / "md.csv", dynamics.COLUMNS)
    assert all((log["structure"] == number).sum() == 5 for number in (0, 2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ensemble", "npt"], "no --ensemble npt"),
        (["--thermostat", "bussi"], "no thermostat bussi"),
        (["--resume"], "no --resume"),
        (["--checkpoint-interval", "7"], "no --checkpoint-interval"),
        (["--plot"], "no --plot"),
        (["--batch-atoms", "0"], "at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_torch_sim_does_not_have_is_refused_by_name(start, tmp_path, capsys, options, said):
    assert main(["md", str(start), *MODEL, "--steps", "1", "-o", str(tmp_path / "md"), *options]) != 0
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("md.*"))


def test_a_run_that_is_there_is_not_said_to_go_on(start, tmp_path, capsys):
    arguments = ["md", str(start), *MODEL, "--ensemble", "nve", "--temperature", "10", "--steps", "1"]
    arguments += ["-o", str(tmp_path / "md")]
    assert main(arguments) == 0
    kept = (tmp_path / "md.extxyz").read_bytes()
    capsys.readouterr()
    assert main(arguments) != 0
    said = capsys.readouterr().err
    assert "md.extxyz exists: replace it with --overwrite, or choose another --output." in said
    assert main([*arguments, "--resume"]) != 0
    assert "no --resume" in capsys.readouterr().err
    assert (tmp_path / "md.extxyz").read_bytes() == kept
    assert main([*arguments, "--overwrite"]) == 0


def test_optimisers_that_torch_sim_lacks_are_refused(start, tmp_path, capsys):
    out = str(tmp_path / "out.extxyz")
    assert main(["relax", str(start), *MODEL, "--optimiser", "lbfgs", "-o", out]) != 0
    assert "no optimiser lbfgs" in capsys.readouterr().err


def refused(structures, model, tmp_path, **goal):
    files = {"path": tmp_path / "s.extxyz", "log": tmp_path / "s.csv"}
    relaxation.relax_many(structures, model, Goal(optimiser="fire", **goal), **files)


def test_structures_that_torch_sim_would_change_are_refused_with_their_number(tmp_path, model, potential):
    good, fixed, slab, lone = (bulk("Ar", "fcc", a=5.3, cubic=True) for _ in range(4))
    fixed.set_constraint(FixAtoms([0]))
    slab.pbc = (True, True, False)
    lone.pbc = False
    for bad, said in ((fixed, "FixAtoms"), (slab, "some directions"), (lone, "periodic and structure 0 is not")):
        with pytest.raises(StructureError, match=f"Structure 1: .*{said}"):
            refused([good, bad], model, tmp_path)
    left = good.copy()
    left.set_cell(left.cell.array[[1, 0, 2]])
    with_stress = HaloclineModel(potential, errors="keep")
    with pytest.raises(StructureError, match="left-handed"):
        refused([left], with_stress, tmp_path, cell=True)
    with pytest.raises(StructureError, match="periodic in all three directions"):
        refused([lone], with_stress, tmp_path, cell=True)
    with pytest.raises(UsageError, match="no structures"):
        refused([], model, tmp_path)
    assert not list(tmp_path.iterdir())


def failing(model, monkeypatch, atoms, step):
    """Have the model refuse the structure of so many atoms after so many steps, each of which moves it."""
    evaluate, places = model._evaluated, set()

    def evaluated(state):
        found, counts = evaluate(state), state.n_atoms_per_system.tolist()
        if atoms in counts:
            place = counts.index(atoms)
            places.add(state.positions[state.system_idx == place].numpy().tobytes())
            if len(places) > step:
                found[place] = StructureError("It fell apart.")
        return found

    monkeypatch.setattr(model, "_evaluated", evaluated)


@pytest.mark.parametrize("cell", [False, True])
def test_a_relaxation_that_fails_leaves_the_others_alone(tmp_path, potential, monkeypatch, cell):
    files = {"path": tmp_path / "s.extxyz", "log": tmp_path / "s.csv"}
    goal = Goal(optimiser="fire", max_steps=4, fmax=1e-6, cell=cell)
    whole = relaxation.relax_many(crystals(), HaloclineModel(potential, dtype="float64"), goal, **files)
    model = HaloclineModel(potential, dtype="float64", errors="keep")
    failing(model, monkeypatch, atoms=8, step=2)
    found = relaxation.relax_many(crystals(), model, goal, **files)
    assert [each.last.step for each in found] == [4, 1, 4 if cell else 0]  # a lone atom feels no force
    assert [each.failure for each in found] == [None, "It fell apart.", None]
    for number in (0, 2):
        assert found[number].last.energy == pytest.approx(whole[number].last.energy, abs=SAME_PATH)
    assert found[1].atoms.calc.results["energy"] == found[1].last.energy


def test_dynamics_that_fail_leave_the_others_alone(tmp_path, model, monkeypatch):
    failing(model, monkeypatch, atoms=4, step=3)
    settings = Settings(ensemble="nve", temperature=20.0, timestep=2.0)
    ended = dynamics.run_many(crystals()[:2], model, settings, RunFiles(tmp_path / "md"), steps=6)
    assert [each.step for each in ended.moved] == [2, 6]
    assert ended.moved[0].failure == "It fell apart."
    log = read_log(tmp_path / "md.csv", dynamics.COLUMNS)
    assert np.isfinite(np.stack(list(log.values()))).all()


def test_trajectories_of_torch_sim_are_read_back(tmp_path, potential):
    model = HaloclineModel(potential, dtype="float64", stress=False)
    names = [tmp_path / "0.h5", tmp_path / "1.h5"]
    torch_sim.integrate(
        crystals()[:2],
        model,
        integrator=torch_sim.nve if movers.HAS_FACTORIES else torch_sim.Integrator.nve,
        n_steps=4,
        temperature=20.0,
        timestep=0.002,
        trajectory_reporter=torch_sim.TrajectoryReporter(
            names, state_frequency=2, prop_calculators={2: {"potential_energy": lambda state: state.energy}}
        ),
    )
    for name in names:
        with torch_sim.TorchSimTrajectory(name) as kept:
            energy = kept.get_array("potential_energy")[-1].item()
            assert potential(kept.get_atoms(-1), dtype="float64").energy == pytest.approx(energy, abs=SAME_PATH)
