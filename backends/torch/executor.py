"""Programs run by PyTorch, on CPUs and CUDA devices."""

from __future__ import annotations

from typing import final

import torch

from halocline.aggregation import Form
from halocline.backends.torch.diagnosis import diagnose
from halocline.backends.torch.session import EagerSession, GraphSession
from halocline.backends.torch.stages import EagerStage
from halocline.devices import KINDS, device_there
from halocline.errors import unknown_name
from halocline.executor import Capabilities, Diagnosis, Executor, Session, StageSession
from halocline.lowering import lower
from halocline.program import FrozenModel, Precision


@final
class TorchExecutor(Executor):
    """Runs the stages as they are written, or compiles the whole model.

    Args:
        device: ``auto`` (CUDA if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        compile: ``none``; ``inductor``, by torch.compile in this process; ``aot``, into a package that is kept for
            the next process.

    Raises:
        UsageError: there is no such device or way to compile.
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

    def __init__(self, device: str = "auto", compile: str = "none") -> None:
        if compile not in ("none", "inductor", "aot"):
            raise unknown_name("way to compile", compile, ("none", "inductor", "aot"))
        self.device, self._compile = device_there(device), compile

    @property
    def reproducible(self) -> bool:
        """See `Executor.reproducible`: on GPUs torch adds messages up in any order."""
        return torch.device(self.device).type == "cpu"

    @classmethod
    def diagnose(cls) -> Diagnosis:
        """See `Executor.diagnose`."""
        return diagnose()

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
