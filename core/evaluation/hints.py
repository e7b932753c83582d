"""What errors may come from that is none of the model: other zeros of energy, other units, other signs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ase import units

from halocline.training.errors import MILLI, Deviations

if TYPE_CHECKING:
    from halocline.evaluation.accuracy import Accuracy

#: How many of other units make one of ours.
_OTHERS: Final = {
    "forces": (
        "eV/Å",
        {
            "kcal/mol/Å": units.mol / units.kcal,
            "kJ/mol/Å": units.mol / units.kJ,
            "Hartree/Bohr": units.Bohr / units.Hartree,
            "Rydberg/Bohr": units.Bohr / units.Rydberg,
            "meV/Å": MILLI,
        },
    ),
    "stress": ("eV/Å³", {"GPa": 1.0 / units.GPa, "kbar": 10.0 / units.GPa}),
}
#: Labels follow the model so closely where only a unit or a sign is another; factors are met to this part.
_CORRELATION, _TOLERANCE = 0.9, 0.15
#: Constants that take the error to this part of itself, and errors in eV/atom below which nobody looks for them.
_PART, _SMALL = 0.5, 1e-3


def hints(accuracy: Accuracy) -> Iterator[str]:
    """Sentences about what may be wrong with the labels. Nothing of it is corrected.

    Args:
        accuracy: of a model, after its last frame.
    """
    shifts = accuracy.shifts.fit()
    if shifts is not None and shifts.before > _SMALL and shifts.after < _PART * shifts.before:
        values = ", ".join(f"{symbol} {value:+.4f} eV" for symbol, value in shifts.values.items())
        vague = "" if shifts.determined else " (these compositions determine only sums of them)"
        yield (
            f"Most of the error of the energies is a constant for each element: label less model is {values}"
            f"{vague}. Without it the RMSE would be {shifts.after * MILLI:.2f} meV/atom, and it is "
            f"{shifts.before * MILLI:.2f}: labels and model probably count energies from different zeros. "
            "Nothing was corrected."
        )
    for name, (ours, others) in _OTHERS.items():
        yield from _about_units(name, accuracy.quantities[name], ours, others)


def _about_units(name: str, deviations: Deviations, ours: str, others: dict[str, float]) -> Iterator[str]:
    correlation, slope = deviations.correlation, deviations.slope
    if correlation is None or slope is None or abs(correlation) < _CORRELATION:
        return
    near = [unit for unit, factor in others.items() if abs(abs(slope) / factor - 1.0) < _TOLERANCE]
    wrong = [f"in {near[0]} and not in {ours}"] if near else []
    wrong += ["of the opposite sign"] if slope < 0.0 else []
    if wrong:
        yield (
            f"Labels of {name} are {slope:.4g} times what the model gives (correlation {correlation:.3f}), so "
            f"they are probably {' and '.join(wrong)}. Nothing was corrected."
        )
