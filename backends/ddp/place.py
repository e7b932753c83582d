"""Where a process stands among the others, as torchrun says it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self, final


@final
@dataclass(frozen=True, slots=True)
class Place:
    """The place of one rank.

    Attributes:
        rank: its number.
        ranks: how many there are.
        local_rank: its number on its node.
        local_ranks: how many its node has.
    """

    rank: int
    ranks: int
    local_rank: int
    local_ranks: int

    @classmethod
    def from_environment(cls) -> Self | None:
        """Read the variables that torchrun sets; None if it did not start this process."""
        if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
            return None
        rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
        return cls(rank, ranks, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", ranks)))

    def variables(self) -> dict[str, str]:
        """The same as torchrun would set it, without an address."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.ranks),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_ranks),
        }
