"""Whole programs: started by hand without a main guard, struck by signals, or started by torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from ddp_setups import SOON, has_ended, rank_processes, wait_until

pytestmark = pytest.mark.slow  # each starts processes of its own, which import torch

#: The head of each program, which has no main guard.
MODEL = """
import json, os, signal, sys
import numpy as np
from ase import Atoms
from halocline.backends.ddp.evaluator import DdpEvaluator
from halocline.errors import HaloclineError
from halocline.graph import Structure
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.program import Precision

name = "schnet"
model = build_backbone(name, registry().load("backbone", name).example_config(), seed=SEED)
species, grid = model.species, np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)
atoms = Atoms([species[i % 2] for i in range(27)], grid * 2.1 + 0.1 * np.sin(grid @ [1, 2, 3])[:, None])
structure = Structure.from_atoms(atoms)
def evaluator(**options):
    return DdpEvaluator(model, Precision.FLOAT64, None, "cpu", "exchange", **options)
"""
ONE_PROCESS = """
from halocline.backends.torch.executor import TorchExecutor
from halocline.evaluator import LocalEvaluator
expected = LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64).evaluate(structure)
def compare(found):
    np.testing.assert_allclose(found.energies, expected.energies, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.virial, expected.virial, rtol=0, atol=1e-10)
"""
#: Evaluates whenever it is told to, and says what came of it.
DRIVER = """
ranks = evaluator(ranks=2, timeout=5.0)
print("ready", flush=True)
for line in sys.stdin:
    try:
        compare(ranks.evaluate(structure))
        print("equal", flush=True)
    except HaloclineError as error:
        print(type(error).__name__, error, flush=True)
"""
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def write(folder, *parts, seed="1"):
    path = folder / "program_for_ddp.py"
    path.write_text("".join(parts).replace("SEED", seed))
    (folder / "queue.py").write_text("raise ImportError('ranks must not look into the folder of the user')\n")
    return path


def environment():
    """Of a shell in which nobody has started anything distributed."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}


@pytest.fixture
def driver(tmp_path):
    """A program that has two ranks, and its ranks."""
    program = write(tmp_path, MODEL, ONE_PROCESS, DRIVER)
    process = subprocess.Popen(
        [sys.executable, str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    assert process.stdout.readline() == "ready\n"
    ranks = list(rank_processes(process.pid))
    assert len(ranks) == 2
    yield process, ranks
    process.kill()
    process.communicate()


def tell(process):
    """Let the driver evaluate."""
    process.stdin.write("evaluate\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_ranks_end_with_a_driver_that_is_killed(driver):
    process, ranks = driver
    assert tell(process) == "equal\n"
    process.kill()
    process.wait()
    wait_until(lambda: all(map(has_ended, ranks)))


def test_ranks_leave_a_driver_that_is_stopped_and_come_back(driver):
    process, ranks = driver
    assert tell(process) == "equal\n"
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: all(map(has_ended, ranks)))
    process.send_signal(signal.SIGCONT)
    assert tell(process).startswith("DistributedError Rank")
    assert tell(process) == "equal\n"
    again = list(rank_processes(process.pid))
    process.send_signal(signal.SIGINT)
    assert process.wait(SOON) == -signal.SIGINT
    wait_until(lambda: all(map(has_ended, again)))


def torchrun(program, *options):
    done = subprocess.run(
        [*TORCHRUN, *options, str(program)],
        cwd=program.parent,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_torchrun_brings_the_ranks(tmp_path):
    program = write(
        tmp_path,
        MODEL,
        "ranks = evaluator()\n",  # only rank 0 comes back
        ONE_PROCESS,
        "for _ in range(2): compare(ranks.evaluate(structure))\n"
        "try: evaluator()\n"
        "except HaloclineError as error: print(type(error).__name__, error)\n"
        "ranks.close()\n"
        "try: ranks.evaluate(structure)\n"
        "except HaloclineError as error: print(type(error).__name__)\n"
        "print(json.dumps({'rank': os.environ['RANK']}))\n",
    )
    status, output, errors = torchrun(program)
    assert status == 0, errors
    second, again, rank = output.splitlines()
    assert second.startswith("UsageError The processes of torchrun serve one evaluator")
    assert again == "UsageError"
    assert json.loads(rank) == {"rank": "0"}


def test_torchrun_starts_again_after_a_rank_was_killed(tmp_path):
    program = write(
        tmp_path,
        MODEL,
        "first = os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'\n"
        "if first and os.environ['RANK'] == '1':\n"
        "    from halocline.backends.ddp.worker import DomainWorker\n"
        "    DomainWorker.step = lambda self, request: os.kill(os.getpid(), signal.SIGKILL)\n"
        "ranks = evaluator()\n",
        ONE_PROCESS,
        "compare(ranks.evaluate(structure))\nprint('equal at the', 'first' if first else 'second', 'attempt')\n",
    )
    status, output, errors = torchrun(program, "--max-restarts", "1")
    assert status == 0, errors
    assert output.splitlines() == ["equal at the second attempt"]


def test_torchrun_with_different_models_is_refused(tmp_path):
    program = write(tmp_path, MODEL, "evaluator()\n", seed="int(os.environ['RANK'])")
    status, _, errors = torchrun(program)
    assert status != 0
    assert "DistributedError: Rank 1 was called with a model of SHA-256" in errors


def test_torchrun_reports_a_rank_that_hangs(tmp_path):
    program = write(
        tmp_path,
        MODEL,
        "if os.environ['RANK'] == '1':\n"
        "    from halocline.backends.ddp.worker import DomainWorker\n"
        "    DomainWorker.step = lambda self, request: os.kill(os.getpid(), signal.SIGSTOP)\n"
        "ranks = evaluator(timeout=5.0)\n"
        "ranks.evaluate(structure)\n",
    )
    status, _, errors = torchrun(program)
    assert status != 0
    assert "DistributedError: Rank 1 gave no sign of life for 5 s and counts as hung" in errors
