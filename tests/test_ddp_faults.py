"""A rank that dies, hangs, runs out of memory or differs ends the step with one error, and no process stays."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ddp_setups import backbone, distributed, liquid, local, process_of, rank_processes, require_equal

from halocline.errors import BackboneError, DistributedError, StructureError, UsageError
from halocline.graph import Structure

pytestmark = [
    pytest.mark.slow,  # each starts processes of its own, which import torch
    pytest.mark.usefixtures("no_ranks_of_before"),
]

#: Seconds of silence; the tests wait for them.
TIMEOUT = 5.0


def evaluate_beside(evaluator, structure):
    """Evaluate in a thread, which is returned with a list for the error."""
    errors = []

    def work():
        try:
            evaluator.evaluate(structure)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, errors


def require_distributed_error(thread, errors, message):
    thread.join(12 * TIMEOUT)
    assert not thread.is_alive(), "the step hangs"
    (error,) = errors
    assert type(error) is DistributedError
    assert message in str(error)
    assert not rank_processes(os.getpid())


@pytest.fixture(scope="module", params=["exchange", "recompute"])
def ring(request):
    """An evaluator that is hurt by one test after another, which starts its ranks anew each time."""
    model = backbone("schnet")
    evaluator = distributed(model, halo=request.param, timeout=TIMEOUT)
    structure = liquid(model)
    yield evaluator, structure, local(model).evaluate(structure)
    evaluator.close()
    assert not rank_processes(os.getpid())


@pytest.mark.parametrize(
    ("blow", "message"),
    [
        (signal.SIGKILL, "Rank 1 was ended by SIGKILL; perhaps memory ran out; all ranks were stopped."),
        (signal.SIGSTOP, "Rank 1 gave no sign of life for 5 s and counts as hung; all ranks were stopped."),
    ],
)
def test_a_rank_struck_in_the_middle_of_a_step(ring, blow, message):
    evaluator, structure, expected = ring
    require_equal(evaluator.evaluate(structure), expected)
    victim = process_of(1, os.getpid())
    os.kill(victim, signal.SIGSTOP)  # so that the step has begun and cannot be over when the blow falls
    thread, errors = evaluate_beside(evaluator, structure)
    time.sleep(0.5)
    os.kill(victim, blow)
    require_distributed_error(thread, errors, message)
    require_equal(evaluator.evaluate(structure), expected)  # by new ranks


def test_a_rank_that_died_between_steps(ring):
    evaluator, structure, expected = ring
    require_equal(evaluator.evaluate(structure), expected)
    os.kill(process_of(0, os.getpid()), signal.SIGKILL)
    require_distributed_error(*evaluate_beside(evaluator, structure), "Rank 0 was ended by SIGKILL")


def test_slow_is_not_hung(let_ranks_run):
    let_ranks_run(
        "import time\n"
        "from halocline.backends.ddp.worker import DomainWorker\n"
        "step = DomainWorker.step\n"
        f"DomainWorker.step = lambda self, request: time.sleep({2.0 * TIMEOUT}) or step(self, request)\n"
    )
    model = backbone("lennard-jones")
    evaluator, structure = distributed(model, timeout=TIMEOUT), liquid(model)
    require_equal(evaluator.evaluate(structure), local(model).evaluate(structure))
    evaluator.close()


def test_lack_of_memory_names_the_rank_and_what_to_do():
    model = backbone("lennard-jones")
    evaluator = distributed(model)
    evaluator.evaluate(Structure.from_atoms(Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 4]])))
    victim = process_of(1, os.getpid())
    pages = int(Path(f"/proc/{victim}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**24
    resource.prlimit(victim, resource.RLIMIT_AS, (limit, limit))
    edge = 22 * 3.6
    grid = np.stack(np.meshgrid(*[np.arange(22)] * 3), -1).reshape(-1, 3) * 3.6
    structure = Structure.from_atoms(Atoms(f"Ar{len(grid)}", positions=grid, cell=[edge] * 3, pbc=True))
    with pytest.raises(DistributedError, match=r"Rank 1: It ran out of memory \(.*; use more parts or more ranks"):
        evaluator.evaluate(structure)
    assert not rank_processes(os.getpid())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner": "torch:nonsense=1"}, r"Rank [01]: There is no option of 'torch' named 'nonsense'"),
        ({"inner": "nonsense"}, r"Rank [01]: There is no executor named 'nonsense'"),
    ],
)
def test_an_error_on_a_rank_is_raised_as_what_it_is(options, message):
    with pytest.raises(UsageError, match=message):
        distributed(backbone("lennard-jones"), **options)
    assert not rank_processes(os.getpid())


def test_a_model_that_ranks_cannot_build_is_refused():
    model = backbone("lennard-jones")
    model.config = {"nonsense": 1}
    with pytest.raises(BackboneError, match=r"Rank [01]: "):
        distributed(model)
    assert not rank_processes(os.getpid())


def test_an_error_in_a_structure_names_its_atoms_and_ends_nothing_for_good():
    model = backbone("lennard-jones")
    evaluator = distributed(model)
    good = Structure.from_atoms(Atoms("Ar3", positions=[[0, 0, 0], [0, 0, 0.2], [9, 0, 0]]))
    expected = local(model).evaluate(good)
    require_equal(evaluator.evaluate(good), expected)
    bad = Structure.from_atoms(Atoms("Ar3", positions=[[0, 0, 0], [0, 0, 0], [9, 0, 0]]))
    with pytest.raises(StructureError, match="Atoms 0 and 1 sit on one point"):
        evaluator.evaluate(bad)
    require_equal(evaluator.evaluate(good), expected)
    evaluator.close()


def test_a_rank_of_another_version_is_refused(let_ranks_run):
    let_ranks_run("import halocline\nhalocline.__version__ = '0.0.1'\n")
    with pytest.raises(DistributedError, match=r"Rank 0 has halocline 0\.0\.1 and the driver has halocline"):
        distributed(backbone("lennard-jones"))
    assert not rank_processes(os.getpid())


def test_a_rank_that_does_not_come_up(let_ranks_run):
    let_ranks_run("raise SystemExit(3)\n")
    with pytest.raises(DistributedError, match=r"Rank [01] ended with status 3"):
        distributed(backbone("lennard-jones"))
    assert not rank_processes(os.getpid())
