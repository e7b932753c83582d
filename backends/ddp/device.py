"""Which device a rank computes on."""

from __future__ import annotations

import torch

from halocline.devices import read_device
from halocline.errors import UsageError
from halocline.place import Place


def kind_of_device(device: str) -> str:
    """Decide for all ranks, so that they can talk to each other: ``cpu`` or ``cuda``.

    Raises:
        UsageError: a device is named that only one rank could have.
    """
    chosen = read_device(device)
    if chosen.index is not None:
        raise UsageError(f"Ranks take the devices of their node in turn: say auto, cpu or cuda, not {device!r}.")
    return chosen.kind


def device_of_rank(kind: str, place: Place) -> torch.device:
    """The CPU, or a GPU that no other rank of the node has.

    Raises:
        UsageError: the node has fewer GPUs than ranks.
    """
    if kind == "cpu":
        return torch.device("cpu")
    there = torch.cuda.device_count()
    if place.local_size > there:
        raise UsageError(
            f"There are {place.local_size} ranks for {there} CUDA devices on this node; "
            "start one rank for each device, or use device cpu."
        )
    return torch.device("cuda", place.local_rank)
