"""Halo rows sent from rank to rank through torch.distributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed import P2POp, ProcessGroup, batch_isend_irecv, irecv, isend

from halocline.errors import DistributedError
from halocline.evaluator.links import Links


class LostPeerError(DistributedError):
    """Another rank did not send what it should: it has ended, or hangs."""


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
            peers = ", ".join(map(str, sorted({*out, *into})))
            raise LostPeerError(f"It lost the connection to a neighbour, one of {peers} ({error}).") from error
        return arrived


def _by_peer(rows: Sequence[NDArray[np.int64]], device: str) -> dict[int, Tensor]:
    """Rows for each rank that has any, in the order of ranks."""
    return {peer: torch.from_numpy(index).to(device) for peer, index in enumerate(rows) if len(index)}
