"""Whether forces are derivatives of any energy: the work that they do around closed loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

#: Å. Every atom goes around a circle: so small that few distances cross the cutoff, where higher derivatives jump.
RADIUS: Final = 0.01

#: Of the circle. Sums over a whole period converge faster than any power: the water model has 1e-8 with 32 points,
#: where MACE has 1e-12.
POINTS: Final = 32

#: Loops in different random planes.
LOOPS: Final = 2


@final
@dataclass(frozen=True, slots=True)
class Curl:
    """Work of forces around closed loops, which vanishes for derivatives of an energy; roots of mean squares.

    Attributes:
        work: eV per atom, around a loop.
        relative: the same by the length of the loop and by the change of the forces along it: the part of that
            change that no energy explains. 1 for forces that do nothing but turn with the loop.
    """

    work: float
    relative: float


def curl(forces: Callable[[Atoms], NDArray[np.float64]], atoms: Atoms, *, seed: int = 0) -> Curl:
    """Go around loops, all atoms at once, each in a plane of its own.

    By Stokes, the work is the antisymmetric part of the Jacobian of the forces between two random directions,
    times the area of the loop.

    Args:
        forces: (N, 3), eV/Å, of a structure.
        atoms: the centre of the loops.
        seed: of the planes.
    """
    rng = np.random.default_rng(seed)
    found = [_loop(forces, atoms, *_plane(rng, len(atoms))) for _ in range(LOOPS)]
    return Curl(*(float(np.sqrt(np.mean(np.square(values)))) for values in zip(*found, strict=True)))


def _plane(rng: np.random.Generator, atoms: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two orthogonal unit vectors (N, 3) for each atom."""
    first, second = rng.normal(size=(2, atoms, 3))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second -= (first * second).sum(axis=1, keepdims=True) * first
    return first, second / np.linalg.norm(second, axis=1, keepdims=True)


def _loop(
    forces: Callable[[Atoms], NDArray[np.float64]],
    atoms: Atoms,
    first: NDArray[np.float64],
    second: NDArray[np.float64],
) -> tuple[float, float]:
    """The two numbers of `Curl` for one loop."""
    found, steps = [], []
    for angle in 2.0 * np.pi * np.arange(POINTS) / POINTS:
        moved = atoms.copy()
        moved.positions += RADIUS * (np.cos(angle) * first + np.sin(angle) * second)
        found.append(forces(moved))
        steps.append(RADIUS * (np.cos(angle) * second - np.sin(angle) * first) * (2.0 * np.pi / POINTS))
    path, pulls = np.stack(steps), np.stack(found)
    work = float((path * pulls).sum())
    change = np.sqrt(((pulls - pulls.mean(axis=0)) ** 2).sum(axis=(1, 2)).mean())
    length = 2.0 * np.pi * RADIUS * np.sqrt(len(atoms))
    return work / len(atoms), work / (length * change) if change else 0.0
