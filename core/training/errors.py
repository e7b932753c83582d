"""Errors of a model on labelled frames, beside the spread of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from halocline.training.labels import Labels

#: meV in an eV.
MILLI = 1000.0


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
    """

    frames: int
    energy_mae: float | None = None
    energy_rmse: float | None = None
    energy_std: float | None = None
    forces_mae: float | None = None
    forces_rmse: float | None = None
    forces_std: float | None = None
    forces_mean: float | None = None

    def as_table(self) -> dict[str, float | int | None]:
        """By name, with the units above."""
        return asdict(self)


def measure(
    labels: Sequence[Labels],
    references: Sequence[float],
    sizes: Sequence[int],
    energies: Sequence[float],
    forces: Sequence[NDArray[np.float64]],
) -> Errors:
    """Compare S frames with their labels.

    Args:
        labels: of the frames.
        references: eV, sum of the elements' reference energies of each frame.
        sizes: atoms of each frame.
        energies: predicted, eV, reference energies included.
        forces: predicted, (N, 3), eV/Å.
    """
    known = [i for i, each in enumerate(labels) if each.energy is not None]
    label_E = np.array([(labels[i].energy - references[i]) / sizes[i] for i in known]) * MILLI  # type: ignore[operator]
    model_E = np.array([(energies[i] - references[i]) / sizes[i] for i in known]) * MILLI
    pairs = [(f, each.forces) for f, each in zip(forces, labels, strict=True) if each.forces is not None]
    model_F = np.concatenate([p.ravel() for p, _ in pairs] or [np.empty(0)]) * MILLI
    label_F = np.concatenate([p.ravel() for _, p in pairs] or [np.empty(0)]) * MILLI
    return Errors(
        frames=len(labels),
        energy_mae=_mean(np.abs(model_E - label_E)),
        energy_rmse=_root(_mean((model_E - label_E) ** 2)),
        energy_std=_mean(np.array([label_E.std()])) if len(label_E) else None,
        forces_mae=_mean(np.abs(model_F - label_F)),
        forces_rmse=_root(_mean((model_F - label_F) ** 2)),
        forces_std=_mean(np.array([label_F.std()])) if len(label_F) else None,
        forces_mean=_mean(np.abs(label_F)),
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _root(value: float | None) -> float | None:
    return None if value is None else float(np.sqrt(value))
