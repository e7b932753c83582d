"""The process group through which ranks send each other state, their links in it, and what these take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.distributed import (  # type: ignore[attr-defined]  # not all are in its types
    P2POp,
    PrefixStore,
    ProcessGroup,
    batch_isend_irecv,
    irecv,
    isend,
)

from halocline.cost.speeds import measure_link
from halocline.errors import DistributedError
from halocline.evaluator.runner import Links
from halocline.meeting import meeting_point, stay_on_node
from halocline.memory.live_bytes import is_out_of_memory
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


class LostPeerError(DistributedError):
    """Another rank did not send what it should: it has ended, or hangs."""


def unsent(peers: Iterable[int], error: RuntimeError) -> LostPeerError | MemoryError:
    """Why nothing could be sent to some ranks, or come from them.

    Memory that this rank has no more of is none of their faults.
    """
    if is_out_of_memory(error):
        return MemoryError(str(error))
    names = ", ".join(map(str, sorted(peers)))
    return LostPeerError(f"It lost the connection to another rank, one of {names} ({error}).")


@final
class DistributedLinks(Links):
    """Sends rows point to point between ranks that share a border, and to no others.

    Args:
        sends: for each rank, the rows that it needs from this one.
        receives: for each rank, the rows that come from it.
        group: of all ranks.
        device: of the rows.
    """

    def __init__(
        self,
        sends: Sequence[NDArray[np.int64]],
        receives: Sequence[NDArray[np.int64]],
        group: ProcessGroup,
        device: str,
    ) -> None:
        self._sends, self._receives = _by_peer(sends, device), _by_peer(receives, device)
        self._group = group

    def forward(self, rows: Tensor) -> None:
        """See `Links.forward`."""
        arrived = self._swap(rows, self._sends, self._receives)
        for peer, halo in self._receives.items():
            rows[halo] = arrived[peer]

    def backward(self, rows: Tensor) -> None:
        """See `Links.backward`."""
        arrived = self._swap(rows, self._receives, self._sends)
        for halo in self._receives.values():
            rows[halo] = 0
        for peer, owned in self._sends.items():
            # Not index_add, whose order on a GPU is not fixed: a peer names no row twice.
            rows[owned] += arrived[peer]

    def _swap(self, rows: Tensor, out: dict[int, Tensor], into: dict[int, Tensor]) -> dict[int, Tensor]:
        """Send the rows ``out`` and return as many as ``into`` names, by peer."""
        leaving = {peer: rows[index] for peer, index in out.items()}
        arrived = {peer: rows.new_empty((len(index), *rows.shape[1:])) for peer, index in into.items()}
        transfers = [P2POp(isend, each, group=self._group, group_peer=peer) for peer, each in leaving.items()]
        transfers += [P2POp(irecv, each, group=self._group, group_peer=peer) for peer, each in arrived.items()]
        try:
            for work in batch_isend_irecv(transfers) if transfers else ():
                work.wait()
        except RuntimeError as error:
            raise unsent({*out, *into}, error) from error
        return arrived


def _by_peer(rows: Sequence[NDArray[np.int64]], device: str) -> dict[int, Tensor]:
    """Rows for each rank that has any, in the order of ranks."""
    return {peer: torch.from_numpy(index).to(device) for peer, index in enumerate(rows) if len(index)}


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
