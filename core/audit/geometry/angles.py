"""Angles between bonds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halocline.audit.geometry.bonds import Surroundings


def angle_between(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K,) degrees between vectors (K, 3), precise near 0° and 180°, too, where arccosines lose digits."""
    crossed = np.linalg.norm(np.cross(first, second), axis=1)
    return np.asarray(np.degrees(np.arctan2(crossed, np.einsum("ij,ij->i", first, second))))


def pairs_at_atoms(receivers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of edges that meet at an atom, each once, by the places of the two.

    Args:
        receivers: (E,) atoms where edges meet, sorted.
    """
    _, starts, degrees = np.unique(receivers, return_index=True, return_counts=True)
    ends = np.repeat(starts + degrees, degrees)
    later = ends - np.arange(len(receivers)) - 1  # edges of the same atom that follow
    first = np.repeat(np.arange(len(receivers)), later)
    begins = np.repeat(np.cumsum(later) - later, later)
    return first, first + 1 + np.arange(len(first)) - begins


def bond_angles(surroundings: Surroundings) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Every angle between two bonds of one atom.

    Returns:
        (3, K) atomic numbers of one end, the vertex and the other end, the smaller end first; (K,) degrees.
    """
    bonded = np.flatnonzero(surroundings.bonded)
    edges = surroundings.edges[bonded]
    first, second = pairs_at_atoms(edges.receivers)
    vectors = surroundings.vectors[bonded]
    numbers = surroundings.structure.numbers
    ends = np.sort(numbers[np.stack([edges.senders[first], edges.senders[second]])], axis=0)
    kinds = np.stack([ends[0], numbers[edges.receivers[first]], ends[1]])
    return kinds, angle_between(vectors[first], vectors[second])
