"""Programs run by PyTorch, on CPUs and CUDA devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from halocline.aggregation import Form
from halocline.backends.torch.stages import EagerStage
from halocline.devices import KINDS, device_there
from halocline.errors import unknown_name
from halocline.executor import Capabilities, Diagnosis, Executor, Session, StageSession
from halocline.lowering import flatten, lower
from halocline.model import Backbone
from halocline.native.compiler import compiler_version
from halocline.program import FrozenModel, Precision, ProgramInputs, ProgramOutputs, energies_and_gradients
from halocline.program.analytic import is_analytic, outputs_without_autograd


@final
class TorchExecutor(Executor):
    """Runs the stages as they are written, or compiles the whole model.

    Args:
        device: ``auto`` (CUDA if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        compile: ``none``; ``inductor``, by torch.compile in this process; ``aot``, into a package that is kept for
            the next process.
        kernels: ``on``, or ``off``: every stage runs as it is written, and none is replaced by a faster one.

    Raises:
        UsageError: there is no such device, way to compile, or choice of kernels.
    """

    capabilities = Capabilities(
        devices=KINDS,
        precisions=tuple(Precision),
        form=Form.EDGES,
        many_structures=True,
        steps_on_device=True,
        custom_operators=True,
    )
    variants = ("", "compile=inductor", "compile=aot")

    def __init__(self, device: str = "auto", compile: str = "none", kernels: str = "on") -> None:
        if compile not in ("none", "inductor", "aot"):
            raise unknown_name("way to compile", compile, ("none", "inductor", "aot"))
        if kernels not in ("on", "off"):
            raise unknown_name("choice of kernels", kernels, ("on", "off"))
        self.capabilities = replace(self.capabilities, kernels=kernels == "on")
        self.device, self._compile = device_there(device), compile

    @property
    def reproducible(self) -> bool:
        """See `Executor.reproducible`: on GPUs torch adds messages up in any order."""
        return torch.device(self.device).type == "cpu"

    @classmethod
    def diagnose(cls) -> Diagnosis:
        """See `Executor.diagnose`. PyTorch is always there; nothing is changed, and no device is woken."""
        versions = {"torch": str(torch.__version__)}
        if torch.version.cuda:
            versions["CUDA"] = torch.version.cuda
        return Diagnosis(
            usable=True,
            versions=versions,
            devices=("cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))),
            details={
                "threads": str(torch.get_num_threads()),
                "instructions": torch.backends.cpu.get_cpu_capability(),
                "C++ compiler": compiler_version() or "none; compile=inductor and compile=aot need one",
                "float32 products on the CPU": _products(),
                "TF32 on GPUs": "allowed" if torch.backends.cuda.matmul.allow_tf32 else "not allowed",
            },
        )

    def prepare(self, frozen: FrozenModel) -> Session:
        """Move the model to the device, and compile it there if that was asked for.

        Raises:
            LoweringError: the model cannot be lowered.
            UsageError: there is no compiler.
            ArtefactError: the program cannot be compiled or kept.
        """
        if self._compile == "none":
            frozen.backbone.to(self.device)
            return EagerSession(frozen.backbone)
        program = lower(frozen)
        if self._compile == "inductor":
            from halocline.backends.torch.inductor import compile_now

            return GraphSession(compile_now(program, self.device))
        from halocline.backends.torch.package import cached_package

        return GraphSession(cached_package(frozen, program, self.device).run)

    def prepare_stages(self, frozen: FrozenModel) -> dict[str, StageSession]:
        """See `Executor.prepare_stages`.

        Raises:
            UsageError: a compiler was asked for; it is given whole programs only.
        """
        if self._compile != "none":
            return super().prepare_stages(frozen)
        frozen.backbone.to(self.device)
        return {name: EagerStage(stage) for name, stage in frozen.backbone.stages()}


@final
class EagerSession(Session):
    """Runs the stages one after another, without autograd where they know their derivatives."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._run = outputs_without_autograd if is_analytic(backbone) else energies_and_gradients

    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        """See `Session.__call__`."""
        return self._run(self._backbone, inputs)


@final
class GraphSession(Session):
    """Runs a compiled program.

    Args:
        run: takes the inputs of the program's manifest and returns its outputs.
    """

    def __init__(self, run: Callable[..., Sequence[Tensor]]) -> None:
        self._run = run

    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        """See `Session.__call__`."""
        with torch.no_grad():
            return ProgramOutputs(*self._run(*map(_plain, flatten(inputs))))


def _plain(tensor: Tensor) -> Tensor:
    """Contiguous, as compiled code expects; tensors without elements may come with any strides."""
    return tensor.contiguous() if tensor.numel() else tensor.new_empty(tensor.shape)


def _products() -> str:
    """Which library multiplies float32 matrices.

    torch hands them to oneDNN only where the host program allows it to round them; whether it then really rounds
    depends on the processor.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "BLAS; this torch has no oneDNN"
    allowed = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    if allowed in ("bf16", "tf32") and torch.backends.mkldnn.enabled:
        return f"oneDNN, which may round to {allowed}"
    return "BLAS; oneDNN is there and not asked for"
