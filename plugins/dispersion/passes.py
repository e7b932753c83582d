"""Sums over pairs and triples of atoms by NumPy: the definition of what ``passes.cpp`` computes faster.

Pairs come in blocks of some atoms and one lattice vector, and are forgotten after it. Every sum is over all
neighbours of an atom, images included; all quantities are in atomic units.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.plugins.dispersion.coefficients import Coefficients, Damping, Elements
from halocline.plugins.dispersion.sites import Sites

#: How steeply the count of a neighbour falls with its distance (k1 of Grimme et al. 2010).
STEEPNESS: Final = 16.0

#: Pairs that are looked at together.
AT_ONCE: Final = 1 << 18


@final
class Sums(NamedTuple):
    """What a sum leaves with each of N atoms, in the order of the sites.

    Attributes:
        energies: (N,), Hartree.
        forces: (N, 3), Hartree/Bohr.
        virials: (N, 3, 3), Hartree.
        slopes: (N,), Hartree, derivative of the total energy by the atom's coordination number.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virials: NDArray[np.float64]
    slopes: NDArray[np.float64]

    @classmethod
    def zero(cls, atoms: int) -> Sums:
        """Nothing yet."""
        return cls(np.zeros(atoms), np.zeros((atoms, 3)), np.zeros((atoms, 3, 3)), np.zeros(atoms))

    def add(self, atoms: NDArray[np.int64], vectors: NDArray[np.float64], gradients: NDArray[np.float64]) -> None:
        """Add what pairs do to one of their ends.

        Args:
            atoms: (P,) that end.
            vectors: (P, 3) from it to the other.
            gradients: (P,), derivative of the energy by the distance, over the distance.
        """
        pulls = gradients[:, None] * vectors
        np.add.at(self.forces, atoms, pulls)
        np.add.at(self.virials, atoms, 0.5 * pulls[:, :, None] * vectors[:, None, :])


@final
class Pairs(NamedTuple):
    """P pairs.

    Attributes:
        i: (P,) int64, the atom whose neighbour the other is.
        j: (P,) int64.
        vectors: (P, 3), from the one to the other.
        squares: (P,), of their lengths.
    """

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    vectors: NDArray[np.float64]
    squares: NDArray[np.float64]


def coordination(sites: Sites, elements: Elements, cutoff: float) -> tuple[NDArray[np.float64], float]:
    """Coordination numbers (N,), and the square of the shortest distance."""
    counted, nearest = np.zeros(len(sites.positions)), np.inf
    for pairs in _pairs(sites, cutoff):
        counts, _ = _counts(sites, elements, pairs)
        np.add.at(counted, pairs.i, counts)
        nearest = min(nearest, float(pairs.squares.min(initial=np.inf)))
    return counted, nearest


def two_body(
    sites: Sites, elements: Elements, coefficients: Coefficients, damping: Damping, cutoff: float
) -> Sums:
    """Energies of pairs, with their derivatives by distances and by coordination numbers."""
    sums = Sums.zero(len(sites.positions))
    for pairs in _pairs(sites, cutoff):
        c6, slopes = _c6(sites, coefficients, pairs)
        values, gradients = damped(
            elements, damping, sites.species[pairs.i], sites.species[pairs.j], pairs.squares
        )
        np.add.at(sums.energies, pairs.i, -0.5 * c6 * values)
        np.add.at(sums.slopes, pairs.i, -slopes * values)
        sums.add(pairs.i, pairs.vectors, -c6 * gradients)
    return sums


def pulled(sites: Sites, elements: Elements, slopes: NDArray[np.float64], cutoff: float) -> Sums:
    """What derivatives by coordination numbers, (N,), make of distances."""
    sums = Sums.zero(len(sites.positions))
    for pairs in _pairs(sites, cutoff):
        _, gradients = _counts(sites, elements, pairs)
        sums.add(pairs.i, pairs.vectors, (slopes[pairs.i] + slopes[pairs.j]) * gradients)
    return sums


def three_body(
    sites: Sites, elements: Elements, coefficients: Coefficients, damping: Damping, cutoff: float
) -> Sums:
    """Energies of triples within a cutoff of each other (Axilrod, Teller and Muto), a third to each atom."""
    sums = Sums.zero(len(sites.positions))
    for atom in range(len(sites.positions)):
        blocks = zip(*_pairs(sites, cutoff, np.array([atom])), strict=True)
        corner = _Corner(atom, Pairs(*map(np.concatenate, blocks)), sites, elements, coefficients)
        count = len(corner.pairs.j)
        for some in np.array_split(np.arange(count), max(1, count * count // AT_ONCE)):
            j, k = np.nonzero(np.arange(count) > some[:, None])
            corner.add_triples(sums, some[j], k, damping.s9, cutoff)
    return sums


@final
class _Corner:
    """An atom in all triples that it is a corner of.

    Args:
        atom: which.
        pairs: the P pairs that it has with others.
        sites: of the structure, as all that follows.
        elements: see there.
        coefficients: see there.
    """

    def __init__(
        self, atom: int, pairs: Pairs, sites: Sites, elements: Elements, coefficients: Coefficients
    ) -> None:
        self._atom, self.pairs = atom, pairs
        self._sites, self._elements, self._coefficients = sites, elements, coefficients
        self._c6, self._slopes = _c6(sites, coefficients, pairs)

    def add_triples(
        self, sums: Sums, j: NDArray[np.int64], k: NDArray[np.int64], s9: float, cutoff: float
    ) -> None:
        """Add what triples do to it that two of its pairs make, (T,) and (T,), if their other ends are near."""
        pairs, slopes = self.pairs, self._slopes / self._c6
        apart = pairs.vectors[k] - pairs.vectors[j]
        squares = np.einsum("pk,pk->p", apart, apart)
        near = squares <= cutoff**2
        j, k, c = j[near], k[near], squares[near]
        third, _ = _c6(self._sites, self._coefficients, Pairs(pairs.j[j], pairs.j[k], apart[near], c))
        strength = s9 * np.sqrt(self._c6[j] * self._c6[k] * third)
        a, b = pairs.squares[j], pairs.squares[k]
        values, by_a, by_b = _triples(a, b, c, self._radii(pairs.j[j], pairs.j[k]))
        sums.energies[self._atom] += (strength * values).sum() / 3.0
        sums.slopes[self._atom] += 0.5 * (strength * values * (slopes[j] + slopes[k])).sum()
        for end, by_square in ((j, by_a), (k, by_b)):
            sums.add(np.full(len(end), self._atom), pairs.vectors[end], 2.0 * strength * by_square)

    def _radii(self, j: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
        """Products of the squared radii of the three pairs."""
        species, radii = self._sites.species, self._elements.three
        mine = radii[species[self._atom]]
        return np.asarray(mine[species[j]] * mine[species[k]] * radii[species[j], species[k]])


def _triples(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], radii: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Energies of triples over their C9, and the derivatives by the first two squares; see `three_body`.

    Args:
        a: (T,), squares of the three distances, as the next two.
        b: (T,)
        c: (T,)
        radii: (T,), products of three squared radii.
    """
    product = a * b * c
    overlap = (radii / product) ** (8.0 / 3.0)
    damping = 1.0 / (1.0 + 6.0 * overlap)
    u, v, w = a + c - b, a - c + b, c - a + b
    lone = damping * product**-1.5
    inner = 0.375 * lone / product
    angular = inner * u * v * w
    values = angular + lone
    outer = -2.5 * angular - 1.5 * lone + values * 16.0 * damping * overlap
    by_a = inner * (v * w + u * w - u * v) + outer / a
    by_b = inner * (u * w + u * v - v * w) + outer / b
    return values, by_a, by_b


def damped(
    elements: Elements,
    damping: Damping,
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    squares: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The energy of pairs over -C6, and its derivative by the distance, over the distance.

    Args:
        elements: of the structure.
        damping: bj is eq. 4 of Grimme et al. 2011, zero is eq. 3 and 4 of Grimme et al. 2010.
        one: (P,), places of elements.
        other: (P,), likewise.
        squares: (P,), Bohr².
    """
    ratio, sixth, eighth = (table[one, other] for table in (elements.ratios, elements.sixth, elements.eighth))
    weight = damping.s8 * ratio
    if damping.name == "bj":
        six, eight = 1.0 / (squares**3 + sixth), 1.0 / (squares**4 + eighth)
        values = damping.s6 * six + weight * eight
        return values, -6.0 * damping.s6 * squares**2 * six**2 - 8.0 * weight * squares**3 * eight**2
    with np.errstate(over="ignore"):  # infinite where atoms are so close that nothing is left
        six, eight = 1.0 / (1.0 + 6.0 * (sixth / squares) ** 7), 1.0 / (1.0 + 6.0 * (eighth / squares) ** 8)
    powers = damping.s6 / squares**3, weight / squares**4
    slopes = 14.0 * six * (1.0 - six) - 6.0 * six, 16.0 * eight * (1.0 - eight) - 8.0 * eight
    return powers[0] * six + powers[1] * eight, (powers[0] * slopes[0] + powers[1] * slopes[1]) / squares


def _counts(sites: Sites, elements: Elements, pairs: Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a neighbour counts (eq. 15 of Grimme et al. 2010), and its derivative by the distance, over it."""
    radii = elements.covalent[sites.species[pairs.i]] + elements.covalent[sites.species[pairs.j]]
    lengths = np.sqrt(pairs.squares)
    counts = 1.0 / (1.0 + np.exp(-STEEPNESS * (radii / lengths - 1.0)))
    return counts, -counts * (1.0 - counts) * STEEPNESS * radii / (pairs.squares * lengths)


def _c6(sites: Sites, coefficients: Coefficients, pairs: Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """C6 of pairs, and its derivative by the coordination number of the first."""
    weights, species = coefficients.weights[pairs.j], sites.species[pairs.j]
    return tuple(
        np.einsum("pb,pb->p", table[pairs.i, species], weights)
        for table in (coefficients.rows, coefficients.slopes)
    )


def _pairs(sites: Sites, cutoff: float, atoms: NDArray[np.int64] | None = None) -> Iterator[Pairs]:
    """All pairs of some atoms with others, block after block."""
    wanted = np.arange(len(sites.positions)) if atoms is None else atoms
    for some in np.array_split(wanted, max(1, len(wanted) * len(sites.positions) // AT_ONCE)):
        between = sites.positions - sites.positions[some, None]
        for place, vector in enumerate(sites.vectors):
            vectors = between + vector
            squares = np.einsum("ijk,ijk->ij", vectors, vectors)
            near = squares <= cutoff**2
            if place == sites.home:
                near[np.arange(len(some)), some] = False
            i, j = np.nonzero(near)
            yield Pairs(some[i], j, vectors[i, j], squares[i, j])
