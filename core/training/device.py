"""Lightning Fabric on the one device of a process, imported only where training is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halocline.devices import Device, read_device
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
    chosen = read_device(device)
    if chosen.kind == "cuda" and place is not None and place.size > 1:
        if chosen.index is not None:
            raise UsageError(f"Several ranks cannot share the device {device!r}; use --device cuda, one for each.")
        chosen = Device("cuda", place.local_rank)
        chosen.require_there("is needed for a rank")
    chosen.require_there()
    return Fabric(
        accelerator=chosen.kind,
        devices=1 if chosen.kind == "cpu" else [chosen.index or 0],
        precision="64-true" if precision == "float64" else "32-true",
    )
