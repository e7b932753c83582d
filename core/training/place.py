"""The place of this process among those that train together, as torchrun tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from halocline.errors import UsageError

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One of several ranks.

    Attributes:
        rank: its number, from 0.
        size: how many ranks there are, on all nodes.
        local_rank: its number on this node, from 0, which is that of its device.
        restarts: how often all ranks were started anew after a failure.
    """

    rank: int
    size: int
    local_rank: int
    restarts: int

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
        numbers = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT")
        try:
            rank, size, local, restarts = (int(environment.get(name, "0")) for name in numbers)
        except ValueError as error:
            raise UsageError(f"One of {', '.join(numbers)} is no number: {error}.") from None
        if not (0 <= rank < size and 0 <= local <= rank):
            raise UsageError(f"RANK {rank} and LOCAL_RANK {local} are impossible with WORLD_SIZE {size}.")
        return cls(rank=rank, size=size, local_rank=local, restarts=restarts)
