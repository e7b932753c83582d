"""What ranks measure before they know whether exchanging pays."""

from __future__ import annotations

import numpy as np
import torch
from torch.distributed import ProcessGroup

from halocline.backends.ddp.group import join_group, leave_group
from halocline.backends.ddp.links import DistributedLinks
from halocline.cost.speeds import measure_link
from halocline.place import Place


def time_link(device: torch.device, place: Place, name: str, timeout: float) -> tuple[float, float]:
    """Time messages between ranks 0 and 1, through links like those of an evaluation; all ranks have to call this.

    Args:
        device: of the rows that are sent.
        place: of this rank.
        name: of a process group that no other one has or had.
        timeout: seconds, of the evaluator.

    Returns:
        Bytes per second and latency in seconds; on ranks beyond the first two no time passes.

    Raises:
        DistributedError: the others did not come, or were lost.
    """
    group = join_group(device, place, name, timeout)
    try:
        return _to_and_fro(device, place, group)
    finally:
        leave_group(group)


def _to_and_fro(device: torch.device, place: Place, group: ProcessGroup) -> tuple[float, float]:
    """The first row of rank 0 is the halo of rank 1; state goes there, and its derivative comes back."""
    none, row = np.empty(0, np.int64), np.zeros(1, np.int64)
    sends = (none, row) if place.rank == 0 else (none,)
    receives = (row,) if place.rank == 1 else (none,)
    links = DistributedLinks(sends, receives, group, str(device))

    def round_trip(size: int) -> None:
        rows = torch.zeros(1, size // 4, device=device)
        links.forward(rows)
        links.backward(rows)
        rows[0, 0].item()  # a GPU has only been told to until somebody asks for a number

    return measure_link(round_trip)
