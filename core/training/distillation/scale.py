"""Energies of another model on the scale of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from halocline.training.reference import composition, fit_reference_energies

#: A composition is a sum of others if what is left is this much shorter: rounding of whole numbers is far below.
_SPANNED = 1e-8


def on_the_scale_of_labels(
    species: Sequence[str],
    structures: Mapping[int, NDArray[np.int64]],
    energies: Mapping[int, float],
    labels: Mapping[int, float],
) -> dict[int, float]:
    """Add a constant for each element to energies, which brings them nearest to labels by least squares.

    Levels of theory and kinds of pseudopotentials differ by such constants, up to thousands of eV, which say
    nothing of interactions. Without labels energies stay as they are. Where there are some, their compositions
    may leave open what a structure of another composition would have on their scale; its energy is left out.

    Args:
        species: chemical symbols of all structures.
        structures: atomic numbers of each structure, (N,), by its number.
        energies: of the teacher, eV, of structures.
        labels: eV, of structures.
    """
    both = sorted(energies.keys() & labels.keys())
    if not both:
        return dict(energies)
    differences = [labels[i] - energies[i] for i in both]
    shifts, determined = fit_reference_energies(species, [structures[i] for i in both], differences)
    known = composition(species, [structures[i] for i in both])
    counts = composition(species, [structures[i] for i in energies])
    spanned = np.ones(len(counts), dtype=bool) if determined else _spanned(counts, known)
    constants = counts @ np.array(list(shifts.values()))
    return {
        i: energy + float(constant)
        for (i, energy), constant, kept in zip(energies.items(), constants, spanned, strict=True)
        if kept
    }


def _spanned(counts: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which compositions are sums of multiples of known ones."""
    _, sizes, directions = np.linalg.svd(known, full_matrices=False)
    basis = directions[sizes > sizes[0] * len(known) * np.finfo(np.float64).eps]
    left = counts - counts @ basis.T @ basis
    spanned: NDArray[np.bool_] = np.linalg.norm(left, axis=1) <= _SPANNED * np.linalg.norm(counts, axis=1)
    return spanned
