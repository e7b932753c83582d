"""What of the differences between two kinds of total energy is a constant for each element.

Programs and functionals count energies from zeros of their own: total energies of one and the same structure may
be thousands of eV apart, which is no error of a model, and differs by a constant for each atom of an element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.training.reference import composition

#: Rows that are kept before they are condensed.
_ROWS: Final = 512


@final
@dataclass(frozen=True, slots=True)
class Shifts:
    """Constants that bring energies nearest to labels.

    Attributes:
        values: element → eV, to be added to the model's energy for each atom.
        determined: whether the compositions determine each of them, or only their sums.
        before: eV/atom, root of the mean squared error of the energies as they are.
        after: eV/atom, likewise with these constants, by the degrees of freedom that they leave.
    """

    values: dict[str, float]
    determined: bool
    before: float
    after: float


@final
class ElementShifts:
    """Fits a constant for each element to differences of energies, taken in one after another.

    The rows of the problem of least squares are condensed by QR decompositions, so any number takes bounded memory
    and nothing of their precision is lost.

    Args:
        species: chemical symbols.
    """

    def __init__(self, species: Sequence[str]) -> None:
        self._species = list(species)
        self._rows: list[NDArray[np.float64]] = []
        self._condensed = np.empty((0, len(species) + 1))
        self._count = 0

    def add(self, numbers: NDArray[np.int64], difference: float) -> None:
        """Take in a structure by its atomic numbers, and label less model in eV."""
        counts = composition(self._species, [numbers])[0]
        self._rows.append(np.append(counts, difference) / len(numbers))  # so that frames weigh alike per atom
        self._count += 1
        if len(self._rows) == _ROWS:
            self._condense()

    def fit(self) -> Shifts | None:
        """The constants; None if there are too few structures to tell them from chance."""
        self._condense()
        columns, target = self._condensed[:, :-1], self._condensed[:, -1]
        there = np.abs(columns).max(axis=0, initial=0.0) > 0.0
        if not there.any():
            return None
        solution, _, rank, _ = np.linalg.lstsq(columns[:, there], target, rcond=None)
        freedom = self._count - int(rank)
        if freedom < int(rank) + 1:
            return None
        rest = target - columns[:, there] @ solution
        symbols = [symbol for symbol, known in zip(self._species, there, strict=True) if known]
        return Shifts(
            values={symbol: float(value) for symbol, value in zip(symbols, solution, strict=True)},
            determined=int(rank) == len(symbols),
            before=float(np.sqrt(target @ target / self._count)),
            after=float(np.sqrt(rest @ rest / freedom)),
        )

    def _condense(self) -> None:
        if self._rows:
            stacked = np.concatenate([self._condensed, np.stack(self._rows)])
            self._condensed = np.asarray(np.linalg.qr(stacked, mode="r"))
            self._rows = []
