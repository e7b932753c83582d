"""Scripts for clusters do what the documentation says, under stand-ins of SLURM; LAMMPS' is in its own tests."""

import csv
import json
import signal
import socket
import subprocess
from types import SimpleNamespace

import fake_slurm
import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from cluster_page import blocks, changed

from halocline.cli.main import main
from halocline.cli.signals import Interruption, Terminated, held_back, terminated_on_sigterm
from halocline.zoo.store import Zoo

MODEL = {"m3gnet-matpes-pbe": "lennard-jones-argon"}

#: Steps of 0.5 fs that runs of the tests have, some seconds; the time limit comes after some 20 of them.
STEPS = 2000

#: Of chains, which have ten links on the page.
SHORT = {"--time 1000": f"--time {STEPS * 0.0005}", "array=1-10%1": "array=1-3%1"}


#: Of volumes: argon is soft, and they are relaxed to 0.01 eV/Å from either side.
SAME_VOLUME = 0.01


@pytest.fixture
def cluster(tmp_path):
    """A folder that all nodes share, with the environment file, and one to work in."""
    shared, work = tmp_path / "shared", tmp_path / "work"
    (shared / "venv" / "bin").mkdir(parents=True)
    (shared / "venv" / "bin" / "activate").touch()
    fake_slurm.install(tmp_path / "commands")
    work.mkdir()
    places = {"/shared/halocline": shared}
    (environment,) = blocks("One environment file")
    (shared / "environment.sh").write_text(changed(environment, places))

    def sbatch(heading, changes, **variables):
        script = changed(blocks(heading)[0], MODEL | places | changes)
        variables |= {"HOME": str(tmp_path), "FAKE_LIMIT": ""} | variables
        return fake_slurm.sbatch(script, tmp_path / "commands", work, _free_port() - 20001, **variables)

    return SimpleNamespace(shared=shared, work=work, commands=tmp_path / "commands", sbatch=sbatch)


def _free_port():
    """Of those that the page counts from the number of the job."""
    for port in range(20001, 30000, 7):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no port is free")


def write_start(folder):
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * 3
    write(folder / "start.extxyz", atoms)


def test_sigterm_may_come_again_and_ctrl_c_ends_at_once():
    interruption = Interruption()
    for _ in range(2):
        interruption.hold(signal.SIGTERM, None)
    assert interruption.exit_status == 143
    with pytest.raises(KeyboardInterrupt):
        interruption.hold(signal.SIGINT, None)


def test_sigterm_that_comes_again_does_not_cut_off_what_is_said_at_the_end():
    before = signal.getsignal(signal.SIGTERM)
    with terminated_on_sigterm():
        with held_back() as interruption:
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert interruption.exit_status == 143
    assert signal.getsignal(signal.SIGTERM) is before
    with terminated_on_sigterm():
        with held_back():
            pass
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.slow
def test_a_chain_goes_on_where_its_time_limit_ended_it(cluster):
    write_start(cluster.work)
    first, second, third = cluster.sbatch("One run", SHORT, FAKE_LIMIT="argon.csv")
    assert first.returncode == 143, first.stderr
    assert "interrupted at step" in first.stderr
    assert second.returncode == 0, second.stderr
    assert third.returncode == 0, third.stderr
    options = ["--temperature", "50", "--steps", str(STEPS), "-o", str(cluster.work / "whole")]
    assert main(["md", str(cluster.work / "start.extxyz"), "-m", "lennard-jones-argon", *options]) == 0
    for suffix in ("csv", "extxyz"):
        assert (cluster.work / f"argon.{suffix}").read_bytes() == (cluster.work / f"whole.{suffix}").read_bytes()


@pytest.mark.slow
def test_ranks_over_nodes_keep_the_step_at_which_their_time_limit_ended_them(cluster):
    write_start(cluster.work)
    fewer = {"ranks=8 ": "ranks=1 ", "cpus-per-task=32": "cpus-per-task=1", "array=1-10%1": "array=1-1%1"}
    (done,) = cluster.sbatch("Ranks over nodes", fewer, FAKE_LIMIT="large.csv")
    assert done.returncode != 0
    assert "interrupted at step" in done.stderr, done.stderr
    with np.load(cluster.work / "large.npz") as kept, (cluster.work / "large.csv").open() as log:
        last = int(list(csv.DictReader(log))[-1]["step"])
        assert json.loads(str(kept["header"]))["step"] - last in (0, 1)  # whose line is written when it goes on
        assert last > 15


@pytest.mark.slow
def test_arrays_divide_structures_and_pass_over_what_is_done(cluster):
    (cluster.work / "structures").mkdir()
    (cluster.work / "relaxed").mkdir()
    for index in range(3):
        write(cluster.work / "structures" / f"{index}.extxyz", bulk("Ar", "fcc", a=5.1 + 0.1 * index))
    (cluster.work / "relaxed" / "1.extxyz").write_text("done before")
    for done in cluster.sbatch("Many structures", {"array=0-19": "array=0-1"}):
        assert done.returncode == 0, done.stderr
    assert (cluster.work / "relaxed" / "1.extxyz").read_text() == "done before"
    volumes = [read(cluster.work / "relaxed" / f"{index}.extxyz").get_volume() for index in (0, 2)]
    assert volumes[0] == pytest.approx(volumes[1], rel=SAME_VOLUME)
    assert not (cluster.work / "relaxed" / "failed").exists()


def test_what_is_done_once_is_done_as_written(cluster):
    """But for what comes from the network: the environment is there, and the model ships."""
    (text,) = blocks("Once")
    shared = cluster.shared
    (shared / "venv" / "bin" / "pip").write_text("#!/bin/bash\n[ \"$*\" = 'install halocline' ]\n")
    (shared / "venv" / "bin" / "pip").chmod(0o755)
    (shared / "venv" / "bin" / "halocline").symlink_to(cluster.commands / "halocline")
    text = changed(text, MODEL | {"/shared/halocline": shared, "python3 -m venv": "test -d"})
    subprocess.run(["bash", "-e", "-c", text], check=True, capture_output=True, timeout=300)
    (copied,) = (shared / "models").iterdir()
    assert copied.read_bytes() == Zoo().path("lennard-jones-argon").read_bytes()
