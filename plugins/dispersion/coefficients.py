"""Coordination numbers to C6 coefficients: weights of reference systems, and what damping takes of elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from halocline.plugins.dispersion.sites import Sites
from halocline.plugins.dispersion.tables import Tables

#: How sharply reference systems are told apart by coordination numbers (k3 of Grimme et al. 2010).
SHARPNESS: Final = 4.0

#: Reference systems are padded to this many: one vector of doubles, where the processor has the widest.
PADDED: Final = 8

#: By how much the radii of zero damping are larger in the three-body term.
ATM_RADII: Final = 4.0 / 3.0


@final
@dataclass(frozen=True, slots=True)
class Damping:
    """How dispersion ends at short distances, with the parameters of a functional.

    Attributes:
        name: ``bj`` or ``zero``.
        s6: factor of the term in r⁻⁶.
        s8: of that in r⁻⁸.
        s9: of the three-body term; 0 leaves it out.
        first: ``a1`` of bj, ``rs6`` of zero.
        second: ``a2`` of bj in Bohr, ``rs8`` of zero.
    """

    name: str
    s6: float
    s8: float
    s9: float
    first: float
    second: float


@final
class Elements(NamedTuple):
    """What the S elements of a structure have, in atomic units.

    Attributes:
        c6: (S, S, R, R), of reference systems.
        numbers: (S, R), their coordination numbers, negative where there is none.
        covalent: (S,), see `Tables`.
        ratios: (S, S), C8 / C6.
        sixth: (S, S), R₀⁶ of bj, or (rs6 R₀)² of zero.
        eighth: (S, S), R₀⁸ of bj, or (rs8 R₀)² of zero.
        three: (S, S), (4/3 R₀)², of the three-body term.
    """

    c6: NDArray[np.float64]
    numbers: NDArray[np.float64]
    covalent: NDArray[np.float64]
    ratios: NDArray[np.float64]
    sixth: NDArray[np.float64]
    eighth: NDArray[np.float64]
    three: NDArray[np.float64]

    @classmethod
    def of(cls, sites: Sites, tables: Tables, damping: Damping) -> Elements:
        """Of the elements of a structure."""
        z = sites.numbers
        pairs = np.ix_(z, z)
        ratios = 3.0 * np.outer(tables.moments[z], tables.moments[z])
        radii = tables.distances[pairs]
        if damping.name == "bj":
            lengths = damping.first * np.sqrt(ratios) + damping.second
            sixth, eighth = lengths**6, lengths**8
        else:
            sixth, eighth = (damping.first * radii) ** 2, (damping.second * radii) ** 2
        three = (ATM_RADII * radii) ** 2
        return cls(tables.c6[pairs], tables.numbers[z], tables.covalent[z], ratios, sixth, eighth, three)


@final
class Coefficients(NamedTuple):
    """Of N atoms: C6 of a pair is the product of ``weights`` of the one with ``rows`` of the other.

    Attributes:
        weights: (N, `PADDED`), of each atom's reference systems; they add up to 1.
        rows: (N, S, `PADDED`), Hartree·Bohr⁶, of an atom with each reference system of each element.
        slopes: (N, S, `PADDED`), derivatives of ``rows`` by the atom's coordination number.
    """

    weights: NDArray[np.float64]
    rows: NDArray[np.float64]
    slopes: NDArray[np.float64]

    @classmethod
    def of(cls, sites: Sites, elements: Elements, coordination: NDArray[np.float64]) -> Coefficients:
        """Of atoms with coordination numbers (N,).

        Gaussians of the differences are divided by their sum after the largest has been taken out, so that it
        never vanishes: atoms with far more neighbours than any reference system are like the one with the most.
        """
        known = elements.numbers[sites.species]
        differences = coordination[:, None] - known
        exponents = np.where(known < 0.0, -np.inf, -SHARPNESS * differences**2)
        gaussians = np.exp(exponents - exponents.max(axis=1, keepdims=True))
        weights = gaussians / gaussians.sum(axis=1, keepdims=True)
        growth = -2.0 * SHARPNESS * differences
        changes = weights * (growth - (weights * growth).sum(axis=1, keepdims=True))
        rows, slopes = (np.empty((len(weights), len(elements.numbers), PADDED)) for _ in range(2))
        for place, table in enumerate(elements.c6):  # (S, R, R): of this element with all others
            mine = sites.species == place
            rows[mine] = _padded(np.einsum("na,sab->nsb", weights[mine], table))
            slopes[mine] = _padded(np.einsum("na,sab->nsb", changes[mine], table))
        return cls(_padded(weights), rows, slopes)


def _padded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    missing = PADDED - values.shape[-1]
    return np.ascontiguousarray(np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)]))
