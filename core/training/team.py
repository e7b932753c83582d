"""The ranks that train together, and the one thing they do in common: adding up what each has computed."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import final

import torch
from torch import Tensor
from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # public, not in __all__

from halocline.errors import DistributedError
from halocline.meeting import await_start, meeting_point, stay_on_node
from halocline.place import Place


class LostRankError(DistributedError):
    """Another rank has ended, or does not answer."""


class Team:
    """One rank alone.

    Attributes:
        rank: number of this rank; the first, 0, speaks and writes for all.
        size: how many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def is_first(self) -> bool:
        """Whether this rank speaks and writes for all."""
        return self.rank == 0

    def sum(self, values: Tensor) -> None:
        """Replace the values of every rank by their sum over all ranks, the same in every bit on each.

        Every rank calls this in the same order with tensors of the same shape and type.

        Raises:
            LostRankError: a rank has ended, or does not answer in time.
        """
        del values  # they are their own sum

    def leave(self) -> None:
        """Part from the others, once nothing more is to be added up."""


def make_team(place: Place | None, device: torch.device, seconds: float) -> Team:
    """Join the other ranks, if there are any.

    Args:
        place: of this rank, None if it was started alone.
        device: of the tensors that are added up.
        seconds: after which a rank that does not answer is given up.

    Raises:
        DistributedError: not all ranks have come in that time.
    """
    return Team() if place is None or place.size == 1 else _ProcessTeam(place, device, seconds)


@final
class _ProcessTeam(Team):
    """Ranks in processes of their own, joined by torch.distributed: NCCL on CUDA devices, gloo on processors."""

    def __init__(self, place: Place, device: torch.device, seconds: float) -> None:
        super().__init__(place.rank, place.size)
        self._seconds = seconds
        if device.type == "cuda":  # NCCL would end the process where gloo raises an error
            os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
        await_start(place)
        stay_on_node(place)
        store = meeting_point(seconds)
        try:
            torch.distributed.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                # torchrun keeps the store when it starts ranks anew, with the addresses of those that are gone.
                store=PrefixStore(f"start{place.restarts}", store),
                rank=place.rank,
                world_size=place.size,
                timeout=timedelta(seconds=seconds),
                device_id=device if device.type == "cuda" else None,
            )
        except RuntimeError as error:  # of which all errors of torch.distributed are
            raise self._loss() from error

    def sum(self, values: Tensor) -> None:
        """See `Team.sum`."""
        try:
            torch.distributed.all_reduce(values)
        except RuntimeError as error:
            raise self._loss() from error

    def leave(self) -> None:
        """See `Team.leave`."""
        torch.distributed.destroy_process_group()

    def _loss(self) -> LostRankError:
        return LostRankError(
            f"Rank {self.rank} of {self.size} waits in vain: another rank has ended, or did not answer within "
            f"{self._seconds:g} s. Go on from the last epoch kept with --resume."
        )
