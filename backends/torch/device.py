"""Names of devices."""

from __future__ import annotations

import torch

from halocline.errors import UsageError

#: Kinds of device that programs are written for.
KINDS = ("cpu", "cuda")


def resolve_device(device: str) -> str:
    """Name a device that exists.

    Args:
        device: ``auto`` (CUDA if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: there is no such device here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in KINDS or (index and not index.isdigit()):
        raise UsageError(f"There is no device {device!r}; use auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"The device {device!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA devices."
        )
    return device
