"""Full disks, damaged files and other people's runs: each is one clear error, and nothing is lost."""

import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from ase.constraints import FixAtoms, FixBondLength
from ase.io import read
from filelock import FileLock

from halocline.appended import EMPTY, AppendedFile
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.dynamics.records import read_log
from halocline.dynamics.snapshot import load_snapshot
from halocline.errors import DynamicsError, StructureError, UsageError

PROGRAM = Path(__file__).with_name("argon.py")


@pytest.mark.parametrize("limit", [12_000, 20_000, 23_456])
def test_full_disk_keeps_whole_records(argon, tmp_path, limit):
    """A limit on the size of files fails a write in the middle, as a full disk does."""
    result = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path / "run"), "langevin", "60"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "DynamicsError: Cannot write" in result.stderr
    output = RunFiles(tmp_path / "run")
    frames = read(output.trajectory, ":")
    assert output.trajectory.read_bytes().endswith(b"\n")
    assert [frame.info["step"] for frame in frames] == list(range(0, 3 * len(frames), 3))
    assert len(frames) >= 2
    assert output.log.read_bytes().endswith(b"\n")
    read_log(output.log)
    argon.run(tmp_path / "run", "langevin", 20, resume=True)
    argon.run(tmp_path / "straight", "langevin", 20)
    assert output.trajectory.read_bytes() == RunFiles(tmp_path / "straight").trajectory.read_bytes()


def test_full_disk_keeps_the_old_checkpoint(argon, tmp_path, monkeypatch):
    argon.run(tmp_path / "run", "npt", 10)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DynamicsError, match="No space left on device"):
        argon.run(tmp_path / "run", "npt", 20, resume=True)
    monkeypatch.undo()
    assert load_snapshot(RunFiles(tmp_path / "run").checkpoint).step == 10
    argon.run(tmp_path / "run", "npt", 20, resume=True)
    argon.run(tmp_path / "straight", "npt", 20)
    assert RunFiles(tmp_path / "run").log.read_bytes() == RunFiles(tmp_path / "straight").log.read_bytes()


def test_existing_run_is_not_overwritten_unasked(argon, tmp_path):
    argon.run(tmp_path / "run", "nve", 5)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=r"--resume.*--overwrite"):
        argon.run(tmp_path / "run", "nve", 5)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    argon.run(tmp_path / "run", "langevin", 3, overwrite=True)
    assert load_snapshot(RunFiles(tmp_path / "run").checkpoint).step == 3


@pytest.mark.parametrize("extension", [".extxyz", ".csv", ".npz"])
def test_any_file_of_a_run_is_in_the_way(argon, tmp_path, extension):
    mine = tmp_path / f"run{extension}"
    mine.write_text("precious")
    with pytest.raises(UsageError, match="exists"):
        argon.run(tmp_path / "run", "nve", 5)
    assert mine.read_text() == "precious"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"timestep": 2.5}, "timestep was 5.0, now 2.5"),
        ({"temperature": 61.0}, "temperature was 60.0, now 61.0"),
        ({"seed": 1}, "seed was 0, now 1"),
        ({"frame_interval": 4}, "frame interval was 3, now 4"),
        ({"thermostat": "bussi"}, "thermostat was langevin, now bussi"),
    ],
)
def test_other_options_are_refused_by_name(argon, tmp_path, change, complaint):
    argon.run(tmp_path / "run", "langevin", 5)
    settings = argon.settings("langevin", **change)
    with pytest.raises(DynamicsError, match=complaint):
        run_dynamics(argon.crystal(), argon.Argon(), settings, RunFiles(tmp_path / "run"), steps=9, resume=True)


def test_another_model_or_structure_is_refused(argon, tmp_path):
    argon.run(tmp_path / "run", "nve", 5, identity={"model": "abc"})
    with pytest.raises(DynamicsError, match="model was abc, now def"):
        argon.run(tmp_path / "run", "nve", 9, resume=True, identity={"model": "def"})
    moved = argon.crystal()
    moved.positions[0, 0] += 1e-12
    with pytest.raises(DynamicsError, match="structure was"):
        run_dynamics(
            moved,
            argon.Argon(),
            argon.settings("nve"),
            RunFiles(tmp_path / "run"),
            steps=9,
            resume=True,
            identity={"model": "abc"},
        )


def test_nothing_to_resume_is_said(argon, tmp_path):
    with pytest.raises(DynamicsError, match="no checkpoint"):
        argon.run(tmp_path / "run", "nve", 5, resume=True)


@pytest.mark.parametrize("name", ["trajectory", "log"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_changed_records_are_not_continued(argon, tmp_path, name, damage):
    argon.run(tmp_path / "run", "nve", 10)
    path = getattr(RunFiles(tmp_path / "run"), name)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "changed":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    with pytest.raises(DynamicsError, match="is not the file that the checkpoint belongs to"):
        argon.run(tmp_path / "run", "nve", 12, resume=True)


def test_damaged_checkpoint_is_refused(argon, tmp_path):
    """Any flipped bit or cut: an error, or (in padding that carries no meaning) the very same state."""
    argon.run(tmp_path / "run", "npt", 5)
    path = RunFiles(tmp_path / "run").checkpoint
    whole, state = path.read_bytes(), load_snapshot(path)
    generator = random.Random("damage")
    refused = 0
    for _ in range(200):
        data = bytearray(whole)
        position = generator.randrange(len(data))
        data[position] ^= 1 << generator.randrange(8)
        path.write_bytes(data if generator.random() < 0.7 else data[:position])
        try:
            read_back = load_snapshot(path)
        except DynamicsError:
            refused += 1
        else:
            assert (read_back.positions == state.positions).all()
            assert (read_back.momenta == state.momenta).all()
            assert (read_back.rng, read_back.marks, read_back.integrator) == (
                state.rng,
                state.marks,
                state.integrator,
            )
    assert refused > 100


def test_two_processes_cannot_write_one_run(argon, tmp_path):
    with FileLock(tmp_path / ".run.lock"), pytest.raises(DynamicsError, match="Another process"):
        argon.run(tmp_path / "run", "nve", 5)


def test_constraints_that_cannot_be_kept_are_refused(argon, tmp_path):
    atoms = argon.crystal()
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(StructureError, match="FixBondLength"):
        run_dynamics(atoms, argon.Argon(), argon.settings("nve"), RunFiles(tmp_path / "run"), steps=5)
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(StructureError, match="fixed atoms"):
        run_dynamics(atoms, argon.Argon(), argon.settings("npt"), RunFiles(tmp_path / "run"), steps=5)


@pytest.mark.parametrize("name", ["nve", "langevin", "bussi"])
def test_fixed_atoms_stay(argon, tmp_path, name):
    atoms = argon.crystal()
    atoms.set_constraint(FixAtoms([0, 5]))
    run_dynamics(atoms, argon.Argon(), argon.settings(name), RunFiles(tmp_path / "run"), steps=9)
    last = read(tmp_path / "run.extxyz")
    moved = abs(last.positions - atoms.positions).max(axis=1)
    assert (moved[[0, 5]] < 1e-8).all()  # the file has eight decimals
    assert (moved[1:5] > 1e-3).all()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"ensemble": "nvtt"}, "did you mean 'nvt'"),
        ({"thermostat": "busi"}, "did you mean 'bussi'"),
        ({"timestep": 0.0}, "timestep must be finite and greater than 0"),
        ({"timestep": float("nan")}, "timestep must be finite"),
        ({"temperature": -1.0}, "temperature must be finite"),
        ({"ensemble": "npt", "thermostat": "bussi"}, "has its own Langevin thermostat"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, complaint):
    with pytest.raises(UsageError, match=complaint):
        Settings(**wrong)


def test_record_that_fits_only_in_part_is_taken_back(tmp_path, monkeypatch):
    with AppendedFile(tmp_path / "file", EMPTY, error_class=DynamicsError) as file:
        file.append(b"whole\n")
        write = file._write

        def half(record):
            write(record[: len(record) // 2])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(file, "_write", half)
        with pytest.raises(DynamicsError, match="No space left"):
            file.append(b"only half of this\n")
    assert (tmp_path / "file").read_bytes() == b"whole\n"
