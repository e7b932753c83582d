"""The runner and its host: the right numbers, and a clear error for everything that can befall a process."""

from __future__ import annotations

import gc
import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ipu_programs import BACKBONES, backbone, handmade
from structures import random_structure

from halocline.backends.ipu import executor as executor_module
from halocline.backends.ipu import process as process_module
from halocline.backends.ipu import runner as runner_module
from halocline.backends.ipu.executor import IpuExecutor
from halocline.backends.ipu.exporter import IpuExporter
from halocline.backends.ipu.interpreter import VARIABLE, Interpreter
from halocline.backends.ipu.process import RunnerError, RunnerProcess
from halocline.backends.torch.executor import TorchExecutor
from halocline.cli.main import main
from halocline.errors import UsageError
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.potential.potential import Potential
from halocline.program import Precision
from halocline.testing import tolerances

#: Room for every structure below.
ATOMS, NEIGHBOURS = 12, 80

X = np.arange(12, dtype=np.float32).reshape(4, 3)
INDICES = np.array([3, 1])
SUMS = [2.0 * (9 + 10 + 11), 2.0 * (3 + 4 + 5)]


def structures(species):
    """Name → atoms whose neighbours a fixed-capacity program has room for."""
    first = species[0]
    return {
        "molecule": random_structure(1, symbols=species, atoms=5, pbc=False, edge=(4.0, 6.0)),
        "slab": random_structure(2, symbols=species, atoms=8, pbc=(True, True, False), edge=(7.0, 9.0)),
        "triclinic": random_structure(3, symbols=species, atoms=6, pbc=True, edge=(6.0, 8.0)),
        "one atom": Atoms(first),
        "no edges": Atoms([first] * 3, positions=[[0, 0, 0], [50, 0, 0], [0, 50, 0]]),
    }


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def reference(name):
    return LocalEvaluator(backbone(name), TorchExecutor("cpu"), Precision.FLOAT64)


@pytest.fixture(scope="module")
def fixed(name):
    """An evaluator with one program, which pads everything."""
    ipu = IpuExecutor(target="cpu", atoms=ATOMS, neighbours=NEIGHBOURS)
    return LocalEvaluator(backbone(name), ipu, Precision.FLOAT32)


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.ipu.zip"
    handmade().write(path)
    return path


@pytest.fixture
def start(program):
    """Start a runner of the program made by hand."""
    started = []

    def start(**options):
        started.append(RunnerProcess(program, options.pop("target", "cpu"), sys.executable, **options))
        return started[-1]

    yield start
    for runner in started:
        runner.close()


def require_close(found, expected):
    """Float32 against float64."""
    force = tolerances.FLOAT32_FORCE * np.abs(expected.forces).max() + tolerances.FLOAT32_FORCE_FLOOR
    assert np.abs(found.forces - expected.forces).max() <= force
    energy = tolerances.FLOAT32_ENERGY * max(np.abs(expected.energies).sum(), len(expected.energies))
    assert np.abs(found.energies - expected.energies).max() <= energy


class TestNumbers:
    @pytest.mark.parametrize("kind", ["molecule", "slab", "triclinic", "one atom", "no edges"])
    def test_padded_program_reproduces_the_eager_model(self, name, fixed, reference, kind):
        structure = Structure.from_atoms(structures(backbone(name).species)[kind])
        require_close(fixed.evaluate(structure), reference.evaluate(structure))

    @pytest.mark.slow
    def test_a_program_for_each_size_gives_the_same(self, name, fixed, monkeypatch):
        monkeypatch.setattr(executor_module, "KEPT", 2)  # five sizes, so that runners are replaced
        buckets = LocalEvaluator(backbone(name), IpuExecutor(target="cpu"), Precision.FLOAT32)
        for atoms in structures(backbone(name).species).values():
            structure = Structure.from_atoms(atoms)
            require_close(buckets.evaluate(structure), fixed.evaluate(structure))

    def test_larger_structures_are_refused(self, name, fixed):
        species = backbone(name).species
        many = Atoms([species[0]] * (ATOMS + 1), positions=[[20.0 * i, 0, 0] for i in range(ATOMS + 1)])
        with pytest.raises(UsageError, match=r"room for 13, .* the program has 12, "):
            fixed.evaluate(Structure.from_atoms(many))


class TestProcess:
    def test_it_calls(self, start):
        runner = start()
        assert runner.inputs == ("x", "indices")
        for _ in range(2):
            (sums,) = runner.call([X, INDICES])
            assert sums.tolist() == SUMS

    @pytest.mark.parametrize(
        "arrays",
        [[X], [X[:3], INDICES], [X.astype(np.float64), INDICES], [X, np.array([1, 2, 3])]],
        ids=["missing", "shape", "dtype", "length"],
    )
    def test_wrong_arrays_are_refused_and_the_right_ones_still_work(self, start, arrays):
        runner = start()
        with pytest.raises(RunnerError, match="must be"):
            runner.call(arrays)
        assert runner.call([X, INDICES])[0].tolist() == SUMS

    def test_an_operation_that_fails_is_told(self, start):
        with pytest.raises(RunnerError, match="IndexError: index out of range"):
            start().call([X, np.array([3, 77])])

    def test_a_killed_runner_is_told_and_stays_dead(self, start):
        runner = start()
        os.kill(runner.pid, signal.SIGKILL)
        with pytest.raises(RunnerError, match="ended by SIGKILL"):
            runner.call([X, INDICES])
        with pytest.raises(RunnerError, match="has ended"):
            runner.call([X, INDICES])

    def test_a_hanging_runner_is_stopped(self, start, monkeypatch):
        monkeypatch.setattr(process_module, "FAREWELL", 0.1)
        runner = start(seconds=0.5)
        os.kill(runner.pid, signal.SIGSTOP)
        with pytest.raises(RunnerError, match="did not answer in time"):
            runner.call([X, INDICES])
        assert not alive(runner.pid)

    def test_a_program_that_cannot_be_loaded_is_told(self, program, start):
        program.write_bytes(b"nothing")
        with pytest.raises(RunnerError, match="cannot be read as an IPU program"):
            start()

    def test_an_interpreter_that_is_none_is_told(self, program):
        with pytest.raises(RunnerError, match="cannot be started"):
            RunnerProcess(program, "cpu", str(program))

    def test_it_ends_with_its_object(self, start, program):
        runner = RunnerProcess(program, "cpu", sys.executable)
        pid = runner.pid
        del runner
        gc.collect()
        assert not alive(pid)

    def test_it_ends_with_its_host(self, program):
        script = (
            "import os, sys; from pathlib import Path; from halocline.backends.ipu.process import RunnerProcess\n"
            f"runner = RunnerProcess(Path({str(program)!r}), 'cpu', sys.executable)\n"
            "print(runner.pid, flush=True); os.kill(os.getpid(), 9)"
        )
        host = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert host.returncode == -signal.SIGKILL
        deadline = time.monotonic() + 30.0
        while alive(int(host.stdout)):
            assert time.monotonic() < deadline, "the runner outlived its host"
            time.sleep(0.05)


class TestWithoutHalocline:
    """An exported file, run where Halocline cannot be imported."""

    HOOK = (
        "import sys\n"
        "class Forbidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'halocline':\n"
        "            raise ImportError('halocline is forbidden here')\n"
        "sys.meta_path.insert(0, Forbidden())\n"
    )

    def test_the_runner_runs_an_exported_file(self, tmp_path, monkeypatch):
        model = backbone("schnet")
        path, atoms = tmp_path / "model.ipu.zip", structures(model.species)["molecule"]
        potential = Potential(model, dict.fromkeys(model.species, 0.0), {})
        IpuExporter(atoms=ATOMS, neighbours=NEIGHBOURS).export(potential, Precision.FLOAT32, path)
        (tmp_path / "sitecustomize.py").write_text(self.HOOK)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        check = subprocess.run(
            [sys.executable, "-c", "import halocline"], capture_output=True, text=True, check=False
        )
        assert "halocline is forbidden here" in check.stderr
        # The executor's own program is replaced by the exported file.
        monkeypatch.setattr(executor_module, "compile_program", lambda *_: Exported(path))
        ipu = IpuExecutor(target="cpu", atoms=ATOMS, neighbours=NEIGHBOURS)
        found = LocalEvaluator(model, ipu, Precision.FLOAT32).evaluate(Structure.from_atoms(atoms))
        monkeypatch.undo()
        eager = LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64)
        require_close(found, eager.evaluate(Structure.from_atoms(atoms)))


class Exported:
    """Stands for a program; writes a file that is there already."""

    def __init__(self, path):
        self.path = path

    def write(self, path):
        path.write_bytes(self.path.read_bytes())


#: Not PopTorch, and no test of it: it prints what it is told, and runs the module as it is.
FAKE_POPTORCH = """
import torch
print("a line on stdout")
class Options:
    def useIpuModel(self, on): print("useIpuModel", on)
    def setAvailableMemoryProportion(self, parts): print("memory", parts)
def inferenceModel(module, options):
    print("inferenceModel", type(options).__name__)
    return module
def identity_loss(loss, reduction): return loss
"""

#: Likewise: what of PopTorch training calls, with the meaning that its documentation gives it, on plain torch.
FAKE_TRAINING = """
import enum, torch
ReductionType = enum.Enum("ReductionType", "Sum Mean")
OutputMode = enum.Enum("OutputMode", "Final All Sum")
class Options:
    def __init__(self):
        self.Training, self.packs, self.reduction, self.mode = self, 1, None, None
    def gradientAccumulation(self, packs): self.packs = packs
    def accumulationAndReplicationReductionType(self, reduction): self.reduction = reduction
    def outputMode(self, mode): self.mode = mode
    def useIpuModel(self, on): pass
def identity_loss(loss, reduction):
    assert reduction == "none" and loss.shape == ()
    return loss
class optim:
    class Adam(torch.optim.Adam):
        def __init__(self, params, lr, max_grad_norm):
            super().__init__(params, lr=lr)
            self.max_grad_norm = max_grad_norm
        def state_dict(self):
            flat = {f"{i}___{k}": v for i, s in super().state_dict()["state"].items() for k, v in s.items()}
            return {"ipu_state": flat, "ipu_param": {"rate": torch.tensor(self.param_groups[0]["lr"])}}
        def load_state_dict(self, state):
            assert set(state) == {"ipu_state", "ipu_param"}
            for name, value in state["ipu_state"].items():
                index, key = name.split("___")
                self.state[self.param_groups[0]["params"][int(index)]][key] = value.clone()
class trainingModel:
    def __init__(self, model, options, optimizer):
        assert (options.reduction, options.mode) == (ReductionType.Sum, OutputMode.Sum)
        self.model, self.packs, self.adam, self.compiled = model, options.packs, optimizer, False
    def isCompiled(self): return self.compiled
    def copyWeightsToHost(self): assert self.compiled
    def setOptimizer(self, optimizer): assert optimizer is self.adam
    def __call__(self, *tensors):
        self.compiled, total = True, torch.zeros(1)
        self.adam.zero_grad()
        for pack in zip(*(tensor.chunk(self.packs) for tensor in tensors)):
            loss = self.model(*pack)
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.adam.max_grad_norm)
        self.adam.step()
        return total
"""


class TestFakePopTorch:
    """How options reach PopTorch, seen by a fake; and that what a library prints does not reach the host."""

    @pytest.fixture(autouse=True)
    def _fake(self, tmp_path, monkeypatch):
        (tmp_path / "poptorch.py").write_text(FAKE_POPTORCH)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    @pytest.mark.parametrize("target", ["ipu", "ipu-model"])
    def test_targets_and_options_are_passed_on(self, start, program, target):
        replace(handmade(), options={"available_memory": 0.4}).write(program)
        runner = start(target=target)
        assert runner.call([X, INDICES])[0].tolist() == SUMS
        os.kill(runner.pid, signal.SIGKILL)
        with pytest.raises(RunnerError, match="a line on stdout") as caught:
            runner.call([X, INDICES])
        assert ("useIpuModel True" in str(caught.value)) == (target == "ipu-model")
        assert "memory {'IPU0': 0.4}" in str(caught.value)

    def test_the_executor_takes_it_for_usable(self):
        assert IpuExecutor.diagnose().usable
        assert IpuExecutor(target="ipu").device == "cpu"


class TestOptions:
    @pytest.fixture(autouse=True)
    def _no_sdk(self, monkeypatch):
        monkeypatch.delenv(VARIABLE, raising=False)
        if not Interpreter.find().problem("ipu"):
            pytest.skip("PopTorch is installed here")

    def test_without_the_sdk_one_sentence_says_what_to_install(self, capsys, tmp_path):
        path = tmp_path / "argon.xyz"
        Atoms("Ar").write(path)
        assert main(["run", str(path), "--model", "lennard-jones-argon", "--backend", "ipu"]) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert errors.startswith("halocline: PopTorch is missing")
        assert errors.count("\n") == 1
        assert VARIABLE in errors
        assert "ipu:target=cpu" in errors

    def test_the_diagnosis_says_the_same(self):
        diagnosis = IpuExecutor.diagnose()
        assert not diagnosis.usable
        assert "Poplar SDK" in diagnosis.reason

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"device": "cuda"}, "CPU"),
            ({"target": "gpu"}, "gpu"),
            ({"target": "cpu", "atoms": 5}, "neighbours"),
            ({"target": "cpu", "atoms": -1, "neighbours": -1}, "above zero"),
            ({"target": "cpu", "python": "/nowhere/python"}, "/nowhere/python"),
        ],
    )
    def test_wrong_options_are_refused(self, options, message):
        with pytest.raises(UsageError, match=message):
            IpuExecutor(**options)

    def test_the_interpreter_comes_from_the_environment(self, monkeypatch):
        monkeypatch.setenv(VARIABLE, "/nowhere/python")
        assert "/nowhere/python" in IpuExecutor.diagnose().reason


def alive(pid):
    """Whether a process runs; one that waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_messages_survive_the_way():
    """Arrays of every kind, through a stream that gives a little at a time."""
    arrays = [np.float32(1.5).reshape(()), np.zeros((0, 3), np.float32), np.arange(6).reshape(2, 3)[:, ::2]]
    stream = io.BytesIO()
    runner_module.write_message(stream, {"do": "call"}, arrays)
    stream.seek(0)
    header, found = runner_module.read_message(stream.read)
    assert header == {"do": "call"}
    for one, other in zip(found, arrays, strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype
    stream.seek(0)
    cut = io.BytesIO(stream.read()[:-1])
    with pytest.raises(EOFError):
        runner_module.read_message(cut.read)
