"""The process group through which ranks send each other state."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import torch
from torch import distributed
from torch.distributed import PrefixStore, ProcessGroup  # type: ignore[attr-defined]  # not in its types

from halocline.errors import DistributedError
from halocline.meeting import meeting_point, stay_on_node
from halocline.place import Place

#: How many times the evaluator's timeout a rank waits for a neighbour. The driver sees sooner whether that one
#: is dead; a neighbour that merely has more to do must not count as such.
PATIENCE: Final = 10.0


def join_group(device: torch.device, place: Place, name: str, timeout: float) -> ProcessGroup:
    """Meet the other ranks at the address that the environment names; all of them have to call this.

    A program that torchrun started may have a process group already. That one stays as it is.

    Args:
        device: ``cpu``, which communicates through gloo, or one CUDA device, through nccl.
        place: of this rank.
        name: of the group, which no other group has or had.
        timeout: seconds, of the evaluator.

    Raises:
        DistributedError: the others did not come.
    """
    backend, limit = "nccl" if device.type == "cuda" else "gloo", timedelta(seconds=PATIENCE * timeout)
    stay_on_node(place)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # of this thread
    # Given a device, nccl connects at once: later not every rank has a neighbour to connect with.
    bound = device if device.type == "cuda" else None
    try:
        if distributed.is_initialized():
            group = distributed.new_group(backend=backend, timeout=limit, device_id=bound)
        else:
            distributed.init_process_group(
                backend,
                timeout=limit,
                store=PrefixStore(f"halocline/{name}", meeting_point()),
                rank=place.rank,
                world_size=place.size,
                device_id=bound,
            )
            group = distributed.group.WORLD
    except (RuntimeError, ValueError) as error:
        raise DistributedError(f"It did not find the other ranks: {error}") from error
    assert isinstance(group, ProcessGroup)
    return group


def leave_group(group: ProcessGroup) -> None:
    """Give back what `join_group` has opened."""
    distributed.destroy_process_group(group)
