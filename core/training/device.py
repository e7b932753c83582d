"""Lightning Fabric on the one device of a process, imported only where training is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from halocline.errors import UsageError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from halocline.place import Place


def make_fabric(device: str, precision: str, place: Place | None = None) -> Fabric:
    """Set up the device of this process.

    Args:
        device: ``auto`` (CUDA if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``float32`` or ``float64``.
        place: of this rank, if it is one of several: each takes a CUDA device of its own.

    Raises:
        UsageError: Lightning Fabric is not installed, there is no such device, or none for this rank.
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
    if kind == "cuda" and place is not None and place.size > 1:
        if index:
            raise UsageError(f"Several ranks cannot share the device {device!r}; use --device cuda, one for each.")
        index = str(place.local_rank)
    count = torch.cuda.device_count()
    if kind == "cuda" and int(index or 0) >= count:
        asked = f"The device 'cuda:{index or 0}' " + ("was asked for" if place is None else "is needed for a rank")
        raise UsageError(f"{asked}, but torch sees {count} CUDA devices; --device cpu needs none.")
    return Fabric(
        accelerator=kind,
        devices=1 if kind == "cpu" else [int(index or 0)],
        precision="64-true" if precision == "float64" else "32-true",
    )
