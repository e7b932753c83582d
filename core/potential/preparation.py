"""Structures made ready for a model: copied, checked, with all that it takes of them and reference energies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from halocline.errors import UnknownElementError
from halocline.graph import Structure
from halocline.model.backbone import reference_table
from halocline.model.condition import HEAD, taken_entries, under_conditions
from halocline.structures.unused import STATE_COLUMNS, about_states, unused_states

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.model.backbone import Backbone

_LOG = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """A structure that was checked.

    Attributes:
        structure: N atoms.
        reference: (N,) eV, the reference energy of each.
        energies: from which those follow: chemical symbol → eV.
    """

    structure: Structure
    reference: NDArray[np.float64]
    energies: dict[str, float]


@final
class Preparation:
    """Makes structures ready, one after another; what the next has in common with the last is not done again.

    Args:
        backbone: of the model.
        reference_energies: chemical symbol → eV; may be changed between structures.
    """

    def __init__(self, backbone: Backbone, reference_energies: dict[str, float]) -> None:
        self._backbone, self._energies = backbone, reference_energies
        self._latest: Prepared | None = None
        self._said: set[str] = set()

    def prepare(self, atoms: Atoms, head: str | None) -> Prepared:
        """Copy and check a structure.

        Args:
            atoms: the structure.
            head: that is to answer; see a call of `halocline.potential.potential.Potential`.

        Raises:
            StructureError: it cannot be evaluated, whatever its neighbours.
        """
        like = self._latest
        structure = Structure.from_atoms(atoms, None if like is None else like.structure)
        if self._backbone.conditions:
            structure = under_conditions(structure, self._backbone.conditions, atoms.info, head)
        if atoms.info or any(name in atoms.arrays for name in STATE_COLUMNS):
            self._say_unused(atoms)
        self._latest = prepared = self._with_reference(structure, like)
        return prepared

    def _with_reference(self, structure: Structure, like: Prepared | None) -> Prepared:
        """With the reference energies of its atoms; those of another one with the very numbers stay."""
        same = like is not None and structure.numbers is like.structure.numbers and self._energies == like.energies
        if like is not None and same and structure.same_conditions(like.structure):
            return like._replace(structure=structure)
        return Prepared(structure, self._reference(structure), dict(self._energies))

    def _reference(self, structure: Structure) -> NDArray[np.float64]:
        """Reference energy of each atom, (N,) in eV; refuses elements the model does not know."""
        of_heads = self._backbone.head_energies
        table = reference_table(self._energies, of_heads)
        reference: NDArray[np.float64] = table[structure.conditions[HEAD] if of_heads else 0, structure.numbers]
        unknown = np.flatnonzero(np.isnan(reference))
        if len(unknown):
            raise UnknownElementError(_unknown_elements(structure, unknown, self._backbone.species))
        return reference

    def _say_unused(self, atoms: Atoms) -> None:
        """Say once of each charge, spin or field that it changes nothing."""
        new = {
            name: text
            for name, text in unused_states(atoms, taken_entries(self._backbone.conditions)).items()
            if name not in self._said
        }
        if new:
            self._said.update(new)
            _LOG.warning(about_states(new))


def _unknown_elements(structure: Structure, unknown: NDArray[np.intp], species: tuple[str, ...]) -> str:
    symbols = sorted({chemical_symbols[structure.numbers[i]] for i in unknown})
    return (
        f"The model does not know {', '.join(symbols)} (first at atom {unknown[0]}); "
        f"it was made for {', '.join(species)}."
    )
