"""The place of this process among those that were started together, as torchrun tells it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from halocline.errors import UsageError

#: More ranks for each core than this are taken for a mistake.
RANKS_PER_CORE: Final = 4

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@final
@dataclass(frozen=True, slots=True)
class Place:
    """One of several ranks.

    Attributes:
        rank: its number, from 0.
        size: how many ranks there are, on all nodes.
        local_rank: its number on this node, from 0, which is that of its device.
        local_size: how many ranks this node has.
        restarts: how often all ranks were started anew after a failure.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    restarts: int = 0

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> Place | None:
        """Read the place from environment variables; None if this process was started alone.

        Raises:
            UsageError: the variables are incomplete, are no numbers or contradict each other.
        """
        if not environment.keys() & {"RANK", "WORLD_SIZE"}:
            return None
        missing = [name for name in _NEEDED if name not in environment]
        if missing:
            raise UsageError(
                f"RANK or WORLD_SIZE is set as if torchrun had started this process, but {', '.join(missing)} "
                "is not. Start it with torchrun, or unset these variables."
            )
        defaults = {"LOCAL_WORLD_SIZE": environment["WORLD_SIZE"], "TORCHELASTIC_RESTART_COUNT": "0"}
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", *defaults)
        try:
            rank, size, local_rank, local_size, restarts = (
                int({**defaults, **environment}[name]) for name in names
            )
        except ValueError as error:
            raise UsageError(f"One of {', '.join(names)} is no number: {error}.") from None
        if not (0 <= rank < size and 0 <= local_rank <= rank and local_rank < local_size <= size):
            raise UsageError(
                f"RANK {rank} and LOCAL_RANK {local_rank} are impossible with WORLD_SIZE {size} and "
                f"LOCAL_WORLD_SIZE {local_size}."
            )
        return cls(rank, size, local_rank, local_size, restarts)

    def variables(self) -> dict[str, str]:
        """Environment variables, without an address, that torchrun would set for this place at a first start."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_size),
        }


def threads_per_rank(ranks: int) -> int:
    """Processor threads for each of the ranks of this node, so that together they have one for each core."""
    return max(1, usable_cores() // ranks)


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def refuse_crowd(ranks: int, remedy: str) -> None:
    """Refuse more ranks on the cores of this node than could be meant: each takes the memory of a whole process.

    Args:
        ranks: of this node, which compute on its cores.
        remedy: what to say if they are meant.

    Raises:
        UsageError: there are too many.
    """
    cores = usable_cores()
    if ranks > RANKS_PER_CORE * cores:
        raise UsageError(
            f"{ranks} ranks are more than {RANKS_PER_CORE} for each of the {cores} cores that there are, and "
            f"would only be in each other's way. Use at most {RANKS_PER_CORE * cores}, or {remedy}."
        )
