"""Ranks that do not compute the same thing would average nonsense: they compare notes before the first step."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch

from halocline.errors import TrainingError
from halocline.training.team import Team


def refuse_disagreement(team: Team, facts: Mapping[str, str], device: torch.device) -> None:
    """Compare what each rank works with.

    Args:
        team: of all ranks; each calls this.
        facts: of this rank, under the same names on each.
        device: of the team's tensors.

    Raises:
        TrainingError: on every rank, if one of them differs from the first in any fact.
    """
    digests = [list(hashlib.sha256(fact.encode()).digest()) for fact in facts.values()]
    table = torch.zeros(team.size, len(facts), hashlib.sha256().digest_size, dtype=torch.int64, device=device)
    table[team.rank] = torch.tensor(digests, device=device)
    team.sum(table)
    differs = (table != table[0]).any(2).tolist()  # (ranks, facts)
    for rank, flags in enumerate(differs):
        names = [name for name, flag in zip(facts, flags, strict=True) if flag]
        if names:
            raise TrainingError(
                f"Rank {rank} differs from rank 0 in {', '.join(names)}. Install the same release, and give the "
                "same files, to all ranks."
            )
