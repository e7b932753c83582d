"""What SevenNet says of its published models; in its environment."""

from __future__ import annotations

from collections.abc import Callable

import sevenn.util
from ase import Atoms
from oracles.sevennet.make_answers import evaluate
from sevenn.checkpoint import SevenNetCheckpoint

#: Our names → upstream's, and heads.
MODELS = {
    "7net-0": ("7net-0_11July2024", (None,)),
    "7net-0-22may2024": ("7net-0_22May2024", (None,)),
    "7net-l3i5": ("7net-l3i5", (None,)),
    "7net-mf-0": ("7net-mf-0", ("PBE", "R2SCAN")),
}


def answers(name: str) -> dict[str, Callable[[Atoms], dict]]:
    """Model and head → function of a structure, in float64."""
    theirs, heads = MODELS[name]
    model = SevenNetCheckpoint(sevenn.util.pretrained_name_to_path(theirs)).build_model().double().eval()
    model.set_is_batch_data(False)
    return {
        f"{name} {head}" if head else name: lambda atoms, head=head: evaluate(model, atoms, head) for head in heads
    }
