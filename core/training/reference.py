"""Reference energies of the elements, from the training frames alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray


def fit_reference_energies(
    species: Sequence[str], structures: Sequence[NDArray[np.int64]], energies: Sequence[float]
) -> tuple[dict[str, float], bool]:
    """Fit one energy for each element to total energies: the least-squares solution of smallest norm.

    It takes the large constant out of the total energies, so that float32 is enough for what is left.

    Args:
        species: S chemical symbols.
        structures: atomic numbers of each structure, (N,).
        energies: eV, of each structure.

    Returns:
        Energy of each element in eV, and whether the data determine all of them. They do not where compositions
        are too few or proportional: then only energy differences within one composition have a meaning.
    """
    counts = composition(species, structures)
    if not len(counts):
        return dict.fromkeys(species, 0.0), False
    solution, _, rank, _ = np.linalg.lstsq(counts, np.asarray(energies, dtype=np.float64), rcond=None)
    return {symbol: float(e) for symbol, e in zip(species, solution, strict=True)}, int(rank) == len(species)


def composition(species: Sequence[str], structures: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Numbers of atoms of each element, (len(structures), S) float64; arguments as above."""
    numbers = [atomic_numbers[symbol] for symbol in species]
    return np.array([[np.count_nonzero(each == z) for z in numbers] for each in structures], dtype=np.float64)
