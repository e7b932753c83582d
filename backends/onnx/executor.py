"""Programs run by ONNX Runtime, on CPUs and on NVIDIA GPUs by CUDA or TensorRT."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import final

import torch

from halocline.aggregation import Form
from halocline.backends.onnx.packages import problem, require, runtime
from halocline.backends.onnx.target import PROVIDERS, choose_target
from halocline.errors import UsageError
from halocline.executor import Capabilities, Diagnosis, Executor, Session, StageSession
from halocline.lowering import Program
from halocline.program import FrozenModel, Precision

_PACKAGES = ("onnx", "onnxruntime")


@final
class OnnxExecutor(Executor):
    """Compiles programs in table form.

    Args:
        device: ``auto`` (CUDA if torch and ONNX Runtime both have it, else the CPU), ``cpu``, ``cuda`` or
            ``cuda:N``.
        provider: ``auto`` (that of the device), ``cpu``, ``cuda`` or ``tensorrt``.
        threads: of one operation on the CPU; 0 leaves it to ONNX Runtime, which takes all cores.

    Raises:
        UsageError: a package, device or provider is not there, or device and provider contradict each other.
    """

    capabilities = Capabilities(
        devices=("cpu", "cuda"), precisions=tuple(Precision), form=Form.TABLE, many_structures=True
    )

    def __init__(self, device: str = "auto", provider: str = "auto", threads: int = 0) -> None:
        require(*_PACKAGES)
        if threads < 0:
            raise UsageError(f"ONNX Runtime cannot use {threads} threads; 0 leaves the number to it.")
        self._target = choose_target(device, provider, runtime().get_available_providers())
        self._threads = threads
        self.device = self._target.device
        self.capabilities = replace(
            OnnxExecutor.capabilities,
            precisions=self._target.precisions,
            shape_by_shape=self._target.kind != "cpu",
        )

    @classmethod
    def diagnose(cls) -> Diagnosis:
        """Say which providers the installed ONNX Runtime has and whether there is a device for them."""
        reason = problem(*_PACKAGES)
        if reason:
            return Diagnosis(usable=False, reason=reason)
        available = runtime().get_available_providers()
        here = {name: kind for name, kind in PROVIDERS.values() if name in available}
        gpus = torch.cuda.device_count() if "cuda" in here.values() else 0
        return Diagnosis(
            usable=True,
            versions={"onnx": version("onnx"), "onnxruntime": runtime().__version__},
            devices=("cpu", *(f"cuda:{index}" for index in range(gpus))),
            details={"providers": ", ".join(here), "threads": "all cores, unless threads=N"},
        )

    @classmethod
    def untranslated(cls, program: Program) -> tuple[str, ...]:
        """See `Executor.untranslated`."""
        from halocline.backends.onnx.convert import untranslated

        return untranslated(program.graph)

    def prepare(self, frozen: FrozenModel) -> Session:
        """Lower the program, translate it, compile it, and see that it still computes the same."""
        from halocline.backends.onnx.prepare import prepare_program

        return prepare_program(frozen, self._target, self._threads)

    def prepare_stages(self, frozen: FrozenModel) -> dict[str, StageSession]:
        """Do for each stage by itself what `prepare` does for the program."""
        from halocline.backends.onnx.prepare import prepare_stage

        return {
            name: prepare_stage(frozen, name, self._target, self._threads) for name, _ in frozen.backbone.stages()
        }
