"""Errors of a model against labels, taken in frame by frame: nothing is kept that grows with their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from halocline.evaluation.shifts import ElementShifts
from halocline.training.errors import MILLI, Deviations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halocline.data.labels import LabelledFrame, Labels
    from halocline.evaluator.result import Result

#: What is compared, and in which unit errors are told.
UNITS: Final = {
    "energy": "meV",
    "energy per atom": "meV/atom",
    "forces": "meV/Å",
    "force vectors": "meV/Å",
    "stress": "meV/Å³",
}
#: Pairs of numbers that are kept of each quantity, drawn evenly from all of them.
POINTS: Final = 20_000
#: The six independent components of a symmetric tensor.
UPPER: Final = np.triu_indices(3)


@final
@dataclass(slots=True)
class Worst:
    """The frame with the largest error of a quantity.

    Attributes:
        error: absolute, in the unit of `UNITS`.
        where: file and number of the frame, and the atom if there is one.
    """

    error: float = -1.0
    where: str = ""

    def note(self, error: float, where: str) -> None:
        """Keep an error, and where it was found, if it is the largest so far."""
        if error > self.error:
            self.error, self.where = error, where


@final
class Points:
    """Labels and numbers of a model for a figure: all of them, or `POINTS` that were drawn evenly."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._keys = np.empty(0)
        self._pairs = np.empty((2, 0))

    def add(self, labels: NDArray[np.float64], model: NDArray[np.float64]) -> None:
        """Add pairs of labels and values of the model, two arrays of one shape."""
        keys = np.concatenate([self._keys, self._random.random(labels.size)])
        pairs = np.concatenate([self._pairs, np.stack([labels.ravel(), model.ravel()])], axis=1)
        if len(keys) > 2 * POINTS:  # rarely enough to cost little
            kept = np.argpartition(keys, POINTS)[:POINTS]
            keys, pairs = keys[kept], pairs[:, kept]
        self._keys, self._pairs = keys, pairs

    @property
    def pairs(self) -> NDArray[np.float64]:
        """(2, P): labels, and the model's."""
        kept = np.argsort(self._keys)[:POINTS]
        return self._pairs[:, kept]


@final
class Accuracy:
    """Errors of a model over many frames.

    Energies per atom, forces and stress are compared component by component. The length of the difference of two
    force vectors is a quantity of its own: it is the same in every orientation of a structure.

    Args:
        species: chemical symbols that the model knows.

    Attributes:
        frames: with a result.
        quantities: name in `UNITS` → its errors.
        elements: symbol → errors of force components on its atoms.
        worst: name in `UNITS` → where its largest error is.
        points: ``energy per atom``, ``forces`` and ``stress``, in eV/atom, eV/Å and eV/Å³.
        shifts: what of the errors of energies is a constant for each element.
        without_stress: frames with a stress label that are not periodic in three directions.
    """

    def __init__(self, species: Sequence[str]) -> None:
        self.frames = self.without_stress = 0
        self.quantities = {name: Deviations() for name in UNITS}
        self.elements: dict[str, Deviations] = {}
        self.worst = {name: Worst() for name in UNITS}
        self.points = {name: Points() for name in ("energy per atom", "forces", "stress")}
        self.shifts = ElementShifts(species)

    def add(self, frame: LabelledFrame, labels: Labels, result: Result) -> dict[str, float]:
        """Take in a frame, and return its own errors, in the units of `UNITS`, by name."""
        self.frames += 1
        own: dict[str, float] = {}
        if labels.energy is not None:
            own |= self._add_energy(frame, labels.energy, result.energy)
        if labels.forces is not None:
            own |= self._add_forces(frame, labels.forces, result.forces)
        if labels.stress is not None and result.stress is not None:
            own |= self._add_stress(frame, labels.stress, result.stress)
        elif labels.stress is not None:
            self.without_stress += 1
        return own

    def _add_energy(self, frame: LabelledFrame, label: float, energy: float) -> dict[str, float]:
        size = len(frame.atoms)
        self.quantities["energy"].add(label * MILLI, energy * MILLI)
        self.quantities["energy per atom"].add(label / size * MILLI, energy / size * MILLI)
        self.points["energy per atom"].add(np.array([label / size]), np.array([energy / size]))
        self.shifts.add(frame.atoms.numbers, label - energy)
        error = (energy - label) * MILLI
        self.worst["energy"].note(abs(error), str(frame))
        self.worst["energy per atom"].note(abs(error / size), str(frame))
        return {"energy error": error, "energy error per atom": error / size}

    def _add_forces(
        self, frame: LabelledFrame, labels: NDArray[np.float64], forces: NDArray[np.float64]
    ) -> dict[str, float]:
        in_milli = labels * MILLI, forces * MILLI
        errors = in_milli[1] - in_milli[0]
        lengths = np.linalg.norm(errors, axis=1)
        self.quantities["forces"].add(*in_milli)
        self.quantities["force vectors"].add(np.zeros_like(lengths), lengths)
        self.points["forces"].add(labels, forces)
        for number in np.unique(frame.atoms.numbers):
            there = frame.atoms.numbers == number
            deviations = self.elements.setdefault(chemical_symbols[number], Deviations())
            deviations.add(*(each[there] for each in in_milli))
        self._note_atom(frame, "forces", np.abs(errors).max(axis=1))
        self._note_atom(frame, "force vectors", lengths)
        return {
            "force MAE": float(np.abs(errors).mean()),
            "force RMSE": float(np.sqrt((errors**2).mean())),
            "largest force error": float(lengths.max()),
        }

    def _note_atom(self, frame: LabelledFrame, name: str, errors: NDArray[np.float64]) -> None:
        atom = int(errors.argmax())
        self.worst[name].note(float(errors[atom]), f"{frame}, atom {atom} ({frame.atoms.symbols[atom]})")

    def _add_stress(
        self, frame: LabelledFrame, label: NDArray[np.float64], stress: NDArray[np.float64]
    ) -> dict[str, float]:
        pair = label[UPPER], stress[UPPER]
        in_milli = pair[0] * MILLI, pair[1] * MILLI
        errors = np.abs(in_milli[1] - in_milli[0])
        self.quantities["stress"].add(*in_milli)
        self.points["stress"].add(*pair)
        self.worst["stress"].note(float(errors.max()), str(frame))
        return {"stress MAE": float(errors.mean()), "largest stress error": float(errors.max())}


def as_table(deviations: Deviations) -> dict[str, Any]:
    """The errors of a quantity by name, in its own unit; None where there is none."""
    return {
        "count": deviations.count,
        "mae": deviations.mae,
        "rmse": deviations.rmse,
        "max": deviations.largest if deviations.count else None,
        "r2": deviations.r2,
        "std_of_labels": deviations.label_std,
    }
