"""Where a session runs: device and execution provider, which have to agree."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final, final

import torch

from halocline.devices import read_device
from halocline.errors import UsageError
from halocline.program import Precision

#: ONNX Runtime's names of the execution providers, and the kind of device that each one needs.
PROVIDERS: Final = {
    "cpu": ("CPUExecutionProvider", "cpu"),
    "cuda": ("CUDAExecutionProvider", "cuda"),
    "tensorrt": ("TensorrtExecutionProvider", "cuda"),
}


@final
@dataclass(frozen=True, slots=True)
class Target:
    """A device and the execution provider that computes on it.

    Attributes:
        provider: ``cpu``, ``cuda`` or ``tensorrt``.
        kind: ``cpu`` or ``cuda``.
        index: number of the device.
    """

    provider: str
    kind: str
    index: int = 0

    @property
    def device(self) -> str:
        """The name that torch has for the device."""
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"

    @property
    def provider_name(self) -> str:
        """The name that ONNX Runtime has for the provider."""
        return PROVIDERS[self.provider][0]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that the provider computes in: TensorRT knows no float64."""
        return (Precision.FLOAT32,) if self.provider == "tensorrt" else tuple(Precision)

    @property
    def providers(self) -> list[tuple[str, dict[str, Any]]]:
        """Providers and their options as a session takes them; TensorRT hands what it cannot do to CUDA."""
        if self.provider == "cpu":
            return [(self.provider_name, {})]
        # TF32 keeps ten bits of a product's factors: forces would be good to three digits.
        cuda = (PROVIDERS["cuda"][0], {"device_id": self.index, "use_tf32": 0})
        return [cuda] if self.provider == "cuda" else [(self.provider_name, {"device_id": self.index}), cuda]


def choose_target(device: str, provider: str, available: list[str]) -> Target:
    """Find the device and the provider that were asked for; one decides the other.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        provider: ``auto``, ``cpu``, ``cuda`` or ``tensorrt``.
        available: what the installed ONNX Runtime was built with, in its own names.

    Raises:
        UsageError: there is no such device or provider here, or the two contradict each other.
    """
    if provider not in ("auto", *PROVIDERS):
        raise UsageError(f"ONNX Runtime's provider can be auto, {', '.join(PROVIDERS)}, not {provider!r}.")
    where = read_device(device, _default_kind(available) if provider == "auto" else PROVIDERS[provider][1])
    kind, index = where.kind, where.index or 0
    if provider == "auto":
        provider = kind
    name, needed = PROVIDERS[provider]
    if needed != kind:
        raise UsageError(f"The provider {provider!r} cannot use the device {device!r}; leave one of them out.")
    if name not in available:
        raise UsageError(
            f"The installed ONNX Runtime has no {name}: instead of onnxruntime, install onnxruntime-gpu "
            "(pip install 'halocline[gpu]')."
        )
    where.require_there()
    if provider == "tensorrt" and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0":
        # ONNX Runtime has no option for it, and it must be set before CUDA starts.
        raise UsageError("TensorRT rounds to TF32 unless NVIDIA_TF32_OVERRIDE=0 is in the environment; set it.")
    return Target(provider, kind, index)


def _default_kind(available: list[str]) -> str:
    return "cuda" if PROVIDERS["cuda"][0] in available and torch.cuda.is_available() else "cpu"
