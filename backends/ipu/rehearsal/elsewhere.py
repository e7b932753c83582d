"""The runner in another interpreter, with the version of torch that PopTorch was built for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from halocline.backends.ipu import runner
from halocline.backends.ipu.check.call import Violation
from halocline.backends.ipu.interpreter import Interpreter
from halocline.backends.ipu.rehearsal.subject import RehearsedProgram
from halocline.testing.tolerances import FLOAT32_FORCE

#: Seconds for a small program, the import of torch included.
PATIENCE: Final = 300.0

#: Arguments: the runner, the program, inputs, outputs. Runs the program on data, then without any.
_SCRIPT: Final = """
import importlib.util, sys
import numpy, torch
runner_path, program, inputs, outputs = sys.argv[1:]
spec = importlib.util.spec_from_file_location("runner", runner_path)
runner = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runner)
replay = runner.Replay(*runner.read_program(program)).eval()
with numpy.load(inputs) as file:
    tensors = [torch.from_numpy(file[name]) for name in file.files]
with torch.no_grad():
    results = replay(*tensors)
    shapes = replay.to("meta")(*[tensor.to("meta") for tensor in tensors])
assert [each.shape for each in shapes] == [each.shape for each in results], shapes
assert [each.dtype for each in shapes] == [each.dtype for each in results], shapes
numpy.savez(outputs, *[each.numpy() for each in results])
"""


def rehearse_elsewhere(subject: RehearsedProgram, interpreter: Interpreter) -> Iterator[Violation]:
    """Replay there, on the CPU and on the meta device, and compare with the replay here.

    Args:
        subject: a program and a structure.
        interpreter: has torch and numpy.
    """
    where = f"torch {interpreter.versions['torch']}"
    tensors = subject.tensors(subject.lay_out(subject.graph))
    with TemporaryDirectory(prefix="halocline-ipu-") as folder:
        program, inputs, outputs = (Path(folder, name) for name in ("program.ipu.zip", "in.npz", "out.npz"))
        subject.program.write(program)
        np.savez(inputs, *[tensor.numpy() for tensor in tensors])
        paths = [str(path) for path in (Path(runner.__file__), program, inputs, outputs)]
        process = subprocess.run(
            [interpreter.path, "-c", _SCRIPT, *paths],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if process.returncode:
            yield Violation("elsewhere", where, f"the program does not run: {process.stderr.strip()[-500:]}")
            return
        with np.load(outputs) as file:
            found = [file[name] for name in file.files]
    for name, result, expected in zip(subject.program.outputs, found, subject.replay(*tensors), strict=True):
        allowed = FLOAT32_FORCE * max(1.0, float(expected.abs().max()))
        error = float(np.abs(result - expected.numpy()).max())
        if not error <= allowed:
            yield Violation("elsewhere", where, f"{name} differs by {error:.2g}, where {allowed:.2g} is allowed.")
