"""An audit in a few numbers, and in a form for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from halocline.audit.crystals.audit import FAILED_ERROR, CrystalOutcome, Row

#: Errors beyond this are counted, per cent.
LARGE = 5.0


@final
@dataclass(frozen=True, slots=True)
class Summary:
    """How far a model is right about some crystals.

    A crystal without a minimum, or with an element that the model does not know, counts `FAILED_ERROR` in the
    medians: who looks for a model for everything gains nothing from one that leaves things out.

    Attributes:
        crystals: how many.
        volume_error: median of the sizes of the errors, per cent.
        bulk_modulus_error: the same, over those whose reference has one; None if no crystal's has.
        large: how many minima are off by more than `LARGE`, by volume.
        no_minimum: how many have none.
        not_known: how many have an element that the model does not know.
        not_evaluated: how many gave an error.
    """

    crystals: int
    volume_error: float
    bulk_modulus_error: float | None
    large: int
    no_minimum: int
    not_known: int
    not_evaluated: int


def summarise(rows: Sequence[Row]) -> Summary:
    """Summarise the rows of an audit, of which there is at least one."""
    with_modulus = [row for row in rows if row.crystal.bulk_modulus is not None]
    outcomes = [row.outcome for row in rows]
    return Summary(
        crystals=len(rows),
        volume_error=_median(row.volume_error for row in rows),
        bulk_modulus_error=_median(row.bulk_modulus_error for row in with_modulus) if with_modulus else None,
        large=sum(abs(row.volume_error) > LARGE for row in rows if row.volume_error is not None),
        no_minimum=outcomes.count(CrystalOutcome.NO_MINIMUM),
        not_known=outcomes.count(CrystalOutcome.NOT_KNOWN),
        not_evaluated=outcomes.count(CrystalOutcome.NOT_EVALUATED),
    )


def record(row: Row) -> dict[str, Any]:
    """All that is known of a row, with units in the keys."""
    fit = row.fit
    return {
        "crystal": row.crystal.name,
        "outcome": row.outcome.value,
        "reason": row.reason or None,
        "volume_A3_per_atom": fit and fit.volume,
        "reference_volume_A3_per_atom": row.crystal.volume,
        "volume_error_percent": row.volume_error,
        "bulk_modulus_GPa": fit and fit.bulk_modulus,
        "reference_bulk_modulus_GPa": row.crystal.bulk_modulus,
        "bulk_modulus_error_percent": row.bulk_modulus_error,
        "energy_eV_per_atom": fit and fit.energy,
        "fit_residual_eV_per_atom": fit and fit.residual,
        "volumes_A3_per_atom": row.volumes,
        "energies_eV_per_atom": row.energies,
        "source": row.crystal.source,
    }


def _median(errors: Iterable[float | None]) -> float:
    return float(np.median([FAILED_ERROR if error is None else abs(error) for error in errors]))
