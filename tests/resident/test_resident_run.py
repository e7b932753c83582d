"""Runs whose atoms live on ranks: the trajectory of ASE's integrators, restarts to the bit, guards."""

import functools
import random

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read
from deep_chains import chain, deep
from thread_residents import ThreadCrew
from told_model import told

import halocline
from halocline.backends.ddp.messages import Advance
from halocline.backends.ddp.model import PortableModel
from halocline.backends.ddp.resident.driver import DdpResidents
from halocline.dynamics import RunFiles, Settings, resident_run, run_dynamics
from halocline.dynamics.records import read_log
from halocline.dynamics.resident_run import open_houses, run_resident
from halocline.dynamics.snapshot import load_snapshot
from halocline.errors import DynamicsError, StructureError, UnstableDynamicsError, UsageError
from halocline.partition import Division

#: Å and √(amu·eV) after so many steps: ranks only change the order of sums, and chaos has no time yet.
SAME = 1e-9

STEPS = 24
BATHS = {
    "nve": {"ensemble": "nve"},
    "langevin": {"ensemble": "nvt", "thermostat": "langevin"},
    "bussi": {"ensemble": "nvt", "thermostat": "bussi"},
    "npt": {"ensemble": "npt", "pressure": 0.5, "barostat_time": 200.0},
}


def settings(name, **changes):
    options = {"temperature": 300.0, "timestep": 12.0, "frame_interval": 3, "log_interval": 2, "seed": 4}
    return Settings(**options | BATHS[name] | changes)


@functools.cache
def argon_model():
    return halocline.load("lennard-jones-argon")


def argon():
    """Warm, so that lists are built anew a few times and atoms change hands."""
    return bulk("Ar", "fcc", 5.6, cubic=True) * (3, 2, 2)


def slab():
    atoms = bulk("Ar", "fcc", 5.6, cubic=True) * (3, 2, 2)
    atoms.pbc = (True, True, False)
    atoms.set_cell([16.8, 11.2, 30.0], scale_atoms=False)
    atoms.positions += [100.0, -40.0, 3.0]
    return atoms


def molecules():
    return chain(4)


def run(
    prefix,
    name="langevin",
    ranks=2,
    atoms=argon,
    model=argon_model,
    steps=STEPS,
    crew=None,
    changes=None,
    exchange=False,
    partition="none",
    **given,
):
    crew = crew or ThreadCrew(model().backbone, ranks)
    here = DdpResidents(lambda: crew, ranks, exchange=exchange, partition=partition)
    options = {"checkpoint_interval": 7, "minimum_distance": 0.0} | given
    start = atoms() if callable(atoms) else atoms
    chosen = settings(name, **(changes or {}))
    return run_resident(start, model(), here, chosen, RunFiles(prefix), steps=steps, **options)


def require_same_run(one, other, within):
    """The same rows, frames and end, to some Å, eV or K."""
    left, right = load_snapshot(RunFiles(one).checkpoint), load_snapshot(RunFiles(other).checkpoint)
    assert left.step == right.step
    np.testing.assert_allclose(left.positions, right.positions, rtol=0, atol=within)
    np.testing.assert_allclose(left.momenta, right.momenta, rtol=0, atol=within)
    logs = read_log(RunFiles(one).log), read_log(RunFiles(other).log)
    for name in logs[0]:
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=1e3 * within, atol=1e3 * within)
    for frame, another in zip(read(f"{one}.extxyz", ":"), read(f"{other}.extxyz", ":"), strict=True):
        assert frame.info == another.info
        assert frame.arrays.keys() == another.arrays.keys()
        assert frame.calc.results.keys() == another.calc.results.keys()
        for key, values in frame.calc.results.items():
            np.testing.assert_allclose(values, another.calc.results[key], rtol=0, atol=2e-8)  # eight decimals


@pytest.mark.parametrize(
    ("atoms", "model", "ranks"),
    [(argon, argon_model, 1), (argon, argon_model, 3), (slab, argon_model, 2), (molecules, deep, 3)],
    ids=["one rank", "three ranks", "slab", "molecules, several hops"],
)
def test_nve_is_the_trajectory_of_ase(tmp_path, atoms, model, ranks):
    timestep = 12.0 if model is argon_model else 1.0
    crew = ThreadCrew(model().backbone, ranks)
    run(tmp_path / "ranks", "nve", ranks, atoms, model, crew=crew, changes={"timestep": timestep})
    calculator = model().calculator(dtype="float64", device="cpu")
    expected = settings("nve", timestep=timestep)
    files = RunFiles(tmp_path / "ase")
    run_dynamics(atoms(), calculator, expected, files, steps=STEPS, checkpoint_interval=7, minimum_distance=0.0)
    require_same_run(tmp_path / "ranks", tmp_path / "ase", SAME)
    assert (crew.workers[0]._residence._built != atoms().positions[: len(crew.workers[0]._residence._built)]).any()


@pytest.mark.parametrize("name", ["langevin", "bussi"])
def test_a_thermostat_does_not_know_how_many_ranks_there_are(tmp_path, name):
    changes = {"final_temperature": 400.0, "ramp_steps": 30}
    run(tmp_path / "one", name, 1, changes=changes)
    run(tmp_path / "many", name, 3, changes=changes)
    require_same_run(tmp_path / "one", tmp_path / "many", SAME)


def test_atoms_change_hands(tmp_path):
    crew = ThreadCrew(argon_model().backbone, 3)
    run(tmp_path / "run", "nve", 3, crew=crew, steps=0)
    before = [worker._residence._held.atoms.ids.copy() for worker in crew.workers]
    run(tmp_path / "run", "nve", 3, crew=crew, steps=STEPS, resume=True)
    after = [worker._residence._held.atoms.ids for worker in crew.workers]
    assert any(not np.array_equal(*each) for each in zip(before, after, strict=True))
    assert sorted(np.concatenate(after)) == list(range(len(argon())))


@pytest.mark.parametrize("name", ["langevin", "bussi"])
def test_killed_or_interrupted_and_resumed_equals_straight(tmp_path, name):
    """Also between two new lists, whose halos and owners are those of atoms that were elsewhere then."""
    crew = ThreadCrew(argon_model().backbone, 3)
    run(tmp_path / "straight", name, 3, crew=crew)
    generator = random.Random(f"interrupt {name}")
    options = {"crew": crew, "interrupted": lambda: generator.random() < 0.2}
    outcome = run(tmp_path / "halting", name, 3, **options)
    halts = 0
    while not outcome.finished:
        with RunFiles(tmp_path / "halting").log.open("ab") as log:
            log.write(b"31,15")  # a kill in the middle of a write
        outcome, halts = run(tmp_path / "halting", name, 3, resume=True, **options), halts + 1
    assert halts > 1
    for each in ("log", "trajectory"):
        one, other = (getattr(RunFiles(tmp_path / run), each) for run in ("straight", "halting"))
        assert one.read_bytes() == other.read_bytes()
    left, right = (load_snapshot(RunFiles(tmp_path / run).checkpoint) for run in ("straight", "halting"))
    np.testing.assert_equal(left.placing, right.placing)
    np.testing.assert_equal((left.positions, left.momenta), (right.positions, right.momenta))


def test_exchanged_halos_give_the_same_run_of_smaller_halos_and_resume_to_the_bit(tmp_path):
    held = {}
    for halo in ("recompute", "exchange"):
        crew = ThreadCrew(deep().backbone, 3)
        options = {"crew": crew, "exchange": halo == "exchange", "changes": {"timestep": 1.0}}
        run(tmp_path / halo, "bussi", 3, chain, deep, **options)
        held[halo] = max(len(worker._residence._domain.domain.atoms) for worker in crew.workers)
    run(tmp_path / "halting", "bussi", 3, chain, deep, steps=13, **options)
    run(tmp_path / "halting", "bussi", 3, chain, deep, resume=True, **options)
    require_same_run(tmp_path / "exchange", tmp_path / "recompute", SAME)
    assert RunFiles(tmp_path / "exchange").log.read_bytes() == RunFiles(tmp_path / "halting").log.read_bytes()
    left, right = (load_snapshot(RunFiles(tmp_path / name).checkpoint) for name in ("exchange", "halting"))
    np.testing.assert_equal((left.positions, left.momenta), (right.positions, right.momenta))
    assert held["exchange"] < held["recompute"]


@pytest.mark.parametrize("exchange", [False, True])
def test_parts_in_turn_give_the_run_of_undivided_ranks(tmp_path, exchange):
    options = {"exchange": exchange, "changes": {"timestep": 1.0}}
    run(tmp_path / "whole", "nve", 2, chain, deep, **options)
    crew = ThreadCrew(deep().backbone, 2)
    run(tmp_path / "parts", "nve", 2, chain, deep, crew=crew, partition="rcb:3", **options)
    for worker in crew.workers:
        assert len(np.unique(worker._residence._domain.domain.parts)) == 3
    require_same_run(tmp_path / "parts", tmp_path / "whole", SAME)


def test_as_many_parts_as_ranks_are_one_for_each():
    assert Division.parse("rcb:4").share(4) == "none"
    assert Division.parse("rcb:4").share(3) == "rcb:2"
    assert Division.parse("metis:8").share(2) == "metis:4"


def test_how_many_steps_are_made_at_once_leaves_no_trace(tmp_path, monkeypatch):
    crew = ThreadCrew(argon_model().backbone, 2)
    asked = []
    ask = crew.ask
    monkeypatch.setattr(crew, "ask", lambda messages, kind: asked.append(messages[0]) or ask(messages, kind))
    changes = {"log_interval": 11, "frame_interval": 11}
    for name, patience in (("hasty", 0.0), ("patient", 1e9)):
        monkeypatch.setattr(resident_run, "PATIENCE", patience)
        run(tmp_path / name, crew=crew, changes=changes, checkpoint_interval=22)
        batches = [each.steps for each in asked if isinstance(each, Advance)]
        assert batches == ([1] * STEPS if name == "hasty" else [1, 10, 11, 2])
        asked.clear()
    for each in ("log", "trajectory"):
        one, other = (getattr(RunFiles(tmp_path / name), each) for name in ("hasty", "patient"))
        assert one.read_bytes() == other.read_bytes()


def test_a_run_goes_on_on_another_number_of_ranks(tmp_path):
    run(tmp_path / "straight", ranks=1)
    run(tmp_path / "moved", ranks=4, steps=11)
    run(tmp_path / "moved", ranks=2, resume=True)
    require_same_run(tmp_path / "straight", tmp_path / "moved", SAME)


def test_more_ranks_than_atoms(tmp_path):
    few = Atoms("Ar3", [(0, 0, 0), (3.8, 0, 0), (0, 3.8, 0)])
    run(tmp_path / "one", "nve", 1, few, changes={"temperature": 20.0})
    run(tmp_path / "many", "nve", 5, few, changes={"temperature": 20.0})
    require_same_run(tmp_path / "one", tmp_path / "many", SAME)


@pytest.mark.parametrize(
    ("change", "momentum", "message"),
    [
        ({"timestep": 100.0}, 8.0, "atom [12] moved 1.9[67] Å in one step"),
        ({"timestep": 0.1}, 80.0, "the temperature ran away"),
        ({"timestep": 1e250}, 1e100, "the position of atom 1 is not finite"),
    ],
)
def test_guards_end_a_run_that_makes_no_sense(tmp_path, monkeypatch, change, momentum, message):
    if momentum == 80.0:
        monkeypatch.setattr("halocline.dynamics.guards.EXCESS_TEMPERATURE", -10.0)
    apart = Atoms("Ar3", [(0, 0, 0), (0, 0, 9), (9, 0, 0)])
    apart.set_momenta([(0, 0, 0), (0, 0, momentum), (0, 0, -momentum)])
    with pytest.raises(UnstableDynamicsError, match=message):
        run(tmp_path / "run", "nve", 2, apart, changes=change)
    assert load_snapshot(RunFiles(tmp_path / "run").checkpoint).step == 0


def test_atoms_that_come_too_near_end_a_run_by_their_ids(tmp_path):
    atoms = argon()
    momenta = np.zeros((len(atoms), 3))
    direction = atoms.get_distance(0, 1, mic=True, vector=True)
    momenta[0], momenta[1] = 40.0 * direction, -40.0 * direction
    atoms.set_momenta(momenta)
    with pytest.raises(UnstableDynamicsError, match=r"atoms 0 and 1\) are .*minimum-distance"):
        run(tmp_path / "run", "nve", 3, atoms, minimum_distance=0.9, changes={"timestep": 2.0, "temperature": 1e4})
    near = argon()
    near.positions[1] = near.positions[0] + 0.2 * direction
    with pytest.raises(StructureError, match="Relax the structure first"):
        run(tmp_path / "other", "nve", 3, near, minimum_distance=0.9)
    assert not RunFiles(tmp_path / "other").log.exists()


def test_an_atom_that_flies_away_is_seen_where_frames_are_written(tmp_path):
    few = Atoms("Ar3", [(0, 0, 0), (3.8, 0, 0), (0, 3.8, 0)])
    few.set_momenta([(0, 0, 0), (0, 0, 0), (0, 300.0, 0)])
    with pytest.raises(UnstableDynamicsError, match="atom 2 has flown apart"):
        run(tmp_path / "run", "nve", 2, few, steps=200, changes={"timestep": 1.0})


def test_a_run_of_another_engine_does_not_go_on_on_ranks(tmp_path):
    files = RunFiles(tmp_path / "ase")
    calculator = argon_model().calculator(dtype="float64", device="cpu")
    run_dynamics(argon(), calculator, settings("langevin"), files, steps=2, minimum_distance=0.0)
    with pytest.raises(DynamicsError, match="engine was None, now ranks"):
        run(files.prefix, resume=True)


def test_a_model_that_is_more_than_a_sum_over_atoms_is_refused():
    options = {"device": "cpu", "halo": "auto", "compress": False}
    with pytest.raises(UsageError, match="whose energy is a sum over atoms"):
        open_houses(told(told=[], says=["pooled"]), "ddp:ranks=2", "float64", **options)


def test_a_head_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no heads to choose from; leave out head='PBE'"):
        run(tmp_path / "run", head="PBE")


def test_what_a_model_is_told_goes_with_the_atoms(tmp_path, monkeypatch):
    def charged():
        atoms = molecules()
        atoms.info["charge"] = 2
        return atoms

    def model():
        return told(told=["charge"])

    monkeypatch.setattr(PortableModel, "build", lambda portable: model().backbone)  # it is no plugin's
    changes = {"timestep": 0.5}
    run(tmp_path / "ranks", "nve", 3, charged, model, changes=changes, steps=8)
    files, calculator = RunFiles(tmp_path / "ase"), model().calculator(dtype="float64", device="cpu")
    options = {"steps": 8, "checkpoint_interval": 7, "minimum_distance": 0.0}
    run_dynamics(charged(), calculator, settings("nve", **changes), files, **options)
    require_same_run(tmp_path / "ranks", tmp_path / "ase", SAME)
    with pytest.raises(DynamicsError, match="charge was 2, now 0"):
        run(tmp_path / "ranks", "nve", 3, molecules, model, changes=changes, steps=9, resume=True)


def test_a_run_that_was_started_is_not_replaced_and_goes_on_longer(tmp_path):
    run(tmp_path / "long")
    run(tmp_path / "short", steps=13)
    with pytest.raises(UsageError, match="exists: continue that run with --resume"):
        run(tmp_path / "short", steps=13)
    assert run(tmp_path / "short", resume=True).computed == STEPS - 13
    assert RunFiles(tmp_path / "long").log.read_bytes() == RunFiles(tmp_path / "short").log.read_bytes()
    with pytest.raises(DynamicsError, match=f"at step {STEPS} already"):
        run(tmp_path / "short", steps=13, resume=True)
