"""Lightning Fabric on one device, imported only where training is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from halocline.errors import UsageError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(device: str, precision: str) -> Fabric:
    """Set up one device.

    Args:
        device: ``auto`` (CUDA if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``float32`` or ``float64``.

    Raises:
        UsageError: Lightning Fabric is not installed, or there is no such device.
    """
    try:
        from lightning_fabric import Fabric
    except ModuleNotFoundError as error:
        raise UsageError("Training needs Lightning Fabric: pip install halocline[train].") from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise UsageError(f"There is no device {device!r}; use auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UsageError(f"The device {device!r} was asked for, but torch sees {count} CUDA devices.")
    return Fabric(
        accelerator=kind,
        devices=1 if kind == "cpu" else [int(index or 0)],
        precision="64-true" if precision == "float64" else "32-true",
    )
