"""What both makers of answers check and print."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list


def check_clearance(structures: Mapping[str, Atoms]) -> None:
    """No pair may lie so near a cutoff that rounding decides whether it counts."""
    for name, atoms in structures.items():
        lengths = neighbor_list("d", atoms, 5.5)
        for cutoff in (4.0, 5.0):
            if np.any(np.abs(lengths - cutoff) < 1e-5):
                raise SystemExit(f"{name} has a pair at the cutoff of {cutoff} Å.")


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
