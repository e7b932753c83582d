"""A rank that atoms live on runs out of memory: the run ends at once, says which rank it was, leaves nothing."""

import gc
import os
import resource
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from ddp_setups import SOON, process_of, rank_processes

import halocline
from halocline.backends.ddp.links import LostPeerError, unsent
from halocline.cli.main import main
from halocline.dynamics import RunFiles, Settings
from halocline.dynamics.resident_run import open_houses, run_resident
from halocline.dynamics.snapshot import load_snapshot
from halocline.errors import DistributedError
from halocline.partition import Division

SAVED = 5

#: Seconds of silence, longer than any of these tests may wait: an error has to be told, not guessed.
TIMEOUT = 3600

#: Lets rank 1 want more than there is, once something was called so many times, and notes when it did.
SHORT = """
import os, pathlib
import numpy as np, torch
from halocline.backends.ddp.resident import residence

work, calls = residence.{name}, 0

def run_short(*args, **options):
    global calls
    calls += 1
    if os.environ["RANK"] == "1" and calls > {after}:
        pathlib.Path({mark!r}).touch()
        {shortage}
    return work(*args, **options)

residence.{name} = run_short
"""


@pytest.fixture(autouse=True)
def nothing_is_left():
    """No process, without the collection of what was forgotten; and with it, no file in memory."""
    gc.collect()
    before = files_in_memory()
    gc.disable()
    yield
    left = rank_processes(os.getpid())
    gc.enable()
    assert not left
    gc.collect()
    assert files_in_memory() == before


def files_in_memory():
    """Those that this process holds; ranks have no others."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the folder itself
            found.append(str(each.readlink()))
    return [name for name in found if "memfd:" in name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "after", "shortage"),
    [
        ("domain_graph", 12, "np.empty(2**48)"),
        ("domain_graph", 12, "torch.empty(2**48)"),
        ("domain_graph", 12, "raise torch.OutOfMemoryError('CUDA out of memory.')"),
        ("house", 0, "np.empty(2**48)"),
    ],
    ids=["numpy in a step", "torch in a step", "a GPU in a step", "at the start"],
)
def test_the_rank_is_named_in_time_and_the_run_goes_on(
    tmp_path, let_ranks_run, monkeypatch, capsys, name, after, shortage
):
    path, prefix, mark = tmp_path / "argon.extxyz", tmp_path / "run", tmp_path / "mark"
    write(path, bulk("Ar", "fcc", 5.4, cubic=True) * (4, 2, 2))
    command = ["md", str(path), "-m", "lennard-jones-argon", "--dtype", "float64", "--device", "cpu"]
    command += ["--ensemble", "nve", "--temperature", "40", "--timestep", "4", "--steps", "20"]
    command += ["--checkpoint-interval", str(SAVED), "--interval", "5", "-o", str(prefix)]
    command += ["--engine", "ranks", "--backend", f"ddp:ranks=2,timeout={TIMEOUT}"]
    with monkeypatch.context():
        let_ranks_run(SHORT.format(name=name, after=after, mark=str(mark), shortage=shortage))
        assert main(command) == DistributedError.exit_status
    assert time.time() - mark.stat().st_mtime < SOON
    (sentence,) = (line for line in capsys.readouterr().err.splitlines() if "memory" in line)
    assert "Rank 1: It ran out of memory (" in sentence
    assert "use more parts or more ranks" in sentence
    if not after:
        assert not RunFiles(prefix).checkpoint.exists()
        return
    assert sentence.startswith("halocline: The run stopped near step ")
    assert load_snapshot(RunFiles(prefix).checkpoint).step == after // SAVED * SAVED
    let_ranks_run("")
    assert main([*command, "--resume"]) == 0
    assert load_snapshot(RunFiles(prefix).checkpoint).step == 20


@pytest.mark.slow
def test_a_limit_of_the_system_is_lack_of_memory_too(tmp_path):
    model = halocline.load("lennard-jones-argon")
    large = bulk("Ar", "fcc", 5.4, cubic=True) * (16, 14, 14)
    chosen = Settings(ensemble="nve", temperature=40.0, timestep=4.0)
    with closing(open_houses(model, "ddp:ranks=2", "float64", "cpu", "recompute", compress=False)) as houses:
        victim = process_of(1, os.getpid())
        pages = int(Path(f"/proc/{victim}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 2**26
        resource.prlimit(victim, resource.RLIMIT_AS, (limit, limit))
        with pytest.raises(DistributedError, match=r"Rank 1: It ran out of memory \(.*; use more parts or more"):
            run_resident(
                large, model, houses.residents(Division.parse("none")), chosen, RunFiles(tmp_path / "run"), steps=5
            )


def test_memory_that_runs_out_in_sending_is_nobody_elses_fault():
    short = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
    assert type(unsent([1], short)) is MemoryError
    assert type(unsent([1], RuntimeError("Connection closed by peer"))) is LostPeerError
