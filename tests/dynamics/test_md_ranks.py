"""``halocline md`` on ranks: the trajectory of one process, across new neighbour lists and the death of a rank."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from ddp_setups import SOON, process_of, rank_processes, wait_until

import halocline
from halocline.cli.main import main
from halocline.dynamics import RunFiles
from halocline.dynamics.snapshot import load_snapshot
from halocline.graph import NeighbourList, Structure

pytestmark = pytest.mark.slow  # each runs dynamics of a water box

WATER = Path(__file__).parents[2] / "examples" / "water.extxyz"
STEPS, SAVED = 30, 5

#: Å after all steps: ranks only change the order of sums, and 30 fs are too short for chaos to matter.
SAME = 1e-8

RUN = ["md", str(WATER), "-m", "water-revpbe0d3-schnet", "--dtype", "float64", "--device", "cpu"]
RUN += ["--ensemble", "nve", "--timestep", "1", "--steps", str(STEPS), "--interval", "1"]
RUN += ["--checkpoint-interval", str(SAVED)]
ON_RANKS = [*RUN, "--backend", "ddp:ranks=2", "--partition", "rcb:4"]


@pytest.fixture(autouse=True)
def no_rank_is_left():
    """Commands end their ranks themselves, not the collection of what they leave."""
    gc.disable()
    yield
    left = rank_processes(os.getpid())
    gc.enable()
    assert not left


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The last positions (N, 3) in Å of one process."""
    prefix = tmp_path_factory.mktemp("one") / "run"
    assert main([*RUN, "--output", str(prefix)]) == 0
    return final_positions(prefix)


def final_positions(prefix):
    snapshot = load_snapshot(RunFiles(prefix).checkpoint)
    assert snapshot.step == STEPS
    return snapshot.positions


def searches(prefix):
    """How often a neighbour list that follows a trajectory is searched."""
    neighbours = NeighbourList(halocline.load("water-revpbe0d3-schnet").backbone.neighbours)
    return sum(neighbours.refresh(Structure.from_atoms(frame)) for frame in read(f"{prefix}.extxyz", ":"))


@pytest.mark.parametrize(
    "halo", [*(pytest.param(halo, marks=pytest.mark.exhaustive) for halo in ("auto", "recompute")), "exchange"]
)
def test_ranks_follow_the_trajectory_of_one_process(expected, tmp_path, halo):
    prefix = tmp_path / "run"
    assert main([*ON_RANKS, "--halo", halo, "--output", str(prefix)]) == 0
    np.testing.assert_allclose(final_positions(prefix), expected, rtol=0, atol=SAME)
    assert searches(prefix) > 1


def start_and_kill_a_rank(prefix, options, starter=()):
    """Kill rank 1 while the program runs, beyond a few checkpoints; its exit status and what it says."""
    command = [sys.executable, *starter, "-m", "halocline", *ON_RANKS, *options, "--output", str(prefix)]
    log = RunFiles(prefix).log
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 10 * SOON
        while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < 2.5 * SAVED):
            assert time.monotonic() < until, "the run does not begin"
            time.sleep(0.01)
        ranks = list(rank_processes(process.pid))
        os.kill(process_of(1, process.pid), signal.SIGKILL)
        _, said = process.communicate(timeout=5 * SOON)
    wait_until(lambda: not any(Path(f"/proc/{rank}").exists() for rank in ranks))
    return process.returncode, said


@pytest.mark.parametrize("halo", [pytest.param("recompute", marks=pytest.mark.exhaustive), "exchange"])
def test_a_killed_rank_ends_the_run_which_resumes(expected, tmp_path, halo):
    prefix, options = tmp_path / "run", ["--halo", halo]
    status, said = start_and_kill_a_rank(prefix, options)
    assert status == 1
    (sentence,) = said.splitlines()
    assert sentence.startswith("halocline: The run stopped near step 1")
    assert (
        "DistributedError: Rank 1 was ended by SIGKILL; perhaps memory ran out; all ranks were stopped. " in said
    )
    assert load_snapshot(RunFiles(prefix).checkpoint).step % SAVED == 0
    assert main([*ON_RANKS, *options, "--resume", "--output", str(prefix)]) == 0
    np.testing.assert_allclose(final_positions(prefix), expected, rtol=0, atol=SAME)
    assert [frame.info["step"] for frame in read(f"{prefix}.extxyz", ":")] == list(range(STEPS + 1))


def test_torchrun_starts_the_ranks_anew_and_the_run_goes_on(expected, tmp_path):
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    prefix = tmp_path / "run"
    status, said = start_and_kill_a_rank(prefix, [], starter)
    assert status == 0, said
    assert "the run goes on from" in said
    np.testing.assert_allclose(final_positions(prefix), expected, rtol=0, atol=SAME)
    assert [frame.info["step"] for frame in read(f"{prefix}.extxyz", ":")] == list(range(STEPS + 1))
