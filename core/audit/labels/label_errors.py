"""What an audit tells of errors beside labels, taken in frame by frame."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from halocline.audit.geometry.bonds import Surroundings
from halocline.audit.geometry.molecules import molecules_of
from halocline.audit.labels.force_errors import directions_off, magnitudes
from halocline.evaluation.accuracy import UNITS, Accuracy, Points, as_table
from halocline.evaluation.hints import hints
from halocline.training.errors import MILLI, Deviations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halocline.data.labels import Labels
    from halocline.evaluation.frames import Frame
    from halocline.evaluator.result import Result

#: What is compared beside `halocline.evaluation.accuracy.UNITS`, and in which unit.
MORE_UNITS: Final = {
    "energy per molecule": "meV/molecule",
    "force magnitude": "meV/Å",
    "force angle": "°",
}
#: Of force errors, what is told by element.
_BY_ELEMENT: Final = ("force magnitude", "force angle")


@final
class LabelErrors:
    """Errors of a model over many frames.

    Args:
        species: chemical symbols that the model knows.

    Attributes:
        accuracy: what `halocline eval` tells.
        quantities: name in `MORE_UNITS` → its errors. Angles are themselves errors.
        elements: symbol → the same of forces on its atoms.
        points: ``energy per molecule`` and ``force magnitude``, in eV and eV/Å; ``force angle``: lengths of labels
            in eV/Å, and degrees.
    """

    def __init__(self, species: Sequence[str]) -> None:
        self.accuracy = Accuracy(species)
        self.quantities = {name: Deviations() for name in MORE_UNITS}
        self.elements: dict[str, dict[str, Deviations]] = {}
        self.points = {name: Points() for name in MORE_UNITS}

    @property
    def is_empty(self) -> bool:
        """Whether no frame had a label."""
        return not any(each.count for each in self.accuracy.quantities.values())

    def add(self, frame: Frame, labels: Labels, result: Result) -> dict[str, float]:
        """Take in a frame, and return its own errors by name, and the number of its molecules if it has some."""
        own = self.accuracy.add(frame, labels, result)
        molecules = molecules_of(Surroundings.of(frame.atoms))
        if molecules is not None:
            own["molecules"] = molecules.count
            if labels.energy is not None:
                own |= self._add_energy(labels.energy / molecules.count, result.energy / molecules.count)
        if labels.forces is not None:
            own |= self._add_forces(frame.atoms.numbers, labels.forces, result.forces)
        return own

    def _add_energy(self, label: float, energy: float) -> dict[str, float]:
        self.quantities["energy per molecule"].add(label * MILLI, energy * MILLI)
        self.points["energy per molecule"].add(np.array([label]), np.array([energy]))
        return {"energy error per molecule": (energy - label) * MILLI}

    def _add_forces(
        self, numbers: NDArray[np.int64], labels: NDArray[np.float64], forces: NDArray[np.float64]
    ) -> dict[str, float]:
        lengths, angles = (magnitudes(labels), magnitudes(forces)), directions_off(labels, forces)
        known = np.isfinite(angles)
        self.points["force magnitude"].add(*lengths)
        self.points["force angle"].add(lengths[0][known], angles[known])
        _add(self.quantities, lengths, angles)
        for number in np.unique(numbers):
            there = numbers == number
            of_element = {name: Deviations() for name in _BY_ELEMENT}
            found = self.elements.setdefault(chemical_symbols[number], of_element)
            _add(found, (lengths[0][there], lengths[1][there]), angles[there])
        own = {"force magnitude MAE": float(np.abs(lengths[1] - lengths[0]).mean()) * MILLI}
        return own | ({"force angle MAE": float(angles[known].mean())} if known.any() else {})

    def document(self) -> dict[str, Any]:
        """All errors, by name and with their units."""
        accuracy, shifts = self.accuracy, self.accuracy.shifts.fit()
        units = UNITS | MORE_UNITS
        every = accuracy.quantities | self.quantities
        by_element = {symbol: {"forces": each} for symbol, each in sorted(accuracy.elements.items())}
        for symbol, found in self.elements.items():
            by_element[symbol] |= found
        return {
            "errors": {name: {"unit": units[name], **_table(name, each)} for name, each in every.items()},
            "elements": {
                symbol: {name: {"unit": units[name], **_table(name, each)} for name, each in found.items()}
                for symbol, found in by_element.items()
            },
            "largest": {name: asdict(each) for name, each in accuracy.worst.items() if each.where},
            "energy_shifts": None if shifts is None else asdict(shifts),
            "hints": list(hints(accuracy)),
        }


def _add(
    quantities: dict[str, Deviations],
    lengths: tuple[NDArray[np.float64], NDArray[np.float64]],
    angles: NDArray[np.float64],
) -> None:
    known = angles[np.isfinite(angles)]
    quantities["force magnitude"].add(lengths[0] * MILLI, lengths[1] * MILLI)
    quantities["force angle"].add(np.zeros_like(known), known)


def _table(name: str, deviations: Deviations) -> dict[str, Any]:
    """What is an error itself, a length or an angle, has no labels that it could vary with."""
    found = as_table(deviations)
    if name in ("force vectors", "force angle"):
        found |= {"r2": None, "std_of_labels": None}
    return found
