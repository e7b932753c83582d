"""Evaluate crystals over a range of volumes, and compare where a model has its minimum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from halocline.audit.crystals.crystals import Crystal
from halocline.audit.crystals.equation_of_state import EquationOfState, fit_equation_of_state
from halocline.errors import HaloclineError, UsageError
from halocline.model.condition import read_conditions

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.potential.potential import Potential

#: Volumes reach from 94 % to 106 % of those of the crystals as they are listed, in equal steps.
RANGE, POINTS = 0.06, 7

#: What a crystal counts for which a model gives no minimum, or of which it does not know an element; per cent.
FAILED_ERROR = 100.0


class CrystalOutcome(StrEnum):
    """What became of a crystal."""

    MINIMUM = "minimum"
    NO_MINIMUM = "no minimum"
    NOT_KNOWN = "not known"
    NOT_EVALUATED = "not evaluated"


@final
@dataclass(frozen=True, slots=True)
class Row:
    """A crystal as a model has it.

    Attributes:
        crystal: and its reference.
        outcome: what became of it.
        fit: the equation of state, if there is a minimum.
        volumes: that were evaluated, Å³/atom; empty if none could be.
        energies: of them, eV/atom.
        reason: why it could not be evaluated, a sentence; else empty.
    """

    crystal: Crystal
    outcome: CrystalOutcome
    fit: EquationOfState | None = None
    volumes: tuple[float, ...] = ()
    energies: tuple[float, ...] = ()
    reason: str = ""

    @property
    def volume_error(self) -> float | None:
        """Error of the volume at the minimum, signed, per cent of the reference; None without a minimum."""
        return None if self.fit is None else _per_cent(self.fit.volume, self.crystal.volume)

    @property
    def bulk_modulus_error(self) -> float | None:
        """Error of the bulk modulus, signed, per cent of the reference; None without a minimum or a reference."""
        reference = self.crystal.bulk_modulus
        return None if self.fit is None or reference is None else _per_cent(self.fit.bulk_modulus, reference)


def audit(
    potential: Potential,
    crystals: Iterable[Crystal],
    *,
    device: str = "auto",
    head: str | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Find the equation of state of each crystal, in float64.

    Cells are scaled as they are, atoms with them: shapes and internal coordinates stay those of the reference,
    which was computed in the same way.

    Args:
        potential: a model.
        crystals: what to evaluate.
        device: as for a call of the potential.
        head: which of a model that has several.
        advance: called after each crystal.

    Raises:
        UsageError: there is no such device, or the model has no heads and one is named.
        StructureError: the model has several heads and none or another is named, or must be told something else.
    """
    read_conditions(potential.backbone.conditions, {}, head)  # crystals state nothing by themselves
    rows = []
    for crystal in crystals:
        rows.append(_row(potential, crystal, device, head))
        advance()
    return rows


def _row(potential: Potential, crystal: Crystal, device: str, head: str | None) -> Row:
    if unknown := sorted(set(crystal.atoms.symbols) - set(potential.species)):
        return Row(crystal, CrystalOutcome.NOT_KNOWN, reason=f"The model does not know {', '.join(unknown)}.")
    scaled = [_scaled(crystal.atoms, factor) for factor in np.linspace(1 - RANGE, 1 + RANGE, POINTS)]
    try:
        results = [potential(atoms, dtype="float64", device=device, head=head) for atoms in scaled]
    except UsageError:
        raise
    except HaloclineError as error:  # such as an energy that is not finite
        return Row(crystal, CrystalOutcome.NOT_EVALUATED, reason=str(error))
    energies = _per_atom([result.energy for result in results], scaled)
    volumes = _per_atom([atoms.get_volume() for atoms in scaled], scaled)
    fit = fit_equation_of_state(volumes, energies)
    outcome = CrystalOutcome.NO_MINIMUM if fit is None else CrystalOutcome.MINIMUM
    return Row(crystal, outcome, fit, tuple(volumes.tolist()), tuple(energies.tolist()))


def _scaled(atoms: Atoms, factor: float) -> Atoms:
    larger: Atoms = atoms.copy()
    larger.set_cell(atoms.cell * factor ** (1 / 3), scale_atoms=True)
    return larger


def _per_atom(values: list[float], scaled: list[Atoms]) -> NDArray[np.float64]:
    return np.array(values) / len(scaled[0])


def _per_cent(value: float, reference: float) -> float:
    return 100.0 * (value / reference - 1.0)
