"""Programs compiled for IPUs, one for each capacity, and run in an interpreter that has the SDK."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Final, final

import torch

from halocline.aggregation import Form
from halocline.backends.ipu.check import require_conformance
from halocline.backends.ipu.interpreter import VARIABLE, Interpreter
from halocline.backends.ipu.process import RunnerProcess
from halocline.backends.ipu.program_file import IpuProgram
from halocline.backends.ipu.translate import from_lowered
from halocline.durations import announced
from halocline.errors import UsageError
from halocline.executor import Capabilities, Diagnosis, Executor, Session
from halocline.lowering import flatten, lower
from halocline.program import FrozenModel, Precision, ProgramInputs, ProgramOutputs, TableInputs
from halocline.program.capacity import Capacity, crop, pad

#: Capacities whose runners are kept; the one unused for longest makes room for another.
KEPT: Final = 4


@final
class IpuExecutor(Executor):
    """Runs programs of fixed shape through the runner.

    Args:
        device: ``auto`` or ``cpu``: where inputs come from. Where the program runs is the target.
        target: ``ipu``; ``ipu-model``, the SDK's model of one; or ``cpu``: the same program on plain PyTorch.
        python: interpreter that has the SDK; by default that of HALOCLINE_IPU_PYTHON, or else the running one.
        atoms: of the largest structure; by default a program is compiled for each range of sizes that occurs.
        neighbours: of any atom; goes with ``atoms``.

    Raises:
        UsageError: an option is not valid, or the interpreter lacks what the target needs.
    """

    variants = ("", "target=cpu")
    capabilities = Capabilities(
        devices=("cpu",),
        precisions=(Precision.FLOAT32,),
        form=Form.TABLE,
        many_structures=True,
        shape_by_shape=True,
    )

    def __init__(
        self, device: str = "auto", target: str = "ipu", python: str = "", atoms: int = 0, neighbours: int = 0
    ) -> None:
        if device not in ("auto", "cpu"):
            raise UsageError(
                f"The ipu backend takes its inputs from the CPU, not from {device!r}; use ipu:target=ipu."
            )
        require_size(atoms, neighbours)
        self.device = "cpu"
        self._target, self._python = target, Interpreter.for_target(target, python).path
        self._size = (atoms, neighbours) if atoms else None
        if self._size is not None:  # which is that of one structure
            self.capabilities = replace(IpuExecutor.capabilities, many_structures=False)

    @classmethod
    def diagnose(cls) -> Diagnosis:
        """Look for PopTorch, without importing it."""
        try:
            interpreter = Interpreter.find()
        except UsageError as error:
            return Diagnosis(usable=False, reason=str(error))
        reason = interpreter.problem("ipu")
        return Diagnosis(
            usable=not reason,
            reason=reason,
            versions=interpreter.versions,
            devices=cls.capabilities.devices,
            details={"interpreter": interpreter.path, "named by": VARIABLE},
        )

    def prepare(self, frozen: FrozenModel) -> Session:
        """Compile now for a fixed capacity, or else when sizes are known."""
        capacity = None if self._size is None else fixed_capacity(frozen, *self._size)
        return _IpuSession(frozen, capacity, self._target, self._python)


def require_size(atoms: int, neighbours: int) -> None:
    """Refuse a fixed size that is none.

    Raises:
        UsageError: one of the numbers is given alone, or is negative.
    """
    if atoms < 0 or neighbours < 0 or (atoms > 0) != (neighbours > 0):
        raise UsageError(
            f"A fixed capacity is ipu:atoms=N,neighbours=K with both above zero, not {atoms} and {neighbours}."
        )


def fixed_capacity(frozen: FrozenModel, atoms: int, neighbours: int) -> Capacity:
    """The capacity for whole structures of that many atoms with that many neighbours each."""
    return Capacity((atoms,) * (frozen.backbone.hops + 1), neighbours + 1, neighbours)


def compile_program(frozen: FrozenModel, capacity: Capacity) -> IpuProgram:
    """Lower a program for one capacity and check it against what PopTorch compiles.

    Raises:
        LoweringError: it cannot be lowered, or PopTorch would refuse it or compute something else.
    """
    with announced(f"Lowering {frozen.backbone.name!r} for IPUs (room for {capacity.levels[-1]} atoms)"):
        compiled = from_lowered(lower(frozen, capacity=capacity), dict(frozen.backbone.named_parameters()))
        require_conformance(compiled)
        return compiled


@final
class _IpuSession(Session):
    """Runners by capacity, least recently used first."""

    def __init__(self, frozen: FrozenModel, capacity: Capacity | None, target: str, python: str) -> None:
        self._frozen, self._capacity = frozen, capacity
        self._target, self._python = target, python
        self._runners: OrderedDict[Capacity, RunnerProcess] = OrderedDict()
        if capacity is not None:
            self._runner(capacity)

    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        assert isinstance(inputs, TableInputs)
        capacity = self._capacity or Capacity.bucket(inputs)
        tensors = flatten(pad(inputs, capacity))
        runner = self._runner(capacity)
        # Where sizes are fixed there are no inputs that only tell a size; those come last.
        arrays = runner.call(tensor.numpy() for tensor in tensors[: len(runner.inputs)])
        return crop(ProgramOutputs(*map(torch.from_numpy, arrays)), inputs, capacity)

    def _runner(self, capacity: Capacity) -> RunnerProcess:
        if capacity not in self._runners:
            while len(self._runners) >= KEPT:
                self._runners.popitem(last=False)[1].close()
            self._runners[capacity] = self._start(capacity)
        self._runners.move_to_end(capacity)
        return self._runners[capacity]

    def _start(self, capacity: Capacity) -> RunnerProcess:
        with tempfile.TemporaryDirectory(prefix="halocline-ipu-") as folder:
            path = Path(folder, "program.ipu.zip")
            compile_program(self._frozen, capacity).write(path)
            return RunnerProcess(path, self._target, self._python)
