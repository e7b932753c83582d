"""Programs run eagerly by PyTorch, on CPUs and CUDA devices."""

from __future__ import annotations

from typing import final

import torch

from halocline.aggregation import Form
from halocline.errors import UsageError
from halocline.executor import Capabilities, Diagnosis, Executor, Session
from halocline.program import Precision, Program, ProgramInputs, ProgramOutputs, energies_and_gradients


@final
class TorchExecutor(Executor):
    """Runs the stages as they are written.

    Args:
        device: ``auto`` (CUDA if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    """

    capabilities = Capabilities(devices=("cpu", "cuda"), precisions=tuple(Precision), form=Form.EDGES)

    def __init__(self, device: str = "auto") -> None:
        self.device = _resolve(device)

    @classmethod
    def diagnose(cls) -> Diagnosis:
        """PyTorch is always there; say what it computes with."""
        return Diagnosis(
            usable=True,
            versions={"torch": torch.__version__},
            devices=("cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))),
            details={
                "threads": str(torch.get_num_threads()),
                "instructions": torch.backends.cpu.get_cpu_capability(),
            },
        )

    def prepare(self, program: Program) -> Session:
        """Move the program to the device."""
        program.backbone.to(self.device)
        return _EagerSession(program)


@final
class _EagerSession(Session):
    def __init__(self, program: Program) -> None:
        self._backbone = program.backbone

    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        return energies_and_gradients(self._backbone, inputs)


def _resolve(device: str) -> str:
    """Name a device that exists."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in TorchExecutor.capabilities.devices or (index and not index.isdigit()):
        raise UsageError(f"There is no device {device!r}; use auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"The device {device!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA devices."
        )
    return device
