"""How much a frame is wanted, and which frames are added.

The score and the cutoff are those of the active learning of Bilbrey, Firoz, Lee and Choudhury (arXiv:2211.04598).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfinv

from halocline.evaluator.result import Spread

#: Of a share times a number of frames, which is to be whole where it is meant to be.
ROUNDING: Final = 1e-9


def score(
    energy: float, forces: NDArray[np.float64], *, energy_weight: float, atoms_per_molecule: int = 1
) -> float:
    """The sum c · |ΔE| / molecules + (1 - c) · mean |ΔF| of a frame of N atoms; in eV and eV/Å, as numbers.

    Args:
        energy: ΔE, eV, of the whole frame: an error, or the spread of a committee.
        forces: ΔF, (N, 3), eV/Å, by components; the mean is over all of them.
        energy_weight: c, between 0 and 1.
        atoms_per_molecule: of which N is a multiple; with 1 the energy counts per atom.
    """
    molecules = len(forces) / atoms_per_molecule
    return float(energy_weight * abs(energy) / molecules + (1.0 - energy_weight) * np.abs(forces).mean())


def component_spread(spread: Spread) -> NDArray[np.float64]:
    """Root mean square, over the members of a committee, of each component of the forces' differences, (N, 3)."""
    squares = np.mean([np.square(member.forces) for member in spread.members], axis=0)
    return np.asarray(np.sqrt(squares))


def cutoff_of(scores: Sequence[float], quantile: float) -> float:
    """The mean + erfinv(1 - q) · std of the scores of validation frames: what is worse than that is wanted.

    Of scores that spread as normal ones, the part ½ erfc(erfinv(1 - q) / √2) lies above it: 15 % for the usual
    q = 0.15.

    Args:
        scores: at least one.
        quantile: q, above 0 and at most 1; a smaller one wants fewer frames.
    """
    return float(np.mean(scores) + erfinv(1.0 - quantile) * np.std(scores))


def chosen(scores: Sequence[float], cutoff: float, largest_fraction: float) -> list[int]:
    """Places of the scores that reach the cutoff, the highest first; of equal ones the first.

    Args:
        scores: of the examined frames.
        cutoff: the least that is added.
        largest_fraction: of the frames that is added at most, rounded down.
    """
    most = math.floor(largest_fraction * len(scores) + ROUNDING)
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    return [place for place in order[:most] if scores[place] >= cutoff]
