"""What Nequix says of its published models, through its torch backend; in its environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ase import Atoms
from oracles.nequix.make_answers import evaluate_in_torch, load_in_torch
from oracles.nequix.models import PUBLISHED as MODELS


def answers(name: str) -> dict[str, Callable[[Atoms], dict]]:
    """Model → function of a structure, in float64; files are looked for in the folder that NEQUIX_MODELS names."""
    model = load_in_torch(Path(os.environ["NEQUIX_MODELS"]) / f"{name}.nqx")
    return {name: lambda atoms: evaluate_in_torch(model, atoms)}


__all__ = ["MODELS", "answers"]
