"""Errors of forces as vectors: by how much they are too long or too short, and in which direction off."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from halocline.audit.geometry.angles import angle_between

#: eV/Å. A shorter force, of label or model, has no direction worth comparing; relaxations end at about this.
LEAST_FORCE: Final = 0.01


def magnitudes(forces: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) lengths of forces (N, 3)."""
    return np.asarray(np.linalg.norm(forces, axis=1))


def directions_off(labels: NDArray[np.float64], model: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) degrees between forces (N, 3) in eV/Å; NaN where either is shorter than `LEAST_FORCE`."""
    too_short = np.minimum(magnitudes(labels), magnitudes(model)) < LEAST_FORCE
    return np.where(too_short, np.nan, angle_between(labels, model))
