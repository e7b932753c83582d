"""What PopTorch must give, on the IPU Model or on an IPU, wherever its SDK is installed: ``pytest -m ipu``."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np
import pytest
from ipu_programs import backbone, call, handmade, ref
from structures import random_structure

from halocline.backends.ipu.executor import IpuExecutor
from halocline.backends.ipu.interpreter import Interpreter
from halocline.backends.ipu.process import RunnerError, RunnerProcess
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.program import Precision

pytestmark = pytest.mark.ipu

X, INDICES = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([3, 1])

#: Another compiler in float32: products and sums in another order, exponentials by other polynomials.
RELATIVE, ABSOLUTE = 1e-4, 1e-5

#: Whether an IPU is there.
QUESTION = "import poptorch; raise SystemExit(not poptorch.ipuHardwareIsAvailable())"


@pytest.fixture(scope="module", params=["ipu-model", "ipu"])
def target(request):
    interpreter = Interpreter.find()
    if problem := interpreter.problem(request.param):
        pytest.skip(problem)
    if request.param == "ipu" and subprocess.run([interpreter.path, "-c", QUESTION], check=False).returncode:
        pytest.skip("there is no IPU")
    return request.param


@pytest.fixture
def start(target, tmp_path):
    """Start a runner of a program on the target."""

    def start(program, on=target, **options):
        path = tmp_path / "program.ipu.zip"
        program.write(path)
        return RunnerProcess(path, on, Interpreter.find().path, **options)

    return start


@pytest.mark.parametrize("name", ["lennard-jones", "schnet"])
def test_energies_and_forces_are_those_of_the_same_program_on_the_cpu(target, name):
    model = backbone(name)
    atoms = random_structure(1, symbols=model.species, atoms=5, pbc=False, edge=(4.0, 6.0))
    structure, size = Structure.from_atoms(atoms), {"atoms": 8, "neighbours": 10}
    found, expected = (
        LocalEvaluator(model, IpuExecutor(target=each, **size), Precision.FLOAT32).evaluate(structure)
        for each in (target, "cpu")
    )
    np.testing.assert_allclose(found.energies, expected.energies, RELATIVE, ABSOLUTE)
    np.testing.assert_allclose(found.forces, expected.forces, RELATIVE, ABSOLUTE)


def test_an_operation_without_a_handler_is_named(start):
    program = handmade()
    unsupported = call("nan_to_num.default", ref("sums"), to=("cleaned",))
    runner = start(replace(program, operations=(*program.operations, unsupported), outputs=("cleaned",)))
    with pytest.raises(RunnerError, match="nan_to_num"):
        runner.call([X, INDICES])


def test_a_compiled_program_is_found_again(start, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("POPTORCH_CACHE_DIR", str(cache))
    (first,) = start(handmade()).call([X, INDICES])
    compiled = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    assert compiled
    (second,) = start(handmade()).call([X, INDICES])
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == compiled
    assert np.array_equal(first, second)


def test_calls_with_other_inputs_need_no_other_program(start):
    runner, on_cpu = start(handmade()), start(handmade(), on="cpu")
    for indices in ([3, 1], [0, 0], [2, 3]):
        arrays = [X, np.array(indices)]
        np.testing.assert_allclose(runner.call(arrays)[0], on_cpu.call(arrays)[0], RELATIVE, ABSOLUTE)
