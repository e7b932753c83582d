"""Evaluates D3: coordination numbers, coefficients, energies, and the chain rule back to distances."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Final, NamedTuple, final

import numpy as np
from ase.units import Bohr, Hartree

from halocline.errors import KernelError, StructureError
from halocline.evaluator import Evaluator
from halocline.evaluator.result import Result
from halocline.graph import Structure
from halocline.plugins.dispersion import compiled, passes
from halocline.plugins.dispersion.coefficients import Coefficients, Damping, Elements
from halocline.plugins.dispersion.sites import Sites
from halocline.plugins.dispersion.tables import Tables

_LOG = logging.getLogger(__name__)

#: Å. Atoms nearer than this are one atom given twice: there is no direction between them.
COINCIDENT: Final = 1e-6


@final
class Cutoffs(NamedTuple):
    """Distances in Bohr beyond which nothing is counted.

    Attributes:
        pairs: of two-body energies.
        coordination: of coordination numbers.
        triples: of all three distances of a triple.
    """

    pairs: float
    coordination: float
    triples: float


@final
class D3Evaluator(Evaluator):
    """Sums by compiled code, or by NumPy where there is no compiler; always in float64, on the CPU.

    Args:
        tables: of elements.
        damping: with the parameters of a functional.
        cutoffs: see there.
    """

    together = True  # each structure has its sums for itself; a network beside it need not wait for that

    def __init__(self, tables: Tables, damping: Damping, cutoffs: Cutoffs) -> None:
        self._tables, self._damping, self._cutoffs = tables, damping, cutoffs
        self._sums: ModuleType = compiled
        try:
            compiled.load_passes()
        except KernelError as error:
            _LOG.warning("D3 is evaluated by NumPy, which takes some 25 times as long: %s", error)
            self._sums = passes

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`.

        Raises:
            StructureError: two atoms are at one place, or the cell is far too small.
        """
        damping, cutoffs = self._damping, self._cutoffs
        sites = Sites.of(structure, max(cutoffs[:2] if damping.s9 == 0.0 else cutoffs))
        elements = Elements.of(sites, self._tables, damping)
        counted, nearest = self._sums.coordination(sites, elements, cutoffs.coordination)
        if nearest < (COINCIDENT / Bohr) ** 2:
            raise StructureError("Two atoms are at the same place; move or remove one.")
        coefficients = Coefficients.of(sites, elements, counted)
        sums = [self._sums.two_body(sites, elements, coefficients, damping, cutoffs.pairs)]
        if damping.s9 != 0.0:
            sums.append(self._sums.three_body(sites, elements, coefficients, damping, cutoffs.triples))
        slopes = np.sum([each.slopes for each in sums], axis=0)
        sums.append(self._sums.pulled(sites, elements, slopes, cutoffs.coordination))
        return _result(structure, sites, sums)


def _result(structure: Structure, sites: Sites, sums: list[passes.Sums]) -> Result:
    """The sums added up, atoms in the order of the structure, in eV and Å."""
    energies, forces = np.empty(len(structure)), np.empty((len(structure), 3))
    energies[sites.order] = Hartree * np.sum([each.energies for each in sums], axis=0)
    forces[sites.order] = Hartree / Bohr * np.sum([each.forces for each in sums], axis=0)
    virial = Hartree * np.sum([each.virials.sum(axis=0) for each in sums], axis=0)
    return Result(energies, forces, 0.5 * (virial + virial.T), structure.volume)
