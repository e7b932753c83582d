"""Fixed atoms on ranks: they stay to the last bit, whoever holds them, and are counted as ASE counts them."""

import functools

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLength
from ase.io import read
from deep_chains import chain, deep
from thread_residents import ThreadCrew

import halocline
from halocline.backends.ddp.resident.driver import DdpResidents
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.dynamics.records import read_log
from halocline.dynamics.resident_run import run_resident
from halocline.dynamics.snapshot import load_snapshot
from halocline.errors import DynamicsError, StructureError

#: Å and √(amu·eV) after all steps. ASE finds momenta where atoms are fixed from differences of positions, which
#: rounds by 1e-14 Å · m / Δt, some 1e-12 √(amu·eV) in a step; ranks change the order of sums; chaos needs longer.
SAME = 1e-9

STEPS = 24
BATHS = {
    "nve": {"ensemble": "nve"},
    "langevin": {"ensemble": "nvt", "thermostat": "langevin"},
    "bussi": {"ensemble": "nvt", "thermostat": "bussi"},
    "npt": {"ensemble": "npt"},
}


def settings(name, timestep=12.0, temperature=300.0):
    options = {"frame_interval": 3, "log_interval": 1, "seed": 4}
    return Settings(temperature=temperature, timestep=timestep, **options, **BATHS[name])


@functools.cache
def argon_model():
    return halocline.load("lennard-jones-argon")


def with_fixed(atoms, every):
    atoms.set_constraint(FixAtoms(range(1, len(atoms), every)))
    return atoms


def argon():
    """Warm, so that lists are built anew a few times and atoms change hands."""
    return with_fixed(bulk("Ar", "fcc", 5.6, cubic=True) * (3, 2, 2), every=5)


def molecules():
    return with_fixed(chain(4), every=4)


def wind():
    """A row of atoms that flies along one of fixed atoms, too far from it to feel it."""
    places = 4.0 * np.arange(12.0)
    atoms = Atoms("Ar24", np.array([(x, y, 0.0) for x in places for y in (0.0, 20.0)]))
    atoms.set_momenta(np.tile([(0.0, 0.0, 0.0), (20.0, 0.0, 0.0)], (12, 1)))
    atoms.set_constraint(FixAtoms(range(0, 24, 2)))
    return atoms


def run(prefix, name, ranks, atoms, model=argon_model, crew=None, changes=None, steps=STEPS, **given):
    """On threads; returns what a checkpoint of the end holds."""
    crew = crew or ThreadCrew(model().backbone, ranks)
    here, files = DdpResidents(lambda: crew, ranks), RunFiles(prefix)
    options = {"checkpoint_interval": 7, "minimum_distance": 0.0} | given
    run_resident(atoms, model(), here, settings(name, **(changes or {})), files, steps=steps, **options)
    return load_snapshot(files.checkpoint)


def fixed_rows(atoms):
    return np.isin(np.arange(len(atoms)), atoms.constraints[0].index)


def require_still(atoms, snapshot):
    """Fixed atoms are where they were, to the bit, and have no momentum; all others moved."""
    fixed = fixed_rows(atoms)
    np.testing.assert_array_equal(snapshot.positions[fixed], atoms.positions[fixed])
    np.testing.assert_array_equal(snapshot.momenta[fixed], 0.0)
    assert (np.abs(snapshot.positions - atoms.positions)[~fixed].max(axis=1) > 1e-3).all()


@pytest.mark.parametrize(("atoms", "model"), [(argon, argon_model), (molecules, deep)], ids=["argon", "molecules"])
def test_nve_is_the_trajectory_of_ase(tmp_path, atoms, model):
    changes = {"timestep": 12.0 if model is argon_model else 1.0}
    found = run(tmp_path / "ranks", "nve", 3, atoms(), model, changes=changes)
    files, calculator = RunFiles(tmp_path / "ase"), model().calculator(dtype="float64", device="cpu")
    options = {"steps": STEPS, "checkpoint_interval": 7, "minimum_distance": 0.0}
    run_dynamics(atoms(), calculator, settings("nve", **changes), files, **options)
    expected = load_snapshot(files.checkpoint)
    np.testing.assert_allclose(found.positions, expected.positions, rtol=0, atol=SAME)
    np.testing.assert_allclose(found.momenta, expected.momenta, rtol=0, atol=SAME)
    logs = read_log(RunFiles(tmp_path / "ranks").log), read_log(files.log)
    for name in logs[0]:
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=1e3 * SAME, atol=1e3 * SAME)
    frames = read(tmp_path / "ranks.extxyz", ":"), read(tmp_path / "ase.extxyz", ":")
    for frame, another in zip(*frames, strict=True):
        assert fixed_rows(frame).tolist() == fixed_rows(another).tolist() == fixed_rows(atoms()).tolist()
        forces = frame.get_forces(apply_constraint=False), another.get_forces(apply_constraint=False)
        np.testing.assert_allclose(*forces, rtol=0, atol=2e-8)  # eight decimals
    assert (np.abs(forces[0][fixed_rows(atoms())]).max(axis=1) > 1e-3).all()  # those of the model, also there


@pytest.mark.parametrize("name", ["nve", "langevin", "bussi"])
def test_fixed_atoms_stay_on_any_number_of_ranks(tmp_path, name):
    several = [run(tmp_path / str(ranks), name, ranks, argon()) for ranks in (1, 3)]
    for each in several:
        require_still(argon(), each)
    np.testing.assert_allclose(several[0].positions, several[1].positions, rtol=0, atol=SAME)


@pytest.mark.parametrize("name", ["nve", "langevin", "bussi"])
def test_the_temperature_counts_the_atoms_that_move(tmp_path, name):
    atoms = argon()
    found = run(tmp_path / "run", name, 2, atoms)
    kinetic = 0.5 * (found.momenta**2 / atoms.get_masses()[:, None]).sum()
    free = 3 * (~fixed_rows(atoms)).sum()
    log = read_log(RunFiles(tmp_path / "run").log)
    assert log["temperature_K"][-1] == pytest.approx(2.0 * kinetic / (free * units.kB), rel=1e-12)
    drawn = log["temperature_K"][0] / 300.0  # whose deviation is √(2 / free) in a draw of them
    assert drawn == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / free))


@pytest.mark.parametrize("name", ["langevin", "bussi"])
def test_the_atoms_that_move_have_the_temperature_of_the_bath(tmp_path, name):
    """Most are fixed: if they were counted, Bussi's bath would give the others more than twice of it."""
    atoms, few = bulk("Ar", "fcc", 5.4, cubic=True) * (2, 2, 2), 12
    atoms.set_constraint(FixAtoms(range(few, len(atoms))))
    changes = {"temperature": 40.0, "timestep": 5.0}
    run(tmp_path / "run", name, 1, atoms, changes=changes, steps=400, checkpoint_interval=400)
    kinetic = read_log(RunFiles(tmp_path / "run").log)["kinetic_eV"][40:]
    # Of some 18 independent samples (1.8 ps, 100 fs each), each of 36 squares: four deviations.
    expected = 0.5 * (3 * few) * units.kB * 40.0
    assert kinetic.mean() == pytest.approx(expected, rel=4.0 * np.sqrt(2.0 / (3 * few) / 18))


def test_atoms_take_along_whether_they_are_fixed(tmp_path):
    """Regions with equally many atoms move on with those that fly, so fixed ones change hands as well."""
    atoms, crew = wind(), ThreadCrew(argon_model().backbone, 3)
    fixed = fixed_rows(atoms)

    def held():
        return [worker._residence._held.atoms for worker in crew.workers]

    def owners():
        owner = np.empty(len(atoms), int)
        for rank, each in enumerate(held()):
            owner[each.ids] = rank
        return owner

    options = {"crew": crew, "changes": {"timestep": 10.0}}
    run(tmp_path / "run", "nve", 3, atoms, steps=0, **options)
    before = owners()
    found = run(tmp_path / "run", "nve", 3, atoms, steps=30, resume=True, **options)
    went = before != owners()
    assert went[fixed].any()
    assert went[~fixed].any()
    for each in held():
        np.testing.assert_array_equal(each.fixed, fixed[each.ids])
    require_still(atoms, found)


@pytest.mark.parametrize("name", ["nve", "langevin", "bussi"])
def test_restarts_are_exact_and_go_on_on_other_ranks(tmp_path, name):
    straight = run(tmp_path / "straight", name, 3, argon())
    for ranks in (3, 2):
        prefix = tmp_path / str(ranks)
        run(prefix, name, 3, argon(), steps=11)
        resumed = run(prefix, name, ranks, argon(), resume=True)
        require_still(argon(), resumed)
        if ranks == 3:
            np.testing.assert_equal((resumed.positions, resumed.momenta), (straight.positions, straight.momenta))
            for each in ("log", "trajectory"):
                one, other = (getattr(RunFiles(run), each) for run in (prefix, tmp_path / "straight"))
                assert one.read_bytes() == other.read_bytes()
        np.testing.assert_allclose(resumed.positions, straight.positions, rtol=0, atol=SAME)
    with pytest.raises(DynamicsError, match="other options: structure was"):
        run(prefix, name, 2, with_fixed(argon(), every=4), resume=True)


def test_what_cannot_be_kept_is_refused_by_name(tmp_path):
    with pytest.raises(StructureError, match="fixed atoms, which the npt ensemble cannot keep"):
        run(tmp_path / "run", "npt", 2, argon())
    bound = argon()
    bound.set_constraint(FixBondLength(0, 1))
    with pytest.raises(StructureError, match="FixBondLengths; dynamics keeps only FixAtoms"):
        run(tmp_path / "run", "nve", 2, bound)
    assert not RunFiles(tmp_path / "run").log.exists()
