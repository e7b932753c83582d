"""Ranks that are processes, started by the command or by torchrun, and what becomes of them if one is lost."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from ddp_setups import wait_until

from halocline.training.device import make_fabric
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.run import TrainingRun
from halocline.training.state import load_state

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds ranks by /proc, as Linux has it"),
]

# Gradients summed in another order, in float64, over dozens of steps.
ROUNDING = 1e-10

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "-m"]


@pytest.fixture
def long(edit_recipe):
    """A run that is still going on when it is disturbed."""
    edit_recipe("warmup_steps = 3", 'warmup_steps = 3\nprecision = "float64"')
    return edit_recipe("epochs = 4", "epochs = 20").parent


@pytest.fixture
def start(long):
    """Start the command in a process of its own, in the folder of the recipe."""
    started = []

    def call(output, *options, starter=("-m",)):
        words = [*starter, "halocline", "train", "recipe.toml", "-o", output, "--threads", "1", "--device", "cpu"]
        pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, *words, *options], cwd=long, **pipes))
        return started[-1]

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ranks_in(folder):
    """The processes that train there, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                words = (entry / "environ").read_bytes().split(b"\0")
                found |= {int(word[5:]): int(entry.name) for word in words if word.startswith(b"RANK=")}
        except OSError:  # gone meanwhile, or somebody else's
            continue
    return found


def wait_for_epoch(process, epoch):
    for line in process.stderr:
        if line.startswith(f"epoch {epoch}/"):
            return
    pytest.fail(f"the process ended with status {process.wait()} before epoch {epoch}")


def last_words(process):
    """What it says until it ends, beside its progress."""
    said = process.communicate(timeout=120)[1]
    return [line for line in said.splitlines() if not line.startswith("epoch ")]


def state_of(folder, output):
    return load_state(folder / output / "state.safetensors")


def test_two_processes_are_as_good_as_one(long, start):
    recipe = read_recipe(long / "recipe.toml")
    TrainingRun(prepare(recipe, long), long / "one", make_fabric("cpu", "float64"), resume=False).train(
        lambda record: None
    )
    process = start("two", "--ranks", "2")
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert said.count("epoch 20/20") == said.count("Wrote ") == said.count("schnet, ") == 1
    one, two = state_of(long, "one"), state_of(long, "two")
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(tensor, two.tensors[name], rtol=ROUNDING, atol=ROUNDING, msg=name)
    assert (two.ranks, two.threads) == (2, 1)
    kept = {".training.lock", "metrics.csv", "model.safetensors", "state.safetensors", "state_prev.safetensors"}
    kept |= {"learning_curves.png", "parity.png"}
    assert {entry.name for entry in os.scandir(long / "two")} == kept


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_a_killed_rank_ends_the_run_which_resumes_bit_by_bit(long, start, rank):
    assert start("straight", "--ranks", "2").wait() == 0
    process = start("killed", "--ranks", "2")
    wait_for_epoch(process, 3)
    os.kill(ranks_in(long)[rank], signal.SIGKILL)
    said = last_words(process)
    assert process.returncode == 1
    assert said == [
        f"halocline: Rank {rank} was ended by SIGKILL; all were stopped. "
        "Go on from the last epoch kept with --resume."
    ]
    assert ranks_in(long) == {}
    assert 3 <= state_of(long, "killed").epoch < 20
    assert start("killed", "--ranks", "2", "--resume").wait() == 0
    straight, resumed = state_of(long, "straight"), state_of(long, "killed")
    for name, tensor in straight.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_a_rank_that_hangs_ends_the_run(long, start, rank):
    process = start("hung", "--ranks", "2", "--timeout", "8")
    wait_for_epoch(process, 3)
    os.kill(ranks_in(long)[rank], signal.SIGSTOP)
    (said,) = last_words(process)
    assert process.returncode == 1
    assert said.startswith(f"halocline: Rank {rank} did not answer within 8 s; all were stopped.")
    assert ranks_in(long) == {}
    assert state_of(long, "hung").epoch >= 3


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_all_ranks(long, start, number, status):
    process = start("stopped", "--ranks", "2")
    wait_for_epoch(process, 3)
    process.send_signal(number)
    said = last_words(process)
    assert process.returncode == status
    assert said[0].startswith("halocline: ending after this step")
    epoch = state_of(long, "stopped").epoch
    assert said[1:] == [f"Stopped; the state after epoch {epoch} is kept in stopped. Continue with --resume."]
    assert ranks_in(long) == {}


def test_ranks_do_not_outlive_who_started_them(long, start):
    process = start("orphaned", "--ranks", "2")
    wait_for_epoch(process, 3)
    process.kill()
    last_words(process)  # until nobody holds the pipe
    assert ranks_in(long) == {}
    assert state_of(long, "orphaned").epoch < 20


def test_an_error_of_all_ranks_is_said_once(long, start):
    (long / "argon.extxyz").write_text("4\n")
    process = start("refused", "--ranks", "2")
    said = last_words(process)
    assert process.returncode == 1
    assert len(said) == 1
    assert "argon.extxyz" in said[0]


def test_torchrun_starts_the_ranks_anew_and_the_run_goes_on(long, start):
    process = start("joined", starter=TORCHRUN)
    wait_for_epoch(process, 3)
    os.kill(ranks_in(long)[1], signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert "Resuming after epoch" in said
    assert state_of(long, "joined").epoch == 20


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0, 3.0])
def test_no_rank_outlives_who_is_killed_while_starting_them(long, start, delay):
    """Before they know of anything but how to end."""
    process = start("orphaned", "--ranks", "2")
    wait_until(lambda: ranks_in(long))
    time.sleep(delay)
    process.kill()
    process.communicate()
    wait_until(lambda: ranks_in(long) == {})


@pytest.mark.skipif(shutil.which("ss") is None, reason="ss of iproute2 is not installed")
def test_nobody_listens_to_the_network(long, start):
    process = start("private", "--ranks", "2")
    wait_for_epoch(process, 2)
    ours = {f"pid={pid}," for pid in (process.pid, *ranks_in(long).values())}
    lines = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    addresses = [line.split()[3] for line in lines if any(pid in line for pid in ours)]
    assert addresses  # of gloo
    assert all(address.startswith(("127.0.0.1:", "[::1]:")) for address in addresses), addresses
