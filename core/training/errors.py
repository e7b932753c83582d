"""Errors of a model on labelled frames, beside the spread of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halocline.data.labels import Labels

#: meV in an eV.
MILLI = 1000.0


@final
class Deviations:
    """How far numbers of a model are from their labels; taken in a few at a time, and none of them is kept.

    Attributes:
        count: of the numbers.
        largest: absolute difference.
    """

    def __init__(self) -> None:
        self.count = 0
        self.largest = 0.0
        self._absolute = self._squared = self._magnitude = 0.0
        # Of labels and of the model: means, and sums of products of what is left without them.
        self._means, self._products = np.zeros(2), np.zeros((2, 2))

    def add(self, labels: ArrayLike, model: ArrayLike) -> None:
        """Take in numbers of a model, and their labels, of the same shape."""
        pairs = np.stack([np.ravel(labels), np.ravel(model)]).astype(np.float64)
        added = pairs.shape[1]
        if not added:
            return
        differences = np.abs(pairs[1] - pairs[0])
        self.largest = max(self.largest, float(differences.max()))
        self._absolute += float(differences.sum())
        self._squared += float(differences @ differences)
        self._magnitude += float(np.abs(pairs[0]).sum())
        # Chan, Golub and LeVeque, Am. Stat. 37, 242 (1983): sums of squares alone would lose digits.
        means = pairs.mean(axis=1)
        rest = pairs - means[:, None]
        shift, total = means - self._means, self.count + added
        self._products += rest @ rest.T + np.outer(shift, shift) * (self.count * added / total)
        self._means += shift * (added / total)
        self.count = total

    @property
    def mae(self) -> float | None:
        """Mean absolute error; None without numbers, as with all that follow."""
        return self._absolute / self.count if self.count else None

    @property
    def rmse(self) -> float | None:
        """Root of the mean squared error."""
        return float(np.sqrt(self._squared / self.count)) if self.count else None

    @property
    def label_std(self) -> float | None:
        """Standard deviation of the labels; None without numbers."""
        return float(np.sqrt(self._products[0, 0] / self.count)) if self.count else None

    @property
    def label_magnitude(self) -> float | None:
        """Mean absolute value of the labels."""
        return self._magnitude / self.count if self.count else None

    @property
    def r2(self) -> float | None:
        """Coefficient of determination: 1 less the squared errors relative to those of the labels' mean."""
        return 1.0 - self._squared / float(self._products[0, 0]) if self._products[0, 0] > 0.0 else None

    @property
    def correlation(self) -> float | None:
        """Pearson's correlation of labels and model; None without numbers that vary."""
        scale = float(np.sqrt(self._products[0, 0] * self._products[1, 1]))
        return float(self._products[0, 1]) / scale if scale > 0.0 else None

    @property
    def slope(self) -> float | None:
        """Slope of the line of least squares that gives labels from the model; None without numbers that vary."""
        return float(self._products[0, 1] / self._products[1, 1]) if self._products[1, 1] > 0.0 else None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Errors over several frames; None where no frame carries the label.

    Attributes:
        frames: how many.
        energy_mae: meV/atom.
        energy_rmse: meV/atom.
        energy_std: meV/atom, standard deviation of the labels, reference energies of the elements taken out.
        forces_mae: meV/Å, of single components.
        forces_rmse: meV/Å, of single components.
        forces_std: meV/Å, standard deviation of the labels' components.
        forces_mean: meV/Å, mean magnitude of the labels' components.
        stress_mae: meV/Å³, of the nine components.
        stress_rmse: meV/Å³, of the nine components.
        stress_std: meV/Å³, standard deviation of the labels' components.
    """

    frames: int
    energy_mae: float | None = None
    energy_rmse: float | None = None
    energy_std: float | None = None
    forces_mae: float | None = None
    forces_rmse: float | None = None
    forces_std: float | None = None
    forces_mean: float | None = None
    stress_mae: float | None = None
    stress_rmse: float | None = None
    stress_std: float | None = None

    def as_table(self) -> dict[str, float | int | None]:
        """All errors by name, with the units above; None where nothing can be told."""
        return asdict(self)


def measure(
    labels: Sequence[Labels],
    references: Sequence[float],
    sizes: Sequence[int],
    energies: Sequence[float],
    forces: Sequence[NDArray[np.float64] | None],
    stresses: Sequence[NDArray[np.float64] | None],
) -> Errors:
    """Compare S frames with their labels.

    Args:
        labels: of the frames.
        references: eV, sum of the elements' reference energies of each frame.
        sizes: atoms of each frame.
        energies: predicted, eV, reference energies included.
        forces: predicted, (N, 3), eV/Å; None where there is none.
        stresses: predicted, (3, 3), eV/Å³; None where there is none.
    """
    energy, force, stress = Deviations(), Deviations(), Deviations()
    predicted = zip(energies, forces, stresses, strict=True)
    for label, reference, size, (model, pulls, tension) in zip(labels, references, sizes, predicted, strict=True):
        if label.energy is not None:
            energy.add((label.energy - reference) / size * MILLI, (model - reference) / size * MILLI)
        if label.forces is not None and pulls is not None:
            force.add(label.forces * MILLI, pulls * MILLI)
        if label.stress is not None and tension is not None:
            stress.add(label.stress * MILLI, tension * MILLI)
    return Errors(
        frames=len(labels),
        energy_mae=energy.mae,
        energy_rmse=energy.rmse,
        energy_std=energy.label_std,
        forces_mae=force.mae,
        forces_rmse=force.rmse,
        forces_std=force.label_std,
        forces_mean=force.label_magnitude,
        stress_mae=stress.mae,
        stress_rmse=stress.rmse,
        stress_std=stress.label_std,
    )
