"""What ranks say to each other when they build domains: rows in any number, and sums that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.distributed import P2POp, ProcessGroup, batch_isend_irecv, irecv, isend

from halocline.backends.ddp.links import unsent


class Peers(ABC):
    """The other ranks, as one of them sees them. All ranks call the same methods in the same order.

    Arrays are int64 or float64, with one dtype and one shape of rows on all ranks.

    Attributes:
        rank: this one.
        size: how many there are.
    """

    rank: int
    size: int

    @abstractmethod
    def swap(self, out: Sequence[NDArray[Any]], lengths: Sequence[int] | None = None) -> list[NDArray[Any]]:
        """Give each rank its rows, and take what each has for this one; its own stay here.

        Args:
            out: for each rank, (n, ...) with n of any size.
            lengths: how many rows come from each rank, if that is known; else they tell each other first.

        Returns:
            From each rank, rows.

        Raises:
            LostPeerError: another rank has ended, or hangs.
        """

    @abstractmethod
    def gathered(self, array: NDArray[Any]) -> NDArray[Any]:
        """The arrays of all ranks, (size, ...), in the order of ranks; they have one shape.

        Raises:
            LostPeerError: another rank has ended, or hangs.
        """

    def total(self, array: NDArray[Any]) -> NDArray[Any]:
        """The sum over ranks, added up in their order, so that all of them have the same bits."""
        first, *others = self.gathered(array)
        result: NDArray[Any] = first.copy()
        for other in others:
            result += other
        return result


@final
class Alone(Peers):
    """A rank that has no others."""

    rank, size = 0, 1

    def swap(self, out: Sequence[NDArray[Any]], lengths: Sequence[int] | None = None) -> list[NDArray[Any]]:
        """See `Peers.swap`."""
        return list(out)

    def gathered(self, array: NDArray[Any]) -> NDArray[Any]:
        """See `Peers.gathered`."""
        return array[None].copy()


@final
class GroupPeers(Peers):
    """Ranks that are joined in a process group.

    Args:
        group: of all ranks.
        rank: this one.
        size: how many there are.
        device: that the group takes its rows from.
    """

    def __init__(self, group: ProcessGroup, rank: int, size: int, device: str = "cpu") -> None:
        self.rank, self.size = rank, size
        self._group, self._device = group, device

    def swap(self, out: Sequence[NDArray[Any]], lengths: Sequence[int] | None = None) -> list[NDArray[Any]]:
        """See `Peers.swap`. Ranks that have nothing for each other send nothing but, at most, that number."""
        if lengths is None:
            lengths = self.gathered(np.array([len(rows) for rows in out]))[:, self.rank].tolist()
        leaving = {peer: self._tensor(rows) for peer, rows in enumerate(out) if len(rows) and peer != self.rank}
        like = self._tensor(out[self.rank])
        arriving = {
            peer: like.new_empty((length, *like.shape[1:]))
            for peer, length in enumerate(lengths)
            if length and peer != self.rank
        }
        transfers = [P2POp(isend, rows, group=self._group, group_peer=peer) for peer, rows in leaving.items()]
        transfers += [P2POp(irecv, rows, group=self._group, group_peer=peer) for peer, rows in arriving.items()]
        try:
            for work in batch_isend_irecv(transfers) if transfers else ():
                work.wait()
        except RuntimeError as error:
            raise unsent({*leaving, *arriving}, error) from error
        found = [
            arriving[peer].cpu().numpy() if peer in arriving else out[self.rank][:0] for peer in range(self.size)
        ]
        found[self.rank] = out[self.rank]
        return found

    def gathered(self, array: NDArray[Any]) -> NDArray[Any]:
        """See `Peers.gathered`."""
        mine = self._tensor(array)
        all_of_them = [torch.empty_like(mine) for _ in range(self.size)]
        try:
            distributed.all_gather(all_of_them, mine, group=self._group)
        except RuntimeError as error:
            raise unsent(set(range(self.size)) - {self.rank}, error) from error
        return torch.stack(all_of_them).cpu().numpy()

    def total(self, array: NDArray[Any]) -> NDArray[Any]:
        """See `Peers.total`. Integers have one sum in any order, so they need not come to every rank."""
        if array.dtype != np.int64:
            return super().total(array)
        sums = self._tensor(array.copy())
        try:
            distributed.all_reduce(sums, group=self._group)
        except RuntimeError as error:
            raise unsent(set(range(self.size)) - {self.rank}, error) from error
        return sums.cpu().numpy()

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
