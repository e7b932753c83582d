"""What a compiled program depends on."""

from __future__ import annotations

import hashlib
import platform
from typing import TYPE_CHECKING

import torch

import halocline
from halocline.canonical import to_canonical_json
from halocline.digests import tensors_digest
from halocline.native.compiler import compiler_version
from halocline.plugin.source import source_digest

if TYPE_CHECKING:
    from halocline.lowering.program import Program
    from halocline.program import FrozenModel


def machine_key() -> dict[str, str]:
    """All that code compiled here depends on, apart from its program, by name.

    Halocline itself may be installed editably, so that its version says too little.
    """
    return {
        "halocline": f"{halocline.__version__} {source_digest('halocline')}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "gpu": _graphics(),
        "compiler": compiler_version(),
    }


def program_key(frozen: FrozenModel, program: Program) -> dict[str, str]:
    """All that makes a program what it is: its manifest, its operations, and the numbers that they take, by name.

    Among these are weights and, as buffers, constants that stand in the source of the backbone alone.

    Args:
        frozen: the model that it was lowered from.
        program: made of plain operations.
    """
    manifest = program.manifest
    return {
        "kind": manifest.kind,
        "backbone": manifest.backbone,
        "weights": manifest.weights,
        "manifest": _digest(to_canonical_json(manifest.to_json())),
        "graph": _digest(program.graph.code),
        "constants": tensors_digest(program.graph.named_buffers()),
        "source": source_digest(type(frozen.backbone).__module__),
        "stages": " ".join(sorted({source_digest(module) for module in _modules(frozen)})),
    }


def _modules(frozen: FrozenModel) -> set[str]:
    """Where the code of the stages is, that of kernels too."""
    return {type(stage).__module__ for _, stage in frozen.backbone.stages()}


def _processor() -> str:
    """Instruction sets: code is compiled for all those of this very processor, not for its family."""
    # Sizes of caches and counts of cores are numbers, and change nothing in what the processor can run.
    known = sorted(name for name, there in torch.cpu.get_capabilities().items() if there is True)
    return f"{torch.backends.cpu.get_cpu_capability()} {_digest(' '.join(known))}"


def _graphics() -> str:
    """Model and compute capability of each GPU that torch sees."""
    devices = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return ", ".join(f"{device.name} {device.major}.{device.minor}" for device in devices)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
