"""Both layouts of edges and both precisions mean the same model."""

from __future__ import annotations

from halocline.program import Precision
from halocline.testing import tolerances
from halocline.testing.comparison import energy_scale, force_scale, require_close, require_same
from halocline.testing.report import NotApplicable
from halocline.testing.subject import Subject


def check_forms(subject: Subject) -> None:
    """Flat edges and padded tables give the same energies, forces and virials.

    Raises:
        Failure: they differ by more than rounding.
        NotApplicable: the stages declare one form only.
    """
    if len(subject.forms) < 2:
        raise NotApplicable(f"The stages declare only the form {subject.forms[0].value!r}.")
    first, second = subject.forms
    for name, atoms in subject.samples.all().items():
        expected = subject.evaluate(atoms, form=first)
        result = subject.evaluate(atoms, form=second)
        require_same(f"of the {name} in the form {second.value!r}", result, expected)


def check_float32(subject: Subject) -> None:
    """Cast to float32, the model agrees with itself in float64; nothing in it stays in another dtype."""
    for name, atoms in subject.samples.small().items():
        expected = subject.evaluate(atoms)
        result = subject.evaluate(atoms, precision=Precision.FLOAT32)
        energy = tolerances.FLOAT32_ENERGY * energy_scale(expected)
        require_close(f"Energies of the {name} in float32 (eV)", result.energies, expected.energies, energy)
        force = tolerances.FLOAT32_FORCE * force_scale(expected) + tolerances.FLOAT32_FORCE_FLOOR
        require_close(f"Forces of the {name} in float32 (eV/Å)", result.forces, expected.forces, force)
