"""What a compiled program depends on."""

from __future__ import annotations

import hashlib
import platform
from typing import TYPE_CHECKING

import torch

import halocline
from halocline.artefacts.compiler import compiler_version
from halocline.checkpoint.canonical import to_canonical_json

if TYPE_CHECKING:
    from halocline.lowering import Lowered


def machine_key() -> dict[str, str]:
    """What code compiled here depends on, apart from its source."""
    return {
        "halocline": halocline.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "gpu": _graphics(),
        "compiler": compiler_version(),
    }


def program_key(lowered: Lowered) -> dict[str, str]:
    """What a lowered program is: its manifest, in which the digest of its weights stands, and its operations."""
    manifest = lowered.manifest
    return {
        "kind": manifest.kind,
        "backbone": manifest.backbone,
        "weights": manifest.weights,
        "manifest": _digest(to_canonical_json(manifest.to_json())),
        "graph": _digest(lowered.graph.code),
    }


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
