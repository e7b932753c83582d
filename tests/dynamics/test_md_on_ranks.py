"""``halocline md --engine ranks`` on real processes: a run that loses a rank goes on where one process would."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.io import read, write
from ddp_setups import SOON, process_of, rank_processes, wait_until
from deep_chains import chain, deep

from halocline.cli.main import main
from halocline.dynamics import RunFiles, Settings
from halocline.dynamics.resident_run import open_houses, run_resident
from halocline.dynamics.snapshot import load_snapshot
from halocline.errors import UsageError
from halocline.model.build import build_backbone
from halocline.partition import Division
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.structures.write import extended_xyz

SAVED, TIMEOUT = 5, 5

#: Å after all steps: ranks only change the order of sums, and cold argon forgets nothing in this time.
SAME = 1e-8

RUN = ["-m", "lennard-jones-argon", "--dtype", "float64", "--device", "cpu", "--ensemble", "nve"]
RUN += ["--temperature", "40", "--timestep", "4", "--interval", "5", "--checkpoint-interval", str(SAVED)]
ON_RANKS = ["--engine", "ranks", "--backend", f"ddp:ranks=2,timeout={TIMEOUT}"]


@pytest.fixture(autouse=True)
def no_rank_is_left():
    """Commands end their ranks themselves, not the collection of what they leave."""
    gc.disable()
    yield
    left = rank_processes(os.getpid())
    gc.enable()
    assert not left


@pytest.fixture
def command(tmp_path):
    """``md`` of a crystal, without its length and output."""
    path = tmp_path / "argon.extxyz"
    write(path, bulk("Ar", "fcc", 5.4, cubic=True) * (4, 3, 3))
    return ["md", str(path), *RUN]


def strike(command, prefix, blow, steps=1_000_000, starter=()):
    """Strike rank 1 while the program runs, beyond a few checkpoints; its exit status and what it says."""
    command = [sys.executable, *starter, "-m", "halocline", *command, *ON_RANKS]
    command += ["--steps", str(steps), "-o", str(prefix)]
    log = RunFiles(prefix).log
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 10 * SOON
        while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < 2.5 * SAVED):
            assert time.monotonic() < until, "the run does not begin"
            time.sleep(0.01)
        ranks = list(rank_processes(process.pid))
        os.kill(process_of(1, process.pid), blow)
        _, said = process.communicate(timeout=5 * SOON)
    wait_until(lambda: not any(Path(f"/proc/{rank}").exists() for rank in ranks))
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("blow", "how"),
    [
        (signal.SIGKILL, "Rank 1 was ended by SIGKILL; perhaps memory ran out; all ranks were stopped. "),
        pytest.param(
            signal.SIGSTOP,
            "Rank 1 gave no sign of life for 5 s and counts as hung; all ranks were stopped. ",
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=["killed", "hung"],
)
def test_a_struck_rank_ends_the_run_which_resumes(command, tmp_path, blow, how):
    """On the same number of ranks after one blow, and on a single one after the other."""
    prefix = tmp_path / "run"
    status, said = strike(command, prefix, blow)
    assert status == 1
    (sentence,) = said.splitlines()
    assert sentence.startswith("halocline: The run stopped near step ")
    assert f"DistributedError: {how}" in said
    saved = load_snapshot(RunFiles(prefix).checkpoint).step
    assert saved % SAVED == 0
    steps = str(saved + 2 * SAVED)
    ranks = [each.replace("ranks=2", "ranks=1") if blow == signal.SIGSTOP else each for each in ON_RANKS]
    assert main([*command, *ranks, "--resume", "--steps", steps, "--output", str(prefix)]) == 0
    assert main([*command, "--steps", steps, "--output", str(tmp_path / "one")]) == 0
    found, expected = (load_snapshot(RunFiles(tmp_path / name).checkpoint).positions for name in ("run", "one"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=SAME)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_torchrun_starts_the_ranks_anew_and_the_run_goes_on(command, tmp_path):
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    prefix, steps = tmp_path / "run", 300
    status, said = strike(command, prefix, signal.SIGKILL, steps, starter)
    assert status == 0, said
    assert "the run goes on from" in said
    assert main([*command, "--steps", str(steps), "--output", str(tmp_path / "one")]) == 0
    found, expected = (load_snapshot(RunFiles(tmp_path / name).checkpoint) for name in ("run", "one"))
    assert found.step == steps
    np.testing.assert_allclose(found.positions, expected.positions, rtol=0, atol=SAME)


@pytest.mark.slow
def test_fixed_atoms_of_a_file_stay(tmp_path):
    """Both engines know them from the column ``move_mask``, and write it."""
    atoms, path, runs = bulk("Ar", "fcc", 5.4, cubic=True) * (4, 3, 3), tmp_path / "argon.extxyz", {}
    atoms.set_constraint(FixAtoms(range(0, len(atoms), 3)))
    path.write_bytes(extended_xyz([atoms]))
    for name, engine in (("ase", []), ("ranks", ON_RANKS)):
        prefix = tmp_path / name
        assert main(["md", str(path), *RUN, *engine, "--steps", "10", "--output", str(prefix)]) == 0
        runs[name] = load_snapshot(RunFiles(prefix).checkpoint).positions
        (held,) = read(RunFiles(prefix).trajectory).constraints
        assert held.index.tolist() == list(range(0, len(atoms), 3))
    np.testing.assert_allclose(runs["ranks"], runs["ase"], rtol=0, atol=SAME)
    start = read(path).positions
    np.testing.assert_array_equal(runs["ranks"][::3], start[::3])
    assert (np.abs(runs["ranks"] - start)[1::3].max(axis=1) > 1e-3).all()


@pytest.mark.slow
def test_direct_forces_move_atoms_on_ranks(tmp_path):
    config = registry().load("backbone", "escaip").example_config()
    backbone = build_backbone("escaip", config | {"forces": "direct"}, seed=0)
    path, water = tmp_path / "direct.safetensors", tmp_path / "water.extxyz"
    Potential(backbone, dict.fromkeys(backbone.species, 0.0), {"summary": "A test."}).save(path)
    atoms = chain(8)
    atoms.set_cell([24.0, 6.0, 6.0])
    atoms.pbc = True
    write(water, atoms)
    command = ["md", str(water), "-m", str(path), "--dtype", "float64", "--device", "cpu", "--ensemble", "nve"]
    command += ["--direct-forces", "--timestep", "0.2", "--steps", "10", "--minimum-distance", "0"]
    for name, engine in (("ase", []), ("ranks", ON_RANKS)):
        assert main([*command, *engine, "--output", str(tmp_path / name)]) == 0
    found, expected = (load_snapshot(RunFiles(tmp_path / name).checkpoint) for name in ("ranks", "ase"))
    np.testing.assert_allclose(found.positions, expected.positions, rtol=0, atol=SAME)
    forces = read(RunFiles(tmp_path / "ranks").trajectory).get_forces()
    assert np.linalg.norm(forces.sum(axis=0)) > 1e-3  # eV/Å, which is much more than rounding


@pytest.mark.slow
def test_halos_of_every_kind_give_the_same_trajectory(tmp_path, caplog):
    """What ``auto`` takes is up to the speeds that ranks measure meanwhile."""
    caplog.set_level(logging.INFO, "halocline")
    model, atoms = deep(), chain()
    for halo in ("recompute", "exchange", "auto"):
        files, options = RunFiles(tmp_path / halo), {"compress": False}
        here = open_houses(model, "ddp:ranks=2", "float64", "cpu", halo=halo, **options)
        chosen = Settings(ensemble="nvt", temperature=300.0, timestep=1.0, seed=2)
        with closing(here):
            residents = here.residents(Division.parse("none"))
            run_resident(atoms, model, residents, chosen, files, steps=20, minimum_distance=0.0)
    names = ("exchange", "recompute", "auto")
    found, expected, chosen = (load_snapshot(RunFiles(tmp_path / name).checkpoint) for name in names)
    np.testing.assert_allclose(found.positions, expected.positions, rtol=0, atol=SAME)
    assert np.abs(found.placing["built"] - atoms.positions).max() > 0.0
    assert np.array_equal(chosen.positions, (found if chosen.placing["exchange"] else expected).positions)
    (said,) = (record.getMessage() for record in caplog.records)
    how = "exchanged" if chosen.placing["exchange"] else "recomputed"
    assert said.startswith(f"Halos are {how}: a step should take")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backend", "torch"], "Only ranks can hold atoms: give --backend ddp:ranks=2"),
        (["--backend", "ddp:ranks=2", "--memory", "1GiB", "--partition", "rcb:4"], "chooses the number of parts"),
        pytest.param(
            ["--backend", "ddp:ranks=2", "--memory", "1GiB", "--halo", "exchange"],
            "choose halo=recompute to bound memory",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--backend", "ddp:ranks=2", "--memory", "9MiB"],
            "atoms alone need 431 MiB, more than the 9 MiB allowed",
            marks=pytest.mark.slow,
        ),
        (["--backend", "ddp:ranks=2", "--stop-at-spread", "1"], "--stop-at-spread is nothing that --engine ranks"),
    ],
)
def test_what_does_not_go_together_is_refused(command, tmp_path, capsys, options, message):
    status = main([*command, "--engine", "ranks", *options, "--steps", "1", "--output", str(tmp_path / "run")])
    assert status == UsageError.exit_status
    assert message in capsys.readouterr().err
